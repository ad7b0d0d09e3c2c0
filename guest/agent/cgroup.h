#ifndef AGENT_CGROUP_H
#define AGENT_CGROUP_H

#include "failure.h"
#include "resources.h"

/* Make the cgroup (v2) of the container *name* with its limits; gives a descriptor of its
 * directory. */
int cgroup_make(const char *name, const struct resources *resources, int *fd,
                struct failure *why);

/* Open one of the cgroup's files; -1 with errno. */
int cgroup_open(const char *name, const char *file, int flags);

/* Kill all processes of the container. */
void cgroup_kill(const char *name);

#endif
