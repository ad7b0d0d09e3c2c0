#ifndef AGENT_GROW_H
#define AGENT_GROW_H

#include "failure.h"

/* Have the ext4 file system of *device*, mounted at *directory*, take all of a device that the host
 * has made larger since. */
int grow_to_device(const char *device, const char *directory, struct failure *why);

#endif
