#ifndef AGENT_OOM_H
#define AGENT_OOM_H

#include <stdbool.h>

#include "container.h"

/* Notice when a container is killed because its memory, or the guest's, is used up: by the count
 * that the kernel keeps for its cgroup, since the killed process need not be the first one. */

/* Watch a container that runs now. */
void oom_begin(struct container *container);

/* Stop to watch; true when it happened since oom_begin. */
bool oom_end(struct container *container);

#endif
