#include "hardlinks.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 256

struct hardlink {
    dev_t device;
    ino_t inode;
    char *name; /* NULL in an empty slot */
};

static struct hardlink *find(const struct hardlinks *links, dev_t device, ino_t inode)
{
    uint64_t hash = ((uint64_t)inode ^ (uint64_t)device << 32) * 0x9e3779b97f4a7c15u;

    for (size_t i = (size_t)(hash >> 32);; i++) {
        struct hardlink *slot = &links->slots[i & (links->size - 1)];
        if (slot->name == NULL || (slot->device == device && slot->inode == inode)) {
            return slot;
        }
    }
}

static int grow(struct hardlinks *links)
{
    struct hardlinks larger = {.size = links->size == 0 ? FIRST_SIZE : 2 * links->size};

    larger.slots = calloc(larger.size, sizeof(*larger.slots));
    if (larger.slots == NULL) {
        return -1;
    }
    larger.count = links->count;
    for (size_t i = 0; i < links->size; i++) {
        const struct hardlink *slot = &links->slots[i];
        if (slot->name != NULL) {
            *find(&larger, slot->device, slot->inode) = *slot;
        }
    }
    free(links->slots);
    *links = larger;
    return 0;
}

const char *hardlinks_first(struct hardlinks *links, dev_t device, ino_t inode, const char *name)
{
    if (2 * links->count >= links->size && grow(links) < 0) {
        return NULL;
    }
    struct hardlink *slot = find(links, device, inode);
    if (slot->name != NULL) {
        return slot->name;
    }
    *slot = (struct hardlink){.device = device, .inode = inode, .name = strdup(name)};
    links->count += slot->name != NULL;
    return NULL;
}

void hardlinks_free(struct hardlinks *links)
{
    for (size_t i = 0; i < links->size; i++) {
        free(links->slots[i].name);
    }
    free(links->slots);
}
