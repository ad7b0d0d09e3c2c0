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

void wallclock_split(int64_t seconds, struct tm *date)
{
    /* Days of years that begin in March, in eras of 400 years (Hinnant, "chrono-Compatible
     * Low-Level Date Algorithms", civil_from_days). */
    int64_t day = seconds / 86400 + 719468, second = seconds % 86400;
    int64_t of_era = day % 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;

    date->tm_mday = (int)(of_year - (153 * month + 2) / 5 + 1);
    date->tm_mon = (int)(month < 10 ? month + 2 : month - 10);
    date->tm_year = (int)(year + day / 146097 * 400 + (date->tm_mon <= 1)) - 1900;
    date->tm_hour = (int)(second / 3600);
    date->tm_min = (int)(second / 60 % 60);
    date->tm_sec = (int)(second % 60);
}
