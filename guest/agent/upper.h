#ifndef AGENT_UPPER_H
#define AGENT_UPPER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

/* Where a container, or a volume, writes: an ext4 disk or a tmpfs, its own or shared by the pod. */
struct upper {
    const char *serial; /* of the disk; NULL for a tmpfs */
    int64_t tmpfs_mib;
    const char *tmpfs; /* the name of a tmpfs that is shared; NULL for one of its own */
    const char *dir; /* its directory where it is shared; NULL for all of it */
};

/* Read an upper as container.create has it; what it holds lives as long as *object*. */
int upper_parse(const json_t *object, struct upper *upper, struct failure *why);

#endif
