#ifndef AGENT_UNPACK_H
#define AGENT_UNPACK_H

#include "failure.h"

/* Extract the tar archive that comes from the descriptor *in* below the working directory.  Its names
 * may not lead out of there by themselves; links that are there already are followed. */
int unpack(int in, struct failure *why);

#endif
