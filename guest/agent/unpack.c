#include "unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "file.h"
#include "tar.h"

#define CHUNK (32 * 1024)

/* A directory whose time is set at the end: what is extracted in it changes it. */
struct late {
    char *name;
    struct timespec mtime;
    struct late *next;
};

struct unpack {
    int in;
    struct late *late;
    struct failure *why;
};

static int fail(const struct unpack *unpack, const char *name)
{
    return failure_set(unpack->why, "invalid", "\"%s\" cannot be written: %s", name,
                       strerror(errno));
}

/* The name without slashes and dots at its beginning; NULL when it leads outside. */
static const char *inside(const char *name)
{
    if (file_path_climbs(name)) {
        return NULL;
    }
    for (;;) {
        if (name[0] == '/') {
            name++;
        } else if (name[0] == '.' && (name[1] == '/' || name[1] == 0)) {
            name++;
        } else {
            return name[0] == 0 ? "." : name;
        }
    }
}

static int make_parents(const char *name)
{
    char copy[PATH_MAX];

    if (strlen(name) >= sizeof(copy)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(copy, name);
    return file_make_directories(dirname(copy), 0755);
}

static int write_content(const struct unpack *unpack, int fd, const struct tar_member *member)
{
    static char bytes[CHUNK];

    for (int64_t left = member->size; left > 0;) {
        size_t chunk = left < CHUNK ? (size_t)left : CHUNK;
        if (tar_read_data(unpack->in, bytes, chunk, unpack->why) < 0) {
            return -1;
        }
        if (file_write_all(fd, bytes, chunk) < 0) {
            return fail(unpack, member->name);
        }
        left -= (int64_t)chunk;
    }
    return tar_skip(unpack->in, tar_padding(member->size), unpack->why);
}

static int make_file(const struct unpack *unpack, const char *name,
                     const struct tar_member *member)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0) {
        return fail(unpack, name);
    }
    int result = write_content(unpack, fd, member);
    if (close(fd) < 0 && result == 0) {
        result = fail(unpack, name);
    }
    return result;
}

static int make_directory(struct unpack *unpack, const char *name,
                          const struct tar_member *member)
{
    struct late *late = calloc(1, sizeof(*late));

    if (late == NULL || (late->name = strdup(name)) == NULL) {
        free(late);
        return failure_set(unpack->why, "internal", "there is no memory for the archive");
    }
    late->mtime = member->mtime;
    late->next = unpack->late;
    unpack->late = late;
    return mkdir(name, 0700) < 0 && errno != EEXIST ? fail(unpack, name) : 0;
}

static int make_link(const struct unpack *unpack, const char *name,
                     const struct tar_member *member)
{
    const char *target = inside(member->link);

    if (target == NULL) {
        return failure_set(unpack->why, "invalid", "\"%s\" is a link to outside of the archive",
                           name);
    }
    return link(target, name) < 0 ? fail(unpack, name) : 0;
}

static int make(struct unpack *unpack, const char *name, const struct tar_member *member)
{
    mode_t type = member->type == '3' ? S_IFCHR : member->type == '4' ? S_IFBLK : S_IFIFO;

    switch (member->type) {
    case '0':
    case '7':
        return make_file(unpack, name, member);
    case '1':
        return make_link(unpack, name, member);
    case '2':
        return symlink(member->link, name) < 0 ? fail(unpack, name) : 0;
    case '3':
    case '4':
    case '6':
        return mknod(name, type | 0600, makedev(member->major, member->minor)) < 0
                   ? fail(unpack, name)
                   : 0;
    case '5':
        return make_directory(unpack, name, member);
    default:
        return failure_set(unpack->why, "invalid", "\"%s\" has the unknown type '%c'", name,
                           member->type);
    }
}

static int set_attributes(const struct unpack *unpack, const char *name,
                          const struct tar_member *member)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, member->mtime};

    if (lchown(name, member->uid, member->gid) < 0 ||
        (member->type != '2' && chmod(name, member->mode) < 0)) {
        return fail(unpack, name);
    }
    /* After chown, which removes capabilities. */
    for (const struct tar_xattr *at = member->xattrs; at != NULL; at = at->next) {
        if (lsetxattr(name, at->name, at->value, at->size, 0) < 0 && errno != EOPNOTSUPP) {
            return fail(unpack, name);
        }
    }
    return utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? fail(unpack, name) : 0;
}

/* A directory stays, and so does a link to one that the archive has as a directory (/lib). */
static int make_room(const struct unpack *unpack, const char *name,
                     const struct tar_member *member)
{
    struct stat status;

    if (lstat(name, &status) < 0) {
        return errno == ENOENT ? 0 : fail(unpack, name);
    }
    bool is_directory = S_ISDIR(status.st_mode);
    if (member->type == '5' && S_ISLNK(status.st_mode)) {
        is_directory = stat(name, &status) == 0 && S_ISDIR(status.st_mode);
    }
    if (is_directory && member->type == '5') {
        return 0;
    }
    return (is_directory ? rmdir(name) : unlink(name)) < 0 ? fail(unpack, name) : 0;
}

static int extract(struct unpack *unpack, const struct tar_member *member)
{
    const char *name = inside(member->name);

    if (name == NULL) {
        return failure_set(unpack->why, "invalid", "\"%s\" is outside of the archive",
                           member->name);
    }
    size_t length = strlen(name);
    char *plain = strdup(name);
    if (plain == NULL) {
        return failure_set(unpack->why, "internal", "there is no memory for the archive");
    }
    while (length > 1 && plain[length - 1] == '/') {
        plain[--length] = 0;
    }
    int result = 0;
    if (strcmp(plain, ".") == 0) {
        /* The directory itself belongs to the container. */
        result = tar_skip(unpack->in, member->size + tar_padding(member->size), unpack->why);
    } else if (make_parents(plain) < 0) {
        result = fail(unpack, plain);
    } else if (make_room(unpack, plain, member) < 0 || make(unpack, plain, member) < 0 ||
               (member->type != '1' && set_attributes(unpack, plain, member) < 0)) {
        result = -1;
    }
    free(plain);
    return result;
}

static void set_late_times(struct unpack *unpack)
{
    while (unpack->late != NULL) {
        struct late *late = unpack->late;
        const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, late->mtime};
        unpack->late = late->next;
        (void)!utimensat(AT_FDCWD, late->name, times, 0);
        free(late->name);
        free(late);
    }
}

/* Whatever follows the end: the host's last block may be a large one. */
static void read_rest(int in)
{
    char bytes[TAR_BLOCK];
    ssize_t count;

    do {
        count = read(in, bytes, sizeof(bytes));
    } while (count > 0 || (count < 0 && errno == EINTR));
}

int unpack(int in, struct failure *why)
{
    struct unpack unpack = {.in = in, .why = why};
    struct tar_member member;
    int result;

    umask(0);
    while ((result = tar_read_member(in, &member, why)) == 1) {
        result = extract(&unpack, &member);
        tar_member_clear(&member);
        if (result < 0) {
            break;
        }
    }
    set_late_times(&unpack);
    if (result == 0) {
        read_rest(in);
    }
    return result;
}
