#ifndef AGENT_EXIT_H
#define AGENT_EXIT_H

#include "container.h"

/* Collect ended processes from now on. */
int exit_init(void);

/* Tell the host of a container's end, and have the supervisor decide what follows. */
void exit_publish(struct container *container);

/* The same for an ended container once its output has reached the console. */
void exit_publish_if_drained(struct container *container);
void exit_publish_all_drained(void);

#endif
