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

#include "file.h"
#include "podfiles.h"

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
        if (file_make_directories(mounts[i].target, 0755) < 0 ||
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

/* Make *path* exist as something that a file can be mounted on.  A dangling link (Debian's
 * resolv.conf may be one) is completed rather than replaced: the image's tree stays as it is. */
static int make_file(const char *path)
{
    char target[PATH_MAX];
    char parent[PATH_MAX];
    const char *at = path;

    for (int hops = 0; hops < 8; hops++) {
        int fd = open(at, O_RDONLY | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
        if (fd >= 0) {
            close(fd);
            return 0;
        }
        if (errno != ENOENT) {
            return -1;
        }
        char link[PATH_MAX];
        ssize_t length = readlink(at, link, sizeof(link) - 1);
        snprintf(parent, sizeof(parent), "%s", at);
        if (length < 0) {
            if (file_make_directories(dirname(parent), 0755) < 0) {
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

static int attach(int tree, const char *target)
{
    return move_mount(tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS);
}

int rootfs_enter(const char *root, struct failure *why)
{
    const unsigned int clone_flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
    int trees[COUNT(files)];
    int shm = open_tree(AT_FDCWD, PODFILES_SHM, clone_flags);

    for (size_t i = 0; i < COUNT(files); i++) {
        trees[i] = open_tree(AT_FDCWD, files[i].source, clone_flags);
        if (trees[i] < 0 || shm < 0) {
            return failure_set(why, "internal", "%s cannot be shared: %s", files[i].source,
                               strerror(errno));
        }
    }
    /* As switch_root does: an initramfs cannot be left by pivot_root. */
    if (chdir(root) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0) {
        return failure_set(why, "internal", "the root of the container cannot be entered: %s",
                           strerror(errno));
    }
    umask(0);
    if (mount_kernel_file_systems(why) < 0 || make_devices(why) < 0) {
        return -1;
    }
    if (mkdir("/dev/shm", 01777) < 0 || attach(shm, "/dev/shm") < 0) {
        return failure_set(why, "internal", "/dev/shm cannot be mounted: %s", strerror(errno));
    }
    umask(022);
    for (size_t i = 0; i < COUNT(files); i++) {
        if (make_file(files[i].target) < 0 || attach(trees[i], files[i].target) < 0) {
            return failure_set(why, "exec", "%s of the image cannot be mounted on: %s",
                               files[i].target, strerror(errno));
        }
        close(trees[i]);
    }
    close(shm);
    return 0;
}
