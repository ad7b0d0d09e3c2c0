#include "mountpoint.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "file.h"

#define MADE MOUNTPOINT_XATTRS "made"
/* On a directory of the image: what it was like when the agent made something in it, which copies
 * it to the writable layer. */
#define TOUCHED MOUNTPOINT_XATTRS "touched"
#define STATE_MAX 64

static void describe(const struct stat *status, char text[STATE_MAX])
{
    snprintf(text, STATE_MAX, "%o %u %u", status->st_mode & 07777, status->st_uid,
             status->st_gid);
}

static void mark_parent(const char *path)
{
    char copy[PATH_MAX];
    char state[STATE_MAX];
    struct stat status;

    snprintf(copy, sizeof(copy), "%s", path);
    const char *parent = dirname(copy);
    if (lgetxattr(parent, MADE, NULL, 0) >= 0 || stat(parent, &status) < 0) {
        return;
    }
    describe(&status, state);
    /* The first mark stays: later the container may have changed the directory. */
    (void)setxattr(parent, TOUCHED, state, strlen(state), XATTR_CREATE);
}

static void mark(const char *path)
{
    /* Where attributes cannot be set a mount point looks like a change: no harm. */
    (void)setxattr(path, MADE, "1", 1, XATTR_CREATE);
    mark_parent(path);
}

void mountpoint_mark_file(const char *path)
{
    mark(path);
}

int mountpoint_make_directories(const char *path, mode_t mode)
{
    char parent[PATH_MAX];
    struct stat status;

    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
        return 0;
    }
    snprintf(parent, sizeof(parent), "%s", path);
    const char *above = dirname(parent);
    if (strcmp(above, path) != 0 && mountpoint_make_directories(above, mode) < 0) {
        return -1;
    }
    /* Also for a link that leads nowhere, which is an error with a name. */
    if (file_make_directories(path, mode) < 0) {
        return -1;
    }
    mark(path);
    return 0;
}

bool mountpoint_is_ours(const char *name, const struct stat *status)
{
    char was[STATE_MAX + 1];
    char is[STATE_MAX];

    if (lgetxattr(name, MADE, NULL, 0) >= 0) {
        return S_ISDIR(status->st_mode) || (S_ISREG(status->st_mode) && status->st_size == 0);
    }
    ssize_t length = lgetxattr(name, TOUCHED, was, STATE_MAX);
    if (length < 0) {
        return false;
    }
    was[length] = 0;
    describe(status, is);
    return strcmp(was, is) == 0;
}
