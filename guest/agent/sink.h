#ifndef AGENT_SINK_H
#define AGENT_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

/* A device of the host that takes output, through one bounded buffer.  A host that takes nothing
 * for a second loses what comes meanwhile: containers never wait for it any longer. */
struct sink {
    struct watch device; /* fd -1 until it was opened */
    char *buffer;
    size_t size;
    size_t start, end; /* buffer[start..end) waits */
    bool waiting; /* for the device to take more */
    bool stuck; /* it has not for too long */
    struct timer limit;
    void (*on_drained)(void);
};

/* *on_drained* is called when there is room again. */
void sink_init(struct sink *sink, char *buffer, size_t size, void (*on_drained)(void));

/* Write to *fd*, which does not block, from now on. */
void sink_open(struct sink *sink, int fd);

/* Bytes that can be appended now. */
size_t sink_room(const struct sink *sink);

/* Append at most sink_room() bytes. */
void sink_append(struct sink *sink, const char *bytes, size_t count);

/* True when nothing waits, or never will be taken. */
bool sink_is_done(const struct sink *sink);

#endif
