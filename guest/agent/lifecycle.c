#include <signal.h>
#include <stddef.h>

#include "container.h"
#include "field.h"
#include "reply.h"
#include "request.h"
#include "start.h"
#include "stopsignal.h"
#include "supervise.h"

#define MAX_GRACE_MS (24 * 3600 * 1000)

enum outcome container_start(uint32_t id, const json_t *request, json_t **fields,
                             struct failure *why)
{
    struct container *container = container_named(request, why);

    (void)fields;
    if (container == NULL) {
        return OUTCOME_FAILED;
    }
    switch (container->state) {
    case CONTAINER_CREATED:
        container->start_asked = true;
        container->start_id = id;
        return start_container(container, why) < 0 ? OUTCOME_FAILED : OUTCOME_LATER;
    case CONTAINER_RUNNING:
        /* A host that lost the first answer asks again. */
        start_answer(container, id);
        return OUTCOME_LATER;
    case CONTAINER_STARTING:
        container->start_asked = true;
        container->start_id = id;
        return OUTCOME_LATER;
    case CONTAINER_WAITING:
        failure_set(why, "state", "container \"%s\" will be started again by itself",
                    container->name);
        return OUTCOME_FAILED;
    default:
        failure_set(why, "state", "container \"%s\" has already exited", container->name);
        return OUTCOME_FAILED;
    }
}

enum outcome container_stop(uint32_t id, const json_t *request, json_t **fields,
                            struct failure *why)
{
    struct container *container = container_named(request, why);
    const char *name;
    int64_t grace_ms;

    (void)fields;
    if (container == NULL ||
        field_string(request, "signal", 31, "", &name, why) < 0 ||
        field_integer(request, "grace_ms", 0, MAX_GRACE_MS, &grace_ms, why) < 0) {
        return OUTCOME_FAILED;
    }
    int number = name[0] == 0 ? container->stop_signal : stopsignal_parse(name);
    if (number < 0) {
        failure_set(why, "invalid", "\"%s\" is not a signal", name);
        return OUTCOME_FAILED;
    }
    if (container->state == CONTAINER_WAITING) {
        supervise_stopped(container);
    }
    if (container->state == CONTAINER_EXITED) {
        reply_exit(id, container->exit_code, container->signal);
        return OUTCOME_LATER;
    }
    bool starting = container->state == CONTAINER_STARTING && container->supervision.active;
    if (container->state != CONTAINER_RUNNING && !starting) {
        failure_set(why, "state", "container \"%s\" does not run", container->name);
        return OUTCOME_FAILED;
    }
    if (container->stop_count == CONTAINER_MAX_STOPS) {
        failure_set(why, "state", "container \"%s\" is being stopped", container->name);
        return OUTCOME_FAILED;
    }
    supervise_stopped(container);
    container->stop_ids[container->stop_count++] = id;
    container->stop_asked = number;
    if (container->pid > 0) {
        supervise_signal(container, number, grace_ms);
    }
    return OUTCOME_LATER;
}

enum outcome container_signal(uint32_t id, const json_t *request, json_t **fields,
                              struct failure *why)
{
    const struct container *container = container_named(request, why);
    int number;

    (void)id;
    (void)fields;
    if (container == NULL || stopsignal_read(request, &number, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (container->state != CONTAINER_RUNNING || container->pid == 0) {
        failure_set(why, "state", "container \"%s\" does not run", container->name);
        return OUTCOME_FAILED;
    }
    kill(container->pid, number);
    return OUTCOME_DONE;
}
