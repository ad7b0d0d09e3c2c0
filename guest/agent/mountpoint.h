#ifndef AGENT_MOUNTPOINT_H
#define AGENT_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/stat.h>

/* What the agent itself makes in the tree of a container, to mount on it: it is marked with extended
 * attributes, so that it can be told from what the container has changed. */
#define MOUNTPOINT_XATTRS "trusted.hyper."

/* Make *path* and every missing directory above it; an existing directory is fine. */
int mountpoint_make_directories(const char *path, mode_t mode);

/* Mark a file that was just made, and the directory it is in. */
void mountpoint_mark_file(const char *path);

/* True for a file or directory of the working directory, with *status*, that is as the agent has made
 * it, or that it has only made something in; what a directory holds is not looked at. */
bool mountpoint_is_ours(const char *name, const struct stat *status);

#endif
