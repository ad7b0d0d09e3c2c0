#ifndef AGENT_FREEZE_H
#define AGENT_FREEZE_H

#include "container.h"

/* Stop all processes of a container, which may have been stopped by others too, and let them run
 * again after as many freeze_end. */
void freeze_begin(struct container *container);
void freeze_end(struct container *container);

/* In the process that reads what they have written: wait until they stand still, a second at most. */
void freeze_wait(const struct container *container);

#endif
