#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

#include "failure.h"

/* Make the cgroup (v2) of the container *name*; gives a descriptor of its directory. */
int cgroup_make(const char *name, int *fd, struct failure *why);

#endif
