#ifndef AGENT_OVERLAY_H
#define AGENT_OVERLAY_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "upper.h"

#define OVERLAY_MAX_LAYERS 128

/* What the root of a container, or a volume that is one, is made of. */
struct overlay {
    const char *layers[OVERLAY_MAX_LAYERS]; /* serial numbers, bottom first */
    size_t layer_count;
    struct upper upper;
};

/* Read "layers" and "upper" of a request; what it holds lives as long as *request*. */
int overlay_parse(const json_t *request, struct overlay *overlay, struct failure *why);

/* Mount *overlay* for the container *name* on *root*, which is made, and give the directory that
 * holds what the container will write.  Nothing of it but what is shared stays mounted on
 * failure. */
int overlay_mount(const struct overlay *overlay, const char *name, const char *root, char *upper,
                  size_t upper_size, struct failure *why);

/* Undo that. */
void overlay_unmount(const struct overlay *overlay, const char *name, const char *root);

#endif
