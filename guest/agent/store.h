#ifndef AGENT_STORE_H
#define AGENT_STORE_H

#include <stddef.h>

#include "failure.h"
#include "upper.h"

/* Mount *upper* for the container *name*, or find it mounted where it is shared, and give the
 * directory to write to. */
int store_mount(const struct upper *upper, const char *name, char *path, size_t size,
                struct failure *why);

/* Undo that for an upper that only this container has. */
void store_unmount(const struct upper *upper, const char *name);

/* The same for a volume: the top of the disk or tmpfs. */
int store_mount_shared(const struct upper *upper, char *path, size_t size, struct failure *why);

/* The top of the first one that was mounted, the pod's; NULL before. */
const char *store_of_pod(void);

#endif
