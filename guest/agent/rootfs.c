#include "rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "disks.h"
#include "file.h"
#include "mount.h"
#include "mountpoint.h"
#include "podfiles.h"
#include "shield.h"

#define QUIET (MS_NOSUID | MS_NODEV | MS_NOEXEC)

static const struct {
    const char *type;
    const char *target;
    unsigned long flags;
    const char *options;
} mounts[] = {
    {"proc", "/proc", QUIET, NULL},
    {"sysfs", "/sys", QUIET, NULL},
    {"cgroup2", "/sys/fs/cgroup", QUIET, NULL},
    {"tmpfs", "/dev", MS_NOSUID, "mode=0755,size=64k"},
    {"devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"mqueue", "/dev/mqueue", QUIET, NULL},
};

static const struct {
    const char *path;
    unsigned int major, minor;
} devices[] = {
    {"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
    {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
};

static const struct {
    const char *path, *target;
} links[] = {
    {"/dev/fd", "/proc/self/fd"},       {"/dev/stdin", "/proc/self/fd/0"},
    {"/dev/stdout", "/proc/self/fd/1"}, {"/dev/stderr", "/proc/self/fd/2"},
    {"/dev/ptmx", "pts/ptmx"},
};

static const struct {
    const char *source, *target;
} files[] = {
    {PODFILES_HOSTNAME, "/etc/hostname"},
    {PODFILES_HOSTS, "/etc/hosts"},
    {PODFILES_RESOLV_CONF, "/etc/resolv.conf"},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int mount_kernel_file_systems(struct failure *why)
{
    for (size_t i = 0; i < COUNT(mounts); i++) {
        if (mountpoint_make_directories(mounts[i].target, 0755) < 0 ||
            mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
                  mounts[i].options) < 0) {
            return failure_set(why, "exec", "%s of the image cannot be mounted on: %s",
                               mounts[i].target, strerror(errno));
        }
    }
    return 0;
}

static int make_devices(struct failure *why)
{
    for (size_t i = 0; i < COUNT(devices); i++) {
        if (mknod(devices[i].path, S_IFCHR | 0666, makedev(devices[i].major, devices[i].minor)) <
            0) {
            return failure_set(why, "internal", "%s cannot be made: %s", devices[i].path,
                               strerror(errno));
        }
    }
    for (size_t i = 0; i < COUNT(links); i++) {
        if (symlink(links[i].target, links[i].path) < 0) {
            return failure_set(why, "internal", "%s cannot be made: %s", links[i].path,
                               strerror(errno));
        }
    }
    return 0;
}

int rootfs_make_file(const char *path)
{
    char target[PATH_MAX];
    char parent[PATH_MAX];
    const char *at = path;

    for (int hops = 0; hops < 8; hops++) {
        int fd = open(at, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        bool made = fd >= 0;
        if (!made && errno == EEXIST) {
            fd = open(at, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        }
        if (fd >= 0) {
            close(fd);
            if (made) {
                mountpoint_mark_file(at);
            }
            return 0;
        }
        if (errno != ENOENT) {
            return -1;
        }
        char link[PATH_MAX];
        ssize_t length = readlink(at, link, sizeof(link) - 1);
        snprintf(parent, sizeof(parent), "%s", at);
        if (length < 0) {
            if (mountpoint_make_directories(dirname(parent), 0755) < 0) {
                return -1;
            }
            continue;
        }
        link[length] = 0;
        int written = link[0] == '/'
                          ? snprintf(target, sizeof(target), "%s", link)
                          : snprintf(target, sizeof(target), "%s/%s", dirname(parent), link);
        if (written < 0 || (size_t)written >= sizeof(target)) {
            errno = ENAMETOOLONG;
            return -1;
        }
        at = target;
    }
    errno = ELOOP;
    return -1;
}

int rootfs_attach(int tree, const char *target)
{
    return move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
}

/* The files of /etc stay writable, as volumes do: each is a mount of its own. */
static int seal(const struct container *container, struct failure *why)
{
    struct mount_attr read_only = {.attr_set = MOUNT_ATTR_RDONLY};

    if (file_make_directories(container->cwd, 0755) < 0) {
        return failure_set(why, "exec", "the working directory \"%s\" cannot be entered: %s",
                           container->cwd, strerror(errno));
    }
    if (mount_setattr(AT_FDCWD, "/", 0, &read_only, sizeof(read_only)) < 0) {
        return failure_set(why, "internal", "the root cannot be made read-only: %s",
                           strerror(errno));
    }
    return 0;
}

static int attach_files(const struct container *container, const int trees[COUNT(files)],
                        struct failure *why)
{
    for (size_t i = 0; i < COUNT(files); i++) {
        bool covered = mount_covers(container->mounts, container->mount_count, files[i].target);
        if (!covered && (rootfs_make_file(files[i].target) < 0 ||
                         rootfs_attach(trees[i], files[i].target) < 0)) {
            return failure_set(why, "exec", "%s of the image cannot be mounted on: %s",
                               files[i].target, strerror(errno));
        }
        close(trees[i]);
    }
    return 0;
}

int rootfs_enter(const struct container *container, struct failure *why)
{
    char root[PATH_MAX];
    int volumes[MOUNT_MAX];
    const unsigned int clone_flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    int trees[COUNT(files)];
    int shm = open_tree(AT_FDCWD, PODFILES_SHM, clone_flags);
    struct disks_held disks;

    if (disks_hold(&disks, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < COUNT(files); i++) {
        trees[i] = open_tree(AT_FDCWD, files[i].source, clone_flags);
        if (trees[i] < 0 || shm < 0) {
            return failure_set(why, "internal", "%s cannot be shared: %s", files[i].source,
                               strerror(errno));
        }
    }
    if (mount_open(container->mounts, container->mount_count, volumes, why) < 0) {
        return -1;
    }
    container_root(container->name, root, sizeof(root));
    /* As switch_root does: an initramfs cannot be left by pivot_root. */
    if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0) {
        return failure_set(why, "internal", "the root of the container cannot be entered: %s",
                           strerror(errno));
    }
    umask(0);
    if (mount_kernel_file_systems(why) < 0 || make_devices(why) < 0 ||
        disks_make_devices(why) < 0) {
        return -1;
    }
    if (mkdir("/dev/shm", 01777) < 0 || rootfs_attach(shm, "/dev/shm") < 0) {
        return failure_set(why, "internal", "/dev/shm cannot be mounted: %s", strerror(errno));
    }
    umask(022);
    close(shm);
    /* Before volumes, which may be on a disk's path or below it. */
    if (disks_attach(&disks, why) < 0 ||
        mount_attach(container->mounts, container->mount_count, volumes,
                     container->supervision.restarts == 0, why) < 0 ||
        attach_files(container, trees, why) < 0) {
        return -1;
    }
    if (shield_kernel(&container->security, why) < 0) {
        return -1;
    }
    return container->security.readonly_root ? seal(container, why) : 0;
}
