#ifndef AGENT_VOLUME_H
#define AGENT_VOLUME_H

#include <stddef.h>

#include "failure.h"

#define VOLUME_NAME_MAX 63

/* Make the volume *name* if it is not yet, and give the directory that is its top, as the agent
 * sees it; -1 with the failure `invalid` when there is none of that name. */
int volume_find(const char *name, char *path, size_t size, struct failure *why);

#endif
