#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beneath.h"
#include "container.h"
#include "copy.h"
#include "field.h"
#include "file.h"
#include "mountpoint.h"
#include "rootfs.h"
#include "volume.h"

static int parse_one(const json_t *item, struct mount *mount, struct failure *why)
{
    const char *volume, *path, *sub_path;

    if (!json_is_object(item)) {
        return failure_set(why, "invalid", "an item of \"mounts\" is not an object");
    }
    if (field_string(item, "volume", VOLUME_NAME_MAX, NULL, &volume, why) < 0 ||
        field_string(item, "path", PATH_MAX - 1, NULL, &path, why) < 0 ||
        field_string(item, "sub_path", PATH_MAX - 1, "", &sub_path, why) < 0 ||
        field_boolean(item, "read_only", false, &mount->read_only, why) < 0 ||
        field_boolean(item, "copy", false, &mount->copy, why) < 0) {
        return -1;
    }
    if (path[0] != '/' || path[strspn(path, "/")] == 0 || file_path_climbs(path)) {
        return failure_set(why, "invalid", "a volume cannot be mounted on \"%s\"", path);
    }
    if (sub_path[0] == '/' || file_path_climbs(sub_path)) {
        return failure_set(why, "invalid", "\"%s\" is not a path inside a volume", sub_path);
    }
    mount->volume = strdup(volume);
    mount->path = strdup(path);
    mount->sub_path = strdup(sub_path);
    if (mount->volume == NULL || mount->path == NULL || mount->sub_path == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    return 0;
}

static int by_path(const void *one, const void *other)
{
    return strcmp(((const struct mount *)one)->path, ((const struct mount *)other)->path);
}

int mount_parse(const json_t *request, struct mount mounts[MOUNT_MAX], size_t *count,
                struct failure *why)
{
    const json_t *list;

    if (field_list(request, "mounts", MOUNT_MAX, &list, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        *count = i + 1;
        if (parse_one(json_array_get(list, i), &mounts[i], why) < 0) {
            return -1;
        }
    }
    qsort(mounts, *count, sizeof(*mounts), by_path);
    return 0;
}

void mount_free(struct mount *mounts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(mounts[i].volume);
        free(mounts[i].path);
        free(mounts[i].sub_path);
        free(mounts[i].source);
    }
}

int mount_find_volumes(struct mount *mounts, size_t count, struct failure *why)
{
    for (size_t i = 0; i < count; i++) {
        char path[CONTAINER_PATH_MAX];
        if (volume_find(mounts[i].volume, path, sizeof(path), why) < 0) {
            return -1;
        }
        mounts[i].source = strdup(path);
        if (mounts[i].source == NULL) {
            return failure_set(why, "internal", "the agent has no memory left");
        }
    }
    return 0;
}

/* What is to be mounted: the volume, or what it has at the sub-path, made when missing. */
static int open_source(const struct mount *mount)
{
    int top = open(mount->source, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (top < 0 || mount->sub_path[0] == 0) {
        return top;
    }
    int fd = beneath_open(top, mount->sub_path, O_PATH, 0);
    if (fd < 0 && errno == ENOENT) {
        fd = beneath_make_directories(top, mount->sub_path, 0755);
    }
    int error = errno;
    close(top);
    errno = error;
    return fd;
}

int mount_open(const struct mount *mounts, size_t count, int trees[MOUNT_MAX],
               struct failure *why)
{
    for (size_t i = 0; i < count; i++) {
        int source = open_source(&mounts[i]);
        trees[i] = source < 0 ? -1
                              : open_tree(source, "",
                                          AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
        if (trees[i] < 0) {
            return failure_set(why, "exec", "\"%s\" of volume \"%s\" cannot be mounted: %s",
                               mounts[i].sub_path, mounts[i].volume, strerror(errno));
        }
        close(source);
    }
    return 0;
}

static int attach_one(const struct mount *mount, int tree, bool first, struct failure *why)
{
    struct stat status;

    if (fstat(tree, &status) < 0) {
        return failure_set(why, "internal", "volume \"%s\" is gone: %s", mount->volume,
                           strerror(errno));
    }
    bool is_directory = S_ISDIR(status.st_mode);
    if ((is_directory ? mountpoint_make_directories(mount->path, 0755) : rootfs_make_file(mount->path)) <
        0) {
        return failure_set(why, "exec", "%s of the image cannot be mounted on: %s", mount->path,
                           strerror(errno));
    }
    if (mount->copy && first && is_directory && copy_when_empty(mount->path, tree, why) < 0) {
        return -1;
    }
    if (rootfs_attach(tree, mount->path) < 0) {
        return failure_set(why, "exec", "%s of the image cannot be mounted on: %s", mount->path,
                           strerror(errno));
    }
    return 0;
}

int mount_attach(const struct mount *mounts, size_t count, const int trees[MOUNT_MAX], bool first,
                 struct failure *why)
{
    const int flags = AT_EMPTY_PATH;
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};

    for (size_t i = 0; i < count; i++) {
        if (attach_one(&mounts[i], trees[i], first, why) < 0) {
            return -1;
        }
    }
    /* Only now: one volume may be mounted in another one. */
    for (size_t i = 0; i < count; i++) {
        if (mounts[i].read_only &&
            mount_setattr(trees[i], "", flags, &read_only, sizeof(read_only)) < 0) {
            return failure_set(why, "internal", "volume \"%s\" cannot be made read-only: %s",
                               mounts[i].volume, strerror(errno));
        }
        close(trees[i]);
    }
    return 0;
}

bool mount_covers(const struct mount *mounts, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(mounts[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}
