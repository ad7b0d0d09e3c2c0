#include "copy.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_DEPTH 200
#define MAX_XATTR_NAMES 4096
#define MAX_XATTR_VALUE 65536

static int copy_directory(int source, int target, int depth);

static bool is_empty(int directory)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    bool empty = stream != NULL;

    for (struct dirent *entry; empty && (entry = readdir(stream)) != NULL;) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    }
    if (stream != NULL) {
        closedir(stream);
    }
    return empty;
}

/* What a file system does not take of them is left out, as cp does. */
static void copy_attributes(int source, int target)
{
    static char names[MAX_XATTR_NAMES], value[MAX_XATTR_VALUE];
    ssize_t length = flistxattr(source, names, sizeof(names));

    for (const char *at = names; length > 0 && at < names + length; at += strlen(at) + 1) {
        ssize_t size = fgetxattr(source, at, value, sizeof(value));
        if (size >= 0) {
            (void)fsetxattr(target, at, value, (size_t)size, 0);
        }
    }
}

static int finish(int source, int target, const struct stat *status)
{
    const struct timespec times[] = {status->st_atim, status->st_mtim};

    if (fchown(target, status->st_uid, status->st_gid) < 0 ||
        fchmod(target, status->st_mode & 07777) < 0) {
        return -1;
    }
    copy_attributes(source, target);
    return futimens(target, times);
}

static int copy_bytes(int source, int target)
{
    ssize_t count;

    while ((count = sendfile(target, source, NULL, 1 << 20)) > 0) {
    }
    return count < 0 ? -1 : 0;
}

/* Copy what is in *source*, and what it is like; closes both, of which each may be -1. */
static int copy_open(int source, int target, const struct stat *status, int depth)
{
    int result = -1;

    if (source >= 0 && target >= 0) {
        result = S_ISDIR(status->st_mode) ? copy_directory(source, target, depth + 1)
                                          : copy_bytes(source, target);
    }
    if (result == 0) {
        result = finish(source, target, status);
    }
    int error = errno;

    if (source >= 0) {
        close(source);
    }
    if (target >= 0) {
        close(target);
    }
    errno = error;
    return result;
}

static int copy_file(int from, int to, const char *name, const struct stat *status, int depth)
{
    int source = openat(from, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int target = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    return copy_open(source, target, status, depth);
}

static int copy_child_directory(int from, int to, const char *name, const struct stat *status,
                                int depth)
{
    if (mkdirat(to, name, 0700) < 0) {
        return -1;
    }
    int source = openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int target = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return copy_open(source, target, status, depth);
}

static int copy_link(int from, int to, const char *name, const struct stat *status)
{
    char target[PATH_MAX];
    const struct timespec times[] = {status->st_atim, status->st_mtim};
    ssize_t length = readlinkat(from, name, target, sizeof(target) - 1);

    if (length < 0) {
        return -1;
    }
    target[length] = 0;
    if (symlinkat(target, to, name) < 0 ||
        fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
        return -1;
    }
    return utimensat(to, name, times, AT_SYMLINK_NOFOLLOW);
}

static int copy_special(int to, const char *name, const struct stat *status)
{
    if (mknodat(to, name, status->st_mode, status->st_rdev) < 0 ||
        fchownat(to, name, status->st_uid, status->st_gid, AT_SYMLINK_NOFOLLOW) < 0) {
        return -1;
    }
    return fchmodat(to, name, status->st_mode & 07777, 0);
}

static int copy_entry(int from, int to, const char *name, int depth)
{
    struct stat status;

    if (fstatat(from, name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
        return -1;
    }
    switch (status.st_mode & S_IFMT) {
    case S_IFDIR:
        return copy_child_directory(from, to, name, &status, depth);
    case S_IFREG:
        return copy_file(from, to, name, &status, depth);
    case S_IFLNK:
        return copy_link(from, to, name, &status);
    default:
        return copy_special(to, name, &status);
    }
}

static int copy_directory(int source, int target, int depth)
{
    int fd = openat(source, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    int result = 0;

    if (stream == NULL || depth > MAX_DEPTH) {
        errno = stream == NULL ? errno : ELOOP;
        result = -1;
    }
    while (result == 0) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            result = errno == 0 ? 0 : -1; /* half of a directory is none */
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            result = copy_entry(source, target, entry->d_name, depth);
        }
    }
    int error = errno;
    if (stream != NULL) {
        closedir(stream);
    }
    errno = error;
    return result;
}

int copy_when_empty(const char *source, int target_fd, struct failure *why)
{
    struct stat status;
    int from = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int to = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = 0;

    if (from < 0 || to < 0 || fstat(from, &status) < 0) {
        result = -1;
    } else if (is_empty(to)) {
        result = copy_directory(from, to, 0) < 0 ? -1 : finish(from, to, &status);
    }
    if (result < 0) {
        failure_set(why, "exec", "the volume on %s cannot be filled from the image: %s", source,
                    strerror(errno));
    }
    close(from);
    close(to);
    return result;
}
