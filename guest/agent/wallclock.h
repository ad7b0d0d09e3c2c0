#ifndef AGENT_WALLCLOCK_H
#define AGENT_WALLCLOCK_H

#include <jansson.h>

#include "failure.h"

/* Set the wall clock from the field "time_ns" (ns since 1970). */
int wallclock_set(const json_t *object, struct failure *why);

#endif
