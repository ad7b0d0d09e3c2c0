#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tar.h"

#define MAX_RECORDS (1024 * 1024)
#define SKIP_CHUNK (32 * 1024)
#define MAX_SIZE ((int64_t)1 << 62)

static int broken(struct failure *why, const char *what)
{
    return failure_set(why, "invalid", "the archive is not a tar file: %s", what);
}

/* How many bytes could be read before the end. */
static ssize_t read_full(int fd, char *bytes, size_t count)
{
    size_t done = 0;

    while (done < count) {
        ssize_t more = read(fd, bytes + done, count - done);
        if (more < 0 && errno == EINTR) {
            continue;
        }
        if (more < 0) {
            return -1;
        }
        if (more == 0) {
            break;
        }
        done += (size_t)more;
    }
    return (ssize_t)done;
}

int tar_read_data(int fd, char *bytes, size_t count, struct failure *why)
{
    return read_full(fd, bytes, count) == (ssize_t)count ? 0 : broken(why, "it ends too early");
}

int tar_skip(int fd, int64_t count, struct failure *why)
{
    char bytes[SKIP_CHUNK];

    while (count > 0) {
        size_t chunk = count < SKIP_CHUNK ? (size_t)count : SKIP_CHUNK;
        if (tar_read_data(fd, bytes, chunk, why) < 0) {
            return -1;
        }
        count -= (int64_t)chunk;
    }
    return 0;
}

/* Octal, or with the highest bit of the first byte GNU's base 256; -1 for neither. */
static int64_t number(const char *field, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)field;
    int64_t value = 0;
    size_t i = 0;

    if (bytes[0] & 0x80) {
        if (bytes[0] != 0x80) {
            return -1; /* negative, or beyond all measure */
        }
        for (i = 1; i < size; i++) {
            if (value > MAX_SIZE >> 8) {
                return -1;
            }
            value = value << 8 | bytes[i];
        }
        return value;
    }
    while (i < size && bytes[i] == ' ') {
        i++;
    }
    for (; i < size && bytes[i] >= '0' && bytes[i] <= '7'; i++) {
        value = value << 3 | (bytes[i] - '0');
    }
    return i == size || bytes[i] == 0 || bytes[i] == ' ' ? value : -1;
}

static bool has_checksum(const struct tar_header *header)
{
    const unsigned char *bytes = (const unsigned char *)header;
    const unsigned char *field = (const unsigned char *)header->checksum;
    int64_t sum = 0;

    for (size_t i = 0; i < sizeof(*header); i++) {
        bool own = bytes + i >= field && bytes + i < field + sizeof(header->checksum);
        sum += own ? ' ' : bytes[i];
    }
    return number(header->checksum, sizeof(header->checksum)) == sum;
}

static char *header_name(const struct tar_header *header)
{
    char name[sizeof(header->prefix) + sizeof(header->name) + 2];
    bool prefixed = memcmp(header->magic, "ustar", 6) == 0 && header->prefix[0] != 0;

    snprintf(name, sizeof(name), "%.*s%s%.*s", prefixed ? (int)sizeof(header->prefix) : 0,
             header->prefix, prefixed ? "/" : "", (int)sizeof(header->name), header->name);
    return strdup(name);
}

static int replace(char **text, const char *value, size_t size)
{
    free(*text);
    *text = strndup(value, size);
    return *text == NULL ? -1 : 0;
}

static void set_time(struct timespec *time, const char *value)
{
    char *rest;
    long long seconds = strtoll(value, &rest, 10);
    long scale = 100000000;

    *time = (struct timespec){.tv_sec = seconds};
    if (*rest != '.') {
        return;
    }
    for (rest++; isdigit((unsigned char)*rest) && scale > 0; rest++, scale /= 10) {
        time->tv_nsec += (*rest - '0') * scale;
    }
    if (value[0] == '-' && time->tv_nsec > 0) {
        time->tv_sec--;
        time->tv_nsec = 1000000000 - time->tv_nsec;
    }
}

/* What the headers before a member say of it, in place of its own. */
struct overrides {
    struct tar_member member;
    bool has_size, has_mtime, has_uid, has_gid;
};

static int take_record(struct overrides *over, const char *key, const char *value, size_t size,
                       struct failure *why)
{
    struct tar_member *member = &over->member;

    if (strcmp(key, "path") == 0) {
        return replace(&member->name, value, size);
    }
    if (strcmp(key, "linkpath") == 0) {
        return replace(&member->link, value, size);
    }
    if (strcmp(key, "size") == 0) {
        member->size = strtoll(value, NULL, 10);
        over->has_size = true;
        return member->size < 0 || member->size > MAX_SIZE ? broken(why, "a size is wrong") : 0;
    }
    if (strcmp(key, "mtime") == 0) {
        set_time(&member->mtime, value);
        over->has_mtime = true;
    } else if (strcmp(key, "uid") == 0) {
        member->uid = (uid_t)strtoll(value, NULL, 10);
        over->has_uid = true;
    } else if (strcmp(key, "gid") == 0) {
        member->gid = (gid_t)strtoll(value, NULL, 10);
        over->has_gid = true;
    } else if (strncmp(key, TAR_XATTR, strlen(TAR_XATTR)) == 0) {
        return tar_member_add_xattr(member, key + strlen(TAR_XATTR), value, size);
    } else if (strncmp(key, "GNU.sparse.", 11) == 0) {
        return failure_set(why, "invalid",
                           "the archive has sparse files; make it without (tar without --sparse)");
    }
    return 0;
}

