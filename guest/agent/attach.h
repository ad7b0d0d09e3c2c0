#ifndef AGENT_ATTACH_H
#define AGENT_ATTACH_H

#include <stddef.h>

#include "container.h"

/* Streams of the host to the first process of a container. */

/* Bytes of output that all attached streams of *container* take now.  One that takes nothing for a
 * second misses what comes meanwhile: the container does not wait for it any longer. */
size_t attach_room(const struct container *container);

/* Give output to them. */
void attach_send(const struct container *container, unsigned int channel, const char *bytes,
                 size_t count);

/* The container runs now: its standard input, where it has one, can be written to. */
void attach_begin(struct container *container);

/* The container has exited, or was not started: end the streams. */
void attach_end(struct container *container);

#endif
