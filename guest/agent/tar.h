#ifndef AGENT_TAR_H
#define AGENT_TAR_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "failure.h"

/* The tar format: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Interchange Format"; the
 * records of extended attributes are those of star, as everybody writes them. */
#define TAR_BLOCK 512
#define TAR_XATTR "SCHILY.xattr."

struct tar_header {
    char name[100];
    char mode[8], uid[8], gid[8];
    char size[12], mtime[12];
    char checksum[8];
    char type;
    char link[100];
    char magic[6], version[2];
    char user[32], group[32];
    char major[8], minor[8];
    char prefix[155];
    char padding[12];
};

/* One member of an archive.  Names are bytes, as those of files are. */
struct tar_member {
    char type; /* as in the header: '0' file, '1' hard link, '2' link, '3' '4' device, ... */
    char *name, *link;
    mode_t mode; /* the permissions only */
    uid_t uid;
    gid_t gid;
    int64_t size; /* of what follows */
    struct timespec mtime;
    unsigned int major, minor;
    struct tar_xattr *xattrs;
};

struct tar_xattr {
    char *name;
    char *value;
    size_t size;
    struct tar_xattr *next;
};

/* Free what the members of *member* point to. */
void tar_member_clear(struct tar_member *member);

/* Add a copy of an attribute; -1 without memory. */
int tar_member_add_xattr(struct tar_member *member, const char *name, const char *value,
                         size_t size);

/* Writing, to a descriptor that blocks. */

/* Write the headers of *member*; exactly its size must be written after it.  -1 with errno. */
int tar_write_member(int fd, const struct tar_member *member);
/* Write what fills the last block of *size* bytes. */
int tar_write_padding(int fd, int64_t size);
int tar_write_end(int fd);

/* Reading. */

/* Read the headers of the next member: 1, 0 at the end of the archive, or -1 with the failure.  What
 * follows it must be read with tar_read_data and tar_skip. */
int tar_read_member(int fd, struct tar_member *member, struct failure *why);
/* Read exactly *count* bytes; -1 with the failure. */
int tar_read_data(int fd, char *bytes, size_t count, struct failure *why);
int tar_skip(int fd, int64_t count, struct failure *why);
/* The bytes that fill the last block of *size* bytes. */
int64_t tar_padding(int64_t size);

#endif
