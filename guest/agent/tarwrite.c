#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "file.h"
#include "tar.h"

#define MAX_OCTAL_8 07777777
#define MAX_OCTAL_12 077777777777

/* The records of a pax header as they grow. */
struct records {
    char *bytes;
    size_t size;
    FILE *stream;
};

int tar_write_padding(int fd, int64_t size)
{
    static const char zeros[TAR_BLOCK];

    return file_write_all(fd, zeros, (size_t)tar_padding(size));
}

int tar_write_end(int fd)
{
    static const char zeros[2 * TAR_BLOCK];

    return file_write_all(fd, zeros, sizeof(zeros));
}

/* "LENGTH KEY=VALUE\n", where LENGTH counts its own digits too. */
static void add_record(struct records *records, const char *prefix, const char *key,
                       const char *value, size_t size)
{
    size_t rest = strlen(prefix) + strlen(key) + size + 3;
    size_t length = rest;

    for (size_t before = 0; length != before;) {
        before = length;
        length = rest + (size_t)snprintf(NULL, 0, "%zu", before);
    }
    fprintf(records->stream, "%zu %s%s=", length, prefix, key);
    fwrite(value, 1, size, records->stream);
    fputc('\n', records->stream);
}

static void add_number(struct records *records, const char *key, int64_t value)
{
    char text[32];
    int length = snprintf(text, sizeof(text), "%lld", (long long)value);

    add_record(records, "", key, text, (size_t)length);
}

static void add_records(struct records *records, const struct tar_member *member)
{
    if (strlen(member->name) > sizeof(((struct tar_header *)0)->name)) {
        add_record(records, "", "path", member->name, strlen(member->name));
    }
    if (member->link != NULL && strlen(member->link) > sizeof(((struct tar_header *)0)->link)) {
        add_record(records, "", "linkpath", member->link, strlen(member->link));
    }
    if (member->uid > MAX_OCTAL_8) {
        add_number(records, "uid", member->uid);
    }
    if (member->gid > MAX_OCTAL_8) {
        add_number(records, "gid", member->gid);
    }
    if (member->size > MAX_OCTAL_12) {
        add_number(records, "size", member->size);
    }
    if (member->mtime.tv_nsec != 0 || member->mtime.tv_sec < 0 ||
        member->mtime.tv_sec > MAX_OCTAL_12) {
        char text[48];
        /* Before 1970 the fraction counts the other way. */
        bool negative = member->mtime.tv_sec < 0 && member->mtime.tv_nsec > 0;
        long long seconds = (long long)member->mtime.tv_sec + negative;
        long nanoseconds = negative ? 1000000000 - member->mtime.tv_nsec : member->mtime.tv_nsec;
        int length = snprintf(text, sizeof(text), "%s%lld.%09ld",
                              negative && seconds == 0 ? "-" : "", seconds, nanoseconds);
        add_record(records, "", "mtime", text, (size_t)length);
    }
    for (const struct tar_xattr *at = member->xattrs; at != NULL; at = at->next) {
        add_record(records, TAR_XATTR, at->name, at->value, at->size);
    }
}

static void put_octal(char *field, size_t size, uint64_t value, uint64_t max)
{
    char text[16];

    snprintf(text, sizeof(text), "%0*llo", (int)size - 1,
             (unsigned long long)(value > max ? 0 : value));
    memcpy(field, text, size - 1);
}

static void put_text(char *field, size_t size, const char *text)
{
    size_t length = strlen(text);

    memcpy(field, text, length < size ? length : size);
}

static int write_header(int fd, char type, const char *name, const struct tar_member *member,
                        int64_t size)
{
    struct tar_header header = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    unsigned int sum = 0;
    int64_t seconds = member->mtime.tv_sec;

    put_text(header.name, sizeof(header.name), name);
    put_text(header.link, sizeof(header.link), member->link == NULL ? "" : member->link);
    put_octal(header.mode, sizeof(header.mode), member->mode & 07777, MAX_OCTAL_8);
    put_octal(header.uid, sizeof(header.uid), member->uid, MAX_OCTAL_8);
    put_octal(header.gid, sizeof(header.gid), member->gid, MAX_OCTAL_8);
    put_octal(header.size, sizeof(header.size), (uint64_t)size, MAX_OCTAL_12);
    put_octal(header.mtime, sizeof(header.mtime), seconds < 0 ? 0 : (uint64_t)seconds,
              MAX_OCTAL_12);
    put_octal(header.major, sizeof(header.major), member->major, MAX_OCTAL_8);
    put_octal(header.minor, sizeof(header.minor), member->minor, MAX_OCTAL_8);
    memset(header.checksum, ' ', sizeof(header.checksum));
    for (size_t i = 0; i < sizeof(header); i++) {
        sum += ((const unsigned char *)&header)[i];
    }
    snprintf(header.checksum, sizeof(header.checksum), "%06o", sum);
    return file_write_all(fd, &header, sizeof(header));
}

static int write_records(int fd, const struct tar_member *member)
{
    static const struct tar_member plain = {.mode = 0644};
    struct records records = {NULL, 0, NULL};
    int result = 0;

    records.stream = open_memstream(&records.bytes, &records.size);
    if (records.stream == NULL) {
        return -1;
    }
    add_records(&records, member);
    if (fclose(records.stream) != 0) {
        free(records.bytes);
        return -1;
    }
    if (records.size > 0 &&
        (write_header(fd, 'x', "pax_header", &plain, (int64_t)records.size) < 0 ||
         file_write_all(fd, records.bytes, records.size) < 0 ||
         tar_write_padding(fd, (int64_t)records.size) < 0)) {
        result = -1;
    }
    free(records.bytes);
    return result;
}

int tar_write_member(int fd, const struct tar_member *member)
{
    if (write_records(fd, member) < 0) {
        return -1;
    }
    return write_header(fd, member->type, member->name, member, member->size);
}
