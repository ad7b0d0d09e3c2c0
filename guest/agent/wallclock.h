#ifndef AGENT_WALLCLOCK_H
#define AGENT_WALLCLOCK_H

#include <jansson.h>
#include <stdint.h>
#include <time.h>

#include "failure.h"

/* Set the wall clock from the field "time_ns" (ns since 1970). */
int wallclock_set(const json_t *object, struct failure *why);

/* The date and time of UTC that *seconds* after 1970 are; fills what gmtime_r does but the days of
 * week and year.  (gmtime_r reads time zones first, with 100 KiB of code in every guest.) */
void wallclock_split(int64_t seconds, struct tm *date);

#endif
