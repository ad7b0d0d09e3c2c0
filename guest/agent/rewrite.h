#ifndef AGENT_REWRITE_H
#define AGENT_REWRITE_H

#include <stddef.h>
#include <sys/stat.h>

#include "failure.h"

/* Small files of a container, which may have put anything there: links are not followed at the end
 * of a name, and what is no regular file is refused. */

struct rewrite {
    char *bytes; /* the whole file, and a zero; NULL where there is none */
    size_t count;
    struct stat status;
};

/* Read the file *name* in *directory*; 0 also where there is none. */
int rewrite_read(int directory, const char *name, struct rewrite *file, struct failure *why);

/* Put *bytes* in its place, with the owner and the mode of *status*: whoever reads it sees the old
 * content or the new one, also after a crash. */
int rewrite_write(int directory, const char *name, const struct stat *status, const char *bytes,
                  size_t count, struct failure *why);

#endif
