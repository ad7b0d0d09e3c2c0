#include "rewrite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "file.h"

#define MAX_BYTES (1024 * 1024)

static int read_all(int fd, struct rewrite *file)
{
    size_t size = (size_t)file->status.st_size;

    file->bytes = malloc(size + 1);
    if (file->bytes == NULL) {
        errno = ENOMEM;
        return -1;
    }
    while (file->count < size) {
        ssize_t more = read(fd, file->bytes + file->count, size - file->count);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more < 0) {
            return -1;
        }
        if (more == 0) {
            break;
        }
        file->count += (size_t)more;
    }
    file->bytes[file->count] = 0;
    return 0;
}

int rewrite_read(int directory, const char *name, struct rewrite *file, struct failure *why)
{
    /* O_NONBLOCK: it may be a FIFO. */
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int result = 0;

    *file = (struct rewrite){.bytes = NULL};
    if (fd < 0) {
        return errno == ENOENT ? 0
                               : failure_set(why, "invalid", "\"%s\" cannot be read: %s", name,
                                             strerror(errno));
    }
    if (fstat(fd, &file->status) < 0 || !S_ISREG(file->status.st_mode) ||
        file->status.st_size > MAX_BYTES) {
        result = failure_set(why, "invalid", "\"%s\" is no regular file of at most %d KiB", name,
                             MAX_BYTES / 1024);
    } else if (read_all(fd, file) < 0) {
        result = failure_set(why, "invalid", "\"%s\" cannot be read: %s", name, strerror(errno));
        free(file->bytes);
        file->bytes = NULL;
    }
    close(fd);
    return result;
}

static int fill(int fd, const struct stat *status, const char *bytes, size_t count)
{
    return file_write_all(fd, bytes, count) < 0 ||
                   fchown(fd, status->st_uid, status->st_gid) < 0 ||
                   fchmod(fd, status->st_mode & 07777) < 0 || fsync(fd) < 0
               ? -1
               : 0;
}

int rewrite_write(int directory, const char *name, const struct stat *status, const char *bytes,
                  size_t count, struct failure *why)
{
    char fresh[NAME_MAX + 1];

    snprintf(fresh, sizeof(fresh), ".%.200s.hyper", name);
    /* What an agent that was ended here has left. */
    unlinkat(directory, fresh, 0);
    int fd = openat(directory, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    int result = fd < 0 ? -1 : fill(fd, status, bytes, count);
    int error = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (result == 0 && renameat(directory, fresh, directory, name) < 0) {
        result = -1;
        error = errno;
    }
    if (result < 0) {
        unlinkat(directory, fresh, 0);
        return failure_set(why, error == ENOSPC ? "disk" : "invalid",
                           "\"%s\" cannot be written: %s", name, strerror(error));
    }
    return 0;
}
