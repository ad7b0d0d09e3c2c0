#ifndef AGENT_MOUNT_H
#define AGENT_MOUNT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "failure.h"

#define MOUNT_MAX 64

/* A volume in a container's file system. */
struct mount {
    char *volume;
    char *path; /* absolute, in the container */
    char *sub_path; /* of the volume; empty for all of it */
    char *source; /* the volume's top as the agent sees it; NULL before it is found */
    bool read_only;
    bool copy; /* an empty volume begins with what the image has at the path */
};

/* Read "mounts" of a container.create, outer paths first. */
int mount_parse(const json_t *request, struct mount mounts[MOUNT_MAX], size_t *count,
                struct failure *why);
void mount_free(struct mount *mounts, size_t count);

/* Make the volumes that are not yet. */
int mount_find_volumes(struct mount *mounts, size_t count, struct failure *why);

/* In the container's process: take the volumes along before its root is entered, and attach them
 * there.  *first* is true for its first start, when volumes are filled. */
int mount_open(const struct mount *mounts, size_t count, int trees[MOUNT_MAX],
               struct failure *why);
int mount_attach(const struct mount *mounts, size_t count, const int trees[MOUNT_MAX], bool first,
                 struct failure *why);

/* True when a volume is mounted exactly there. */
bool mount_covers(const struct mount *mounts, size_t count, const char *path);

#endif
