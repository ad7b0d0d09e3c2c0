#ifndef AGENT_ROOTFS_H
#define AGENT_ROOTFS_H

#include "container.h"
#include "failure.h"

/* Make the root of *container* the root of this process, which is the first of its own mount and
 * PID namespaces, with /proc, /sys, /dev, the volumes and the pod's files in /etc mounted. */
int rootfs_enter(const struct container *container, struct failure *why);

/* Make *path* exist as something that a file can be mounted on.  A dangling link (Debian's
 * resolv.conf may be one) is completed rather than replaced: the image's tree stays as it is. */
int rootfs_make_file(const char *path);

/* Attach a detached mount to *target*. */
int rootfs_attach(int tree, const char *target);

#endif