static int take_records(struct overrides *over, char *bytes, size_t size, struct failure *why)
{
    while (size > 0) {
        char *rest;
        size_t length = isdigit((unsigned char)bytes[0]) ? strtoull(bytes, &rest, 10) : 0;
        if (length == 0 || length > size || *rest != ' ' || bytes[length - 1] != '\n') {
            return broken(why, "a pax header is wrong");
        }
        char *key = rest + 1;
        char *equals = memchr(key, '=', length - (size_t)(key - bytes));
        if (equals == NULL) {
            return broken(why, "a pax header is wrong");
        }
        *equals = 0;
        bytes[length - 1] = 0;
        size_t value_size = length - (size_t)(equals + 1 - bytes) - 1;
        if (take_record(over, key, equals + 1, value_size, why) < 0) {
            return why->code[0] == 0
                       ? failure_set(why, "internal", "there is no memory for the archive")
                       : -1;
        }
        bytes += length;
        size -= length;
    }
    return 0;
}

/* Read the content of a header that is about the next member: 'x', 'L' or 'K'. */
static int take_header(int fd, char type, int64_t size, struct overrides *over,
                       struct failure *why)
{
    if (size > MAX_RECORDS) {
        return broken(why, "a header is too large");
    }
    char *bytes = calloc(1, (size_t)size + 1);
    if (bytes == NULL) {
        return failure_set(why, "internal", "there is no memory for the archive");
    }
    int result = tar_read_data(fd, bytes, (size_t)size, why);
    if (result == 0) {
        result = tar_skip(fd, tar_padding(size), why);
    }
    if (result == 0 && type == 'x') {
        result = take_records(over, bytes, (size_t)size, why);
    } else if (result == 0) {
        result = replace(type == 'L' ? &over->member.name : &over->member.link, bytes,
                         (size_t)size);
    }
    free(bytes);
    return result;
}

static int fill(struct tar_member *member, const struct tar_header *header,
                const struct overrides *over, struct failure *why)
{
    *member = over->member;
    member->type = header->type == 0 ? '0' : header->type;
    if (member->name == NULL) {
        member->name = header_name(header);
    }
    if (member->link == NULL) {
        member->link = strndup(header->link, sizeof(header->link));
    }
    if (member->name == NULL || member->link == NULL) {
        return failure_set(why, "internal", "there is no memory for the archive");
    }
    int64_t size = number(header->size, sizeof(header->size));
    int64_t mode = number(header->mode, sizeof(header->mode));
    int64_t uid = number(header->uid, sizeof(header->uid));
    int64_t gid = number(header->gid, sizeof(header->gid));
    int64_t mtime = number(header->mtime, sizeof(header->mtime));
    int64_t major = number(header->major, sizeof(header->major));
    int64_t minor = number(header->minor, sizeof(header->minor));
    if (size < 0 || mode < 0 || uid < 0 || gid < 0 || major < 0 || minor < 0) {
        return broken(why, "a header has no proper numbers");
    }
    member->mode = (mode_t)(mode & 07777);
    member->size = over->has_size ? member->size : size;
    member->uid = over->has_uid ? member->uid : (uid_t)uid;
    member->gid = over->has_gid ? member->gid : (gid_t)gid;
    member->major = (unsigned int)major;
    member->minor = (unsigned int)minor;
    if (!over->has_mtime) {
        member->mtime = (struct timespec){.tv_sec = mtime < 0 ? 0 : mtime};
    }
    /* Only files have content, whatever is claimed; older writers give links a size. */
    if (member->type != '0' && member->type != '7') {
        member->size = 0;
    }
    return 0;
}

static int read_next(int fd, struct tar_member *member, struct overrides *over,
                     struct failure *why)
{
    for (;;) {
        static const char zeros[TAR_BLOCK];
        struct tar_header header;
        ssize_t count = read_full(fd, (char *)&header, sizeof(header));
        if (count == 0 || (count == sizeof(header) && memcmp(&header, zeros, TAR_BLOCK) == 0)) {
            return 0;
        }
        if (count != sizeof(header) || !has_checksum(&header)) {
            return broken(why, "a header is wrong");
        }
        int64_t size = number(header.size, sizeof(header.size));
        if (header.type == 'x' || header.type == 'L' || header.type == 'K') {
            if (size < 0) {
                return broken(why, "a header has no size");
            }
            if (take_header(fd, header.type, size, over, why) < 0) {
                return -1;
            }
            continue;
        }
        if (header.type == 'g') { /* about all members: comments, in practice */
            if (size < 0 || size > MAX_RECORDS || tar_skip(fd, size + tar_padding(size), why) < 0) {
                return broken(why, "a global header is wrong");
            }
            continue;
        }
        if (header.type == 'S') {
            return failure_set(
                why, "invalid",
                "the archive has sparse files; make it without (tar without --sparse)");
        }
        return fill(member, &header, over, why) < 0 ? -1 : 1;
    }
}

int tar_read_member(int fd, struct tar_member *member, struct failure *why)
{
    struct overrides over = {.has_size = false};

    memset(member, 0, sizeof(*member));
    why->code[0] = 0;
    int result = read_next(fd, member, &over, why);
    if (member->name == NULL && member->link == NULL && member->xattrs == NULL) {
        tar_member_clear(&over.member); /* nobody took it */
    } else if (result < 0) {
        tar_member_clear(member);
    }
    return result;
}
