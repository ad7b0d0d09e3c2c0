#ifndef AGENT_RESTART_H
#define AGENT_RESTART_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

enum restart_policy { RESTART_NEVER, RESTART_ON_FAILURE, RESTART_ALWAYS };

/* Whether and when a container that ended runs again.
 *
 * As the kubelet does it (pkg/kubelet, doBackOff): the first restart is at once, each further one
 * waits twice as long as the one before, up to a limit; a container that ran for long enough begins
 * anew. */
struct restart {
    enum restart_policy policy;
    int64_t initial_ms, max_ms, reset_ms;
    int64_t max_retries; /* in a row; -1 without limit */

    int64_t delay_ms; /* before the next restart */
    int64_t retries; /* since the last reset */
};

/* Read "restart" of a container.create; a missing one means never. */
int restart_parse(const json_t *request, struct restart *restart, struct failure *why);

/* Say whether a container that *failed*, or not, after *ran_ms* is to run again, and in how many
 * ms; counts the restart. */
bool restart_again(struct restart *restart, bool failed, int64_t ran_ms, int64_t *delay_ms);

#endif
