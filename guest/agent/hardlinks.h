#ifndef AGENT_HARDLINKS_H
#define AGENT_HARDLINKS_H

#include <stddef.h>
#include <sys/types.h>

/* The names under which files with several names were met first. */
struct hardlinks {
    struct hardlink *slots; /* open addressing */
    size_t size, count;
};

/* The first name of a file, or NULL when that is *name*, which is remembered.  Without memory
 * nothing is remembered: the file comes twice then. */
const char *hardlinks_first(struct hardlinks *links, dev_t device, ino_t inode, const char *name);

void hardlinks_free(struct hardlinks *links);

#endif
