#ifndef AGENT_START_H
#define AGENT_START_H

#include <stdint.h>

#include "container.h"
#include "failure.h"

/* Start a container's process; its start_id is answered, if start_asked, when exec has succeeded or
 * failed.  -1 when it is to be answered with *why* at once. */
int start_container(struct container *container, struct failure *why);

/* Find out how exec went, when that is known by now, and answer. */
void start_settle(struct container *container);

/* Answer with the process of a running container. */
void start_answer(const struct container *container, uint32_t id);

#endif
