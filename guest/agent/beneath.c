#include "beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int beneath_open(int directory, const char *path, uint64_t flags, mode_t mode)
{
    const struct open_how how = {
        .flags = flags | O_CLOEXEC,
        .mode = (flags & O_CREAT) != 0 ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do {
        /* EAGAIN: somebody renamed a directory meanwhile, and the kernel cannot be sure. */
        fd = syscall(SYS_openat2, directory, path[0] == 0 ? "." : path, &how, sizeof(how));
    } while (fd < 0 && (errno == EAGAIN || errno == EINTR));
    return (int)fd;
}

int beneath_make_directories(int directory, const char *path, mode_t mode)
{
    char partial[PATH_MAX];
    int parent = beneath_open(directory, "", O_PATH | O_DIRECTORY, 0);

    if (strlen(path) >= sizeof(partial)) {
        close(parent);
        errno = ENAMETOOLONG;
        return -1;
    }
    for (const char *at = path; parent >= 0 && *at != 0;) {
        size_t length = strcspn(at, "/");
        char name[NAME_MAX + 1];
        if (length > NAME_MAX) {
            close(parent);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy(name, at, length);
        name[length] = 0;
        at += length;
        at += strspn(at, "/");
        memcpy(partial, path, (size_t)(at - path));
        partial[at - path] = 0;
        int made = length == 0 ? 0 : mkdirat(parent, name, mode);
        int error = errno;
        close(parent);
        if (made < 0 && error != EEXIST) {
            errno = error;
            return -1;
        }
        parent = beneath_open(directory, partial, O_PATH | O_DIRECTORY, 0);
    }
    return parent;
}
