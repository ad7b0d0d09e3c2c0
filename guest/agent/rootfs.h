#ifndef AGENT_ROOTFS_H
#define AGENT_ROOTFS_H

#include "failure.h"

/* Make *root*, a mount point, the root of this process, which is the first of its own mount and
 * PID namespaces, with /proc, /sys, /dev and the pod's files in /etc mounted. */
int rootfs_enter(const char *root, struct failure *why);

#endif
