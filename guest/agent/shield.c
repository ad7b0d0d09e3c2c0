#include "shield.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "rootfs.h"

/* Mounts of their own, and files of /proc, which become ones. */
static const char *const mounts[] = {"/sys/fs/cgroup", "/sys"};
static const char *const files[] = {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq"};

static int seal_mount(const char *path)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};

    return mount_setattr(AT_FDCWD, path, 0, &read_only, sizeof(read_only));
}

static int seal_file(const char *path)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};
    int tree = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

    if (tree < 0) {
        return errno == ENOENT ? 0 : -1; /* not in every kernel */
    }
    int result = mount_setattr(tree, "", AT_EMPTY_PATH, &read_only, sizeof(read_only));
    if (result == 0) {
        result = rootfs_attach(tree, path);
    }
    int error = errno;
    close(tree);
    errno = error;
    return result;
}

int shield_kernel(const struct security *security, struct failure *why)
{
    if (!security->drops_capabilities || (security->capabilities >> CAP_SYS_ADMIN & 1) != 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        if (seal_mount(mounts[i]) < 0) {
            return failure_set(why, "internal", "%s cannot be made read-only: %s", mounts[i],
                               strerror(errno));
        }
    }
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (seal_file(files[i]) < 0) {
            return failure_set(why, "internal", "%s cannot be made read-only: %s", files[i],
                               strerror(errno));
        }
    }
    return 0;
}
