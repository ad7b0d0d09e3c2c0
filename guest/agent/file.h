#ifndef AGENT_FILE_H
#define AGENT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* The first line of *path*, without its end, cut at *size* - 1 bytes; -1 when unreadable. */
int file_read_line(const char *path, char *line, size_t size);

/* Write *text* to an existing file (of proc, sysfs or a cgroup) in one call. */
int file_write(const char *path, const char *text);

/* Replace the content of a regular file of ours. */
int file_replace(const char *path, const char *text);

/* Write all of *bytes* to a descriptor that blocks; -1 with errno. */
int file_write_all(int fd, const void *bytes, size_t count);

/* True for a path with a part "..". */
bool file_path_climbs(const char *path);

/* Make *path* and every missing directory above it; an existing directory is fine. */
int file_make_directories(const char *path, mode_t mode);

#endif
