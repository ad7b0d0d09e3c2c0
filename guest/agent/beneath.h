#ifndef AGENT_BENEATH_H
#define AGENT_BENEATH_H

#include <stdint.h>
#include <sys/types.h>

/* Files below a directory whose content is a container's: no path, no link in it and nobody who
 * changes it meanwhile leads out of it (openat2, RESOLVE_BENEATH). */

/* Open *path*, relative to *directory*; -1 with errno. */
int beneath_open(int directory, const char *path, uint64_t flags, mode_t mode);

/* Open the directory *path*, made with every missing one above it; "" is *directory* itself. */
int beneath_make_directories(int directory, const char *path, mode_t mode);

#endif
