#ifndef AGENT_OVERLAY_H
#define AGENT_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#include "failure.h"

#define OVERLAY_MAX_LAYERS 128

/* What a container's root is made of. */
struct overlay {
    const char *layers[OVERLAY_MAX_LAYERS]; /* serial numbers, bottom first */
    size_t layer_count;
    const char *upper; /* serial number of an ext4 disk, or NULL for a tmpfs */
    int64_t tmpfs_mib;
};

/* Mount *overlay* for the container *name* on *root*, which is made.  Nothing of it but shared
 * layers stays mounted on failure. */
int overlay_mount(const struct overlay *overlay, const char *name, const char *root,
                  struct failure *why);

#endif
