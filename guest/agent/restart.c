#include "restart.h"

#include <stdio.h>
#include <string.h>

#include "field.h"

#define DEFAULT_INITIAL_MS 10000
#define DEFAULT_MAX_MS 300000
#define DEFAULT_RESET_MS 600000
#define MAX_MS (24 * 3600 * 1000)
#define MAX_RETRIES 1000000000

static int parse_policy(const json_t *object, enum restart_policy *policy, struct failure *why)
{
    static const char *const names[] = {
        [RESTART_NEVER] = "never", [RESTART_ON_FAILURE] = "on-failure", [RESTART_ALWAYS] = "always"};
    const char *name;

    if (field_string(object, "policy", 31, "never", &name, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *policy = (enum restart_policy)i;
            return 0;
        }
    }
    return failure_set(why, "invalid", "\"%s\" is not a restart policy", name);
}

int restart_parse(const json_t *request, struct restart *restart, struct failure *why)
{
    const json_t *object;

    *restart = (struct restart){.policy = RESTART_NEVER, .max_retries = -1};
    if (field_object(request, "restart", &object, why) < 0) {
        return -1;
    }
    if (parse_policy(object, &restart->policy, why) < 0 ||
        field_integer_or(object, "initial_ms", 0, MAX_MS, DEFAULT_INITIAL_MS,
                         &restart->initial_ms, why) < 0 ||
        field_integer_or(object, "max_ms", 0, MAX_MS, DEFAULT_MAX_MS, &restart->max_ms, why) < 0 ||
        field_integer_or(object, "reset_ms", 0, MAX_MS, DEFAULT_RESET_MS, &restart->reset_ms,
                         why) < 0 ||
        field_integer_or(object, "max_retries", 0, MAX_RETRIES, -1, &restart->max_retries, why) <
            0) {
        return -1;
    }
    return 0;
}

static int64_t doubled(const struct restart *restart)
{
    int64_t next = restart->delay_ms == 0 ? restart->initial_ms : restart->delay_ms * 2;

    return next < restart->max_ms ? next : restart->max_ms;
}

bool restart_again(struct restart *restart, bool failed, int64_t ran_ms, int64_t *delay_ms)
{
    if (restart->policy == RESTART_NEVER || (restart->policy == RESTART_ON_FAILURE && !failed)) {
        return false;
    }
    if (ran_ms >= restart->reset_ms) {
        restart->delay_ms = 0;
        restart->retries = 0;
    }
    if (restart->max_retries >= 0 && restart->retries >= restart->max_retries) {
        return false;
    }
    *delay_ms = restart->delay_ms;
    restart->delay_ms = doubled(restart);
    restart->retries++;
    return true;
}
