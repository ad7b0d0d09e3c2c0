#ifndef AGENT_PACK_H
#define AGENT_PACK_H

#include "failure.h"

/* Writes trees of files as tar archives.  Both change the working directory, for which a process of
 * its own is meant. */

/* Write *name* of the directory *directory* and all below to *out* as *as*; sockets are left out. */
int pack_tree(int out, int directory, const char *name, const char *as, struct failure *why);

/* Write what the upper directory of an overlay adds to and takes from what is below it, as a layer of
 * an image (OCI image specification, layer.md, "Whiteouts"). */
int pack_layer(int out, int upper, struct failure *why);

#endif
