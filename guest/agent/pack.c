#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "file.h"
#include "hardlinks.h"
#include "mountpoint.h"
#include "tar.h"

#define CHUNK (32 * 1024)
#define LIST_MAX (64 * 1024) /* the kernel's limits for names and for a value */
#define VALUE_MAX (64 * 1024)
#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define OVERLAY_TRUSTED "trusted.overlay."
#define OVERLAY_USER "user.overlay."

struct pack {
    int out;
    bool layer;
    struct hardlinks links;
    struct failure *why;
};

static int pack_entry(struct pack *pack, int directory, const char *name, const char *path);

static int fail(const struct pack *pack, const char *path)
{
    return failure_set(pack->why, "internal", "\"%s\" cannot be archived: %s", path,
                       strerror(errno));
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* In the working directory. */
static bool is_opaque(const char *name)
{
    char value;

    return (lgetxattr(name, OVERLAY_TRUSTED "opaque", &value, 1) == 1 && value == 'y') ||
           (lgetxattr(name, OVERLAY_USER "opaque", &value, 1) == 1 && value == 'y');
}

static bool is_whiteout(const struct stat *status)
{
    return S_ISCHR(status->st_mode) && status->st_rdev == makedev(0, 0);
}

static int add_xattrs(const struct pack *pack, const char *name, struct tar_member *member)
{
    static char list[LIST_MAX];
    static char value[VALUE_MAX];
    ssize_t size = llistxattr(name, list, sizeof(list));

    for (const char *at = list; size > 0 && at < list + size; at += strlen(at) + 1) {
        if (starts_with(at, MOUNTPOINT_XATTRS) || starts_with(at, OVERLAY_TRUSTED) ||
            (pack->layer && starts_with(at, OVERLAY_USER))) {
            continue;
        }
        ssize_t length = lgetxattr(name, at, value, sizeof(value));
        if (length >= 0 && tar_member_add_xattr(member, at, value, (size_t)length) < 0) {
            return -1;
        }
    }
    return 0;
}

static int copy_content(const struct pack *pack, int fd, int64_t size, const char *path)
{
    static char bytes[CHUNK];
    int64_t left = size;

    while (left > 0) {
        size_t chunk = left < CHUNK ? (size_t)left : CHUNK;
        ssize_t count = read(fd, bytes, chunk);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return fail(pack, path);
        }
        if (count == 0) {
            /* It has become shorter: the archive was promised more. */
            memset(bytes, 0, chunk);
            count = (ssize_t)chunk;
        }
        if (file_write_all(pack->out, bytes, (size_t)count) < 0) {
            return fail(pack, path);
        }
        left -= count;
    }
    return tar_write_padding(pack->out, size) < 0 ? fail(pack, path) : 0;
}

static int write_file(struct pack *pack, int directory, const char *name, const char *path,
                      struct tar_member *member)
{
    struct stat status;
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        return 0;
    }
    if (fd < 0 || fstat(fd, &status) < 0) {
        int result = fail(pack, path);
        if (fd >= 0) {
            close(fd);
        }
        return result;
    }
    member->size = status.st_size;
    int result = tar_write_member(pack->out, member) < 0
                     ? fail(pack, path)
                     : copy_content(pack, fd, member->size, path);
    close(fd);
    return result;
}

/* A regular empty file that says something about its neighbours. */
static int write_marker(const struct pack *pack, const char *directory, size_t directory_length,
                        const char *prefix, const char *name)
{
    char *path;
    int result = 0;

    if (asprintf(&path, "%.*s%s%s", (int)directory_length, directory, prefix, name) < 0) {
        return failure_set(pack->why, "internal", "there is no memory for the archive");
    }
    struct tar_member member = {.type = '0', .name = path, .mode = 0644};
    if (tar_write_member(pack->out, &member) < 0) {
        result = fail(pack, path);
    }
    free(path);
    return result;
}

typedef int child_handler(struct pack *pack, int directory, const char *name, const char *path);

/* Call *handler* for each entry of a directory, with its path below *path*, until one does not
 * return 0. */
static int each_child(struct pack *pack, int fd, const char *path, child_handler *handler)
{
    int result = 0;
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = copy < 0 ? NULL : fdopendir(copy);

    if (stream == NULL) {
        return fail(pack, path);
    }
    while (result == 0) {
        char *below;
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            result = errno == 0 ? 0 : fail(pack, path); /* half of a directory is none */
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (asprintf(&below, "%s%s%s", path, path[0] == 0 ? "" : "/", entry->d_name) < 0) {
            result = failure_set(pack->why, "internal", "there is no memory for the archive");
            break;
        }
        result = handler(pack, fd, entry->d_name, below);
        free(below);
    }
    closedir(stream);
    return result;
}

