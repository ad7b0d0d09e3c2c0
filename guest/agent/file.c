#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int file_read_line(const char *path, char *line, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return -1;
    }
    ssize_t count = read(fd, line, size - 1);
    close(fd);
    if (count < 0) {
        return -1;
    }
    line[count] = 0;
    line[strcspn(line, "\n")] = 0;
    return 0;
}

static int write_flags(const char *path, const char *text, int flags)
{
    size_t length = strlen(text);
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

    if (fd < 0) {
        return -1;
    }
    ssize_t count = write(fd, text, length);
    int error = count < 0 ? errno : ENOSPC;
    close(fd);
    if (count == (ssize_t)length) {
        return 0;
    }
    errno = error;
    return -1;
}

int file_write(const char *path, const char *text)
{
    return write_flags(path, text, 0);
}

int file_replace(const char *path, const char *text)
{
    return write_flags(path, text, O_CREAT | O_TRUNC);
}

int file_write_all(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;

    while (count > 0) {
        ssize_t written = write(fd, at, count);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return -1;
        }
        at += written;
        count -= (size_t)written;
    }
    return 0;
}

bool file_path_climbs(const char *path)
{
    while (*path != 0) {
        size_t length = strcspn(path, "/");
        if (length == 2 && path[0] == '.' && path[1] == '.') {
            return true;
        }
        path += length;
        path += strspn(path, "/");
    }
    return false;
}

static int make_one(const char *path, mode_t mode)
{
    struct stat status;

    if (mkdir(path, mode) == 0) {
        return 0;
    }
    if (errno == EEXIST && stat(path, &status) == 0) {
        errno = S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
        return errno == 0 ? 0 : -1;
    }
    return -1;
}

int file_make_directories(const char *path, mode_t mode)
{
    char partial[PATH_MAX];
    size_t length = strlen(path);

    if (length == 0 || length >= sizeof(partial)) {
        errno = length == 0 ? ENOENT : ENAMETOOLONG;
        return -1;
    }
    memcpy(partial, path, length + 1);
    for (size_t i = 1; i < length; i++) {
        if (partial[i] == '/' && partial[i - 1] != '/') {
            partial[i] = 0;
            if (make_one(partial, mode) < 0) {
                return -1;
            }
            partial[i] = '/';
        }
    }
    return make_one(partial, mode);
}
