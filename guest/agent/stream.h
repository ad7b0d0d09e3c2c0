#ifndef AGENT_STREAM_H
#define AGENT_STREAM_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "failure.h"
#include "frame.h"
#include "input.h"
#include "loop.h"

/* Streams of bytes between the host and programs, each with a window of its own both ways, so that
 * none can hold up another or a request: doc/source/contributor/agent-protocol.rst, "Streams". */
#define STREAM_MAX 32
#define STREAM_WINDOW (64 * 1024)
#define STREAM_SOURCES 2

struct stream;

/* A descriptor that is copied to the host. */
struct source {
    struct watch watch; /* fd -1 when closed */
    struct stream *stream;
    bool paused; /* the host takes no more now */
    size_t left; /* bytes to copy before it is closed: SIZE_MAX until its end */
};

/* What the host hears at the end; `error` NULL where nothing went wrong. */
struct stream_result {
    bool exited; /* exit_code and signal mean something */
    int exit_code;
    int signal;
    const char *error;
};

struct stream {
    uint32_t id;
    size_t window; /* bytes that the host takes now */
    struct source sources[STREAM_SOURCES]; /* by channel */
    struct input input;
    bool orphan; /* of a host that is gone: nothing is sent */
    /* Called once when the stream ends from outside: the host closed it, or is gone (`orphan`).
     * Its owner calls stream_finish now or later. */
    void (*on_close)(struct stream *stream);
    /* Called when a source has ended, for an owner that waits for all. */
    void (*on_source_end)(struct stream *stream);
    /* Called for the host's end of input; NULL closes the descriptor after the last byte. */
    void (*on_input_end)(struct stream *stream);
    /* Called when the host takes more again, after stream_room() was 0; may be NULL. */
    void (*on_room)(struct stream *stream);
    /* The operations stream.resize and stream.signal; NULL for a stream that has neither. */
    int (*resize)(struct stream *stream, const struct winsize *size, struct failure *why);
    int (*signal)(struct stream *stream, int number, struct failure *why);
    struct stream *next;
};

/* The stream's id in a request: free, and one more is allowed.  -1 with the failure. */
int stream_id(const json_t *request, uint32_t *id, struct failure *why);

struct stream *stream_find(uint32_t id);

/* The stream that a request names, or NULL with the failure. */
struct stream *stream_named(const json_t *request, struct failure *why);

/* The size of a terminal in a request: "rows" and "cols". */
int stream_read_size(const json_t *object, struct winsize *size, struct failure *why);

/* Make *stream*, part of what its owner has allocated, known; its owner has set the callbacks. */
void stream_open(struct stream *stream, uint32_t id);

/* Copy *fd*, which does not block, to the host as *channel*; takes it over. */
void stream_copy(struct stream *stream, unsigned int channel, int fd);

/* Close the sources once what is in their pipes now has been copied. */
void stream_drain(struct stream *stream);

/* True when nothing is left to be copied. */
bool stream_is_drained(const struct stream *stream);

/* How much can be sent on *stream* now. */
size_t stream_room(const struct stream *stream);

/* Send at most stream_room() bytes. */
void stream_send(struct stream *stream, unsigned int channel, const char *bytes, size_t count);

/* Close everything and forget the stream, and tell the host of its end unless *result* is NULL: the
 * host never heard that there is one.  Its owner frees it afterwards. */
void stream_finish(struct stream *stream, const struct stream_result *result);

/* Have the owner end the stream, which may take a moment. */
void stream_hang_up(struct stream *stream);

/* Frames from the host. */
void stream_take_data(const struct frame *frame);
void stream_take_window(const struct frame *frame);

/* The channel has room again. */
void stream_resume_all(void);

/* End all streams of a host that is gone. */
void stream_abandon_all(void);

#endif