static int open_directory(int directory, const char *name)
{
    return openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* 1 for what the container has changed, 0 for what only the agent has made. */
static int is_change(struct pack *pack, int directory, const char *name, const char *path)
{
    struct stat status;

    if (fchdir(directory) < 0 || lstat(name, &status) < 0) {
        return 0;
    }
    if (S_ISSOCK(status.st_mode)) {
        return 0;
    }
    if (!mountpoint_is_ours(name, &status)) {
        return 1;
    }
    if (!S_ISDIR(status.st_mode)) {
        return 0;
    }
    int fd = open_directory(directory, name);
    if (fd < 0) {
        return 1;
    }
    int result = each_child(pack, fd, path, is_change);
    close(fd);
    return result;
}

static long kind_of(int fd)
{
    struct statfs status;

    return fstatfs(fd, &status) < 0 ? 0 : (long)status.f_type;
}

/* Whether a view of the kernel's begins here: it has files without end, and some that nobody can
 * read.  Who wants one of them names it. */
static bool is_kernels(int directory, int fd)
{
    long kind = kind_of(fd);

    return (kind == PROC_SUPER_MAGIC || kind == SYSFS_MAGIC || kind == CGROUP2_SUPER_MAGIC) &&
           kind_of(directory) != kind;
}

static int write_directory(struct pack *pack, int directory, const char *name, const char *path,
                           struct tar_member *member)
{
    size_t length = strlen(path);
    char *with_slash;
    int result;

    if (asprintf(&with_slash, "%s/", path) < 0) {
        return failure_set(pack->why, "internal", "there is no memory for the archive");
    }
    bool opaque = pack->layer && fchdir(directory) == 0 && is_opaque(name);
    free(member->name);
    member->name = with_slash;
    result = tar_write_member(pack->out, member) < 0 ? fail(pack, path) : 0;
    if (result == 0 && opaque) {
        result = write_marker(pack, with_slash, length + 1, "", OPAQUE);
    }
    int fd = open_directory(directory, name);
    if (result == 0 && fd < 0) {
        result = errno == ENOENT ? 0 : fail(pack, path);
    } else if (result == 0 && !is_kernels(directory, fd)) {
        result = each_child(pack, fd, path, pack_entry);
    }
    if (fd >= 0) {
        close(fd);
    }
    return result;
}

/* Its size says nothing: links of /proc have none. */
static int read_link(int directory, const char *name, struct tar_member *member)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(directory, name, target, sizeof(target));

    if (length < 0) {
        return -1;
    }
    member->link = strndup(target, (size_t)length);
    return member->link == NULL ? -1 : 0;
}

static int write_entry(struct pack *pack, int directory, const char *name, const char *path,
                       const struct stat *status, struct tar_member *member)
{
    if (!S_ISDIR(status->st_mode) && status->st_nlink > 1) {
        const char *first =
            hardlinks_first(&pack->links, status->st_dev, status->st_ino, path);
        if (first != NULL) {
            member->type = '1';
            member->link = strdup(first);
            return member->link == NULL || tar_write_member(pack->out, member) < 0
                       ? fail(pack, path)
                       : 0;
        }
    }
    switch (status->st_mode & S_IFMT) {
    case S_IFREG:
        member->type = '0';
        return write_file(pack, directory, name, path, member);
    case S_IFDIR:
        member->type = '5';
        return write_directory(pack, directory, name, path, member);
    case S_IFLNK:
        member->type = '2';
        if (read_link(directory, name, member) < 0) {
            return errno == ENOENT ? 0 : fail(pack, path);
        }
        break;
    case S_IFIFO:
        member->type = '6';
        break;
    default:
        member->type = S_ISCHR(status->st_mode) ? '3' : '4';
        member->major = major(status->st_rdev);
        member->minor = minor(status->st_rdev);
        break;
    }
    return tar_write_member(pack->out, member) < 0 ? fail(pack, path) : 0;
}

static int pack_entry(struct pack *pack, int directory, const char *name, const char *path)
{
    struct stat status;

    if (fchdir(directory) < 0 || lstat(name, &status) < 0) {
        return errno == ENOENT ? 0 : fail(pack, path); /* gone meanwhile */
    }
    if (S_ISSOCK(status.st_mode)) {
        return 0;
    }
    if (pack->layer && is_whiteout(&status)) {
        return write_marker(pack, path, strlen(path) - strlen(name), WHITEOUT, name);
    }
    if (pack->layer) {
        int changed = is_change(pack, directory, name, path);
        if (changed <= 0) {
            return changed;
        }
        if (fchdir(directory) < 0) {
            return fail(pack, path);
        }
    }
    struct tar_member member = {
        .name = strdup(path),
        .mode = status.st_mode & 07777,
        .uid = status.st_uid,
        .gid = status.st_gid,
        .mtime = status.st_mtim,
    };
    int result = member.name == NULL || add_xattrs(pack, name, &member) < 0
                     ? failure_set(pack->why, "internal", "there is no memory for the archive")
                     : write_entry(pack, directory, name, path, &status, &member);
    tar_member_clear(&member);
    return result;
}

static int finish(struct pack *pack, int result)
{
    hardlinks_free(&pack->links);
    if (result == 0 && tar_write_end(pack->out) < 0) {
        return fail(pack, "the end");
    }
    return result;
}

int pack_tree(int out, int directory, const char *name, const char *as, struct failure *why)
{
    struct pack pack = {.out = out, .why = why};

    return finish(&pack, pack_entry(&pack, directory, name, as));
}

int pack_layer(int out, int upper, struct failure *why)
{
    struct pack pack = {.out = out, .layer = true, .why = why};

    return finish(&pack, each_child(&pack, upper, "", pack_entry));
}
