#include "wallclock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "field.h"
#include "request.h"

int wallclock_set(const json_t *object, struct failure *why)
{
    int64_t time_ns;

    if (field_integer(object, "time_ns", 0, INT64_MAX, &time_ns, why) < 0) {
        return -1;
    }
    struct timespec now = {.tv_sec = time_ns / 1000000000, .tv_nsec = time_ns % 1000000000};
    if (clock_settime(CLOCK_REALTIME, &now) < 0) {
        return failure_set(why, "internal", "the clock cannot be set: %s", strerror(errno));
    }
    return 0;
}

enum outcome clock_set(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    (void)id;
    (void)fields;
    return wallclock_set(request, why) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}
