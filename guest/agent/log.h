#ifndef AGENT_LOG_H
#define AGENT_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The containers' output as records of lines, on their way to a port of the host:
 * doc/source/contributor/agent-protocol.rst, "The log".  Where there is no such port nothing of
 * this does anything. */
#define LOG_LINE_MAX (8 * 1024)

/* The line under way of one output of a container. */
struct log_line {
    const char *container, *stream;
    char *bytes; /* of LOG_LINE_MAX, while there are any */
    size_t length;
    bool ended; /* nothing follows: what is there is a whole line */
    uint64_t lost; /* bytes that nobody took */
};

/* *on_drained* is called when there is room again. */
void log_init(void (*on_drained)(void));

/* Bytes that can be added to *line* now; 0 while the host is slow. */
size_t log_room(const struct log_line *line);

/* Add at most log_room() bytes, and send what is whole. */
void log_append(struct log_line *line, const char *bytes, size_t count);

/* Send what is whole and did not fit before. */
void log_resume(struct log_line *line);

/* Nothing follows: send the rest, as soon as there is room. */
void log_end(struct log_line *line);

/* True when nothing of *line* waits. */
bool log_is_sent(const struct log_line *line);

/* Forget what waits of *line*, for one that begins anew. */
void log_reset(struct log_line *line);

/* True when nothing waits for the host. */
bool log_is_done(void);

#endif
