#ifndef AGENT_SHIELD_H
#define AGENT_SHIELD_H

#include "failure.h"
#include "security.h"

/* In a container's root: make read-only what lets root change the pod's kernel without any
 * capability, /proc/sys and /sys, for a container that has not CAP_SYS_ADMIN.  As container engines
 * do for what is not privileged. */
int shield_kernel(const struct security *security, struct failure *why);

#endif
