#ifndef AGENT_OUTPUT_H
#define AGENT_OUTPUT_H

#include <stdbool.h>

#include "log.h"
#include "loop.h"

#define OUTPUT_COUNT 2 /* stdout and stderr; a terminal is stdout */

struct container;

/* One output of a container on its way to the console, the log and whoever is attached. */
struct output {
    struct watch watch; /* fd -1 when closed */
    struct container *container;
    bool paused; /* one of those has no room */
    struct log_line line;
};

/* Closed outputs of a new container. */
void output_init(struct container *container);

/* Begin to copy *fd*, which does not block, of a container; takes it over. */
void output_begin(struct container *container, unsigned int index, int fd);

/* Stop copying and close the pipes, for an end that cannot wait. */
void output_close(struct container *container);

/* True while there may be more, or something is not on its way yet. */
bool output_is_open(const struct container *container);

/* True when all that was copied has reached the host, or never will. */
bool output_is_flushed(void);

/* Copy again what had to wait for room. */
void output_resume(struct container *container);
void output_resume_all(void);

#endif
