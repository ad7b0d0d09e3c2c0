#ifndef AGENT_EXIT_H
#define AGENT_EXIT_H

#include "container.h"

/* Collect ended processes from now on. */
int exit_init(void);

/* Tell the host of an ended container once its output has reached the console. */
void exit_publish_if_drained(struct container *container);
void exit_publish_all_drained(void);

#endif
