#ifndef AGENT_INPUT_H
#define AGENT_INPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "loop.h"

/* Bytes of one stream on their way to a program that may be slow to read them. */
#define INPUT_SIZE (64 * 1024)

struct input {
    struct watch watch; /* fd -1 when closed: what comes is thrown away then */
    char *ring; /* of INPUT_SIZE, from the first byte on */
    size_t start, count;
    size_t taken; /* bytes that have left it and that the host has not been told of */
    bool waiting; /* for the descriptor to take more */
    bool held; /* there is no descriptor yet */
    bool ended; /* nothing comes any more: close when empty */
    void (*on_taken)(struct input *input);
};

/* A closed one; *on_taken* is called when `taken` has grown outside of the other calls. */
void input_init(struct input *input, void (*on_taken)(struct input *input));

/* Keep what comes until input_open. */
void input_hold(struct input *input);

/* Write to *fd*, which does not block, from now on; takes it over. */
void input_open(struct input *input, int fd);

/* Take *count* bytes; -1 when that is more than there is room for. */
int input_add(struct input *input, const char *bytes, size_t count);

/* Close the descriptor once everything has been written. */
void input_end(struct input *input);

/* Close it at once and forget what waits. */
void input_close(struct input *input);

#endif
