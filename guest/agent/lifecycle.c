#include <signal.h>
#include <stddef.h>

#include "container.h"
#include "field.h"
#include "reply.h"
#include "request.h"
#include "start.h"
#include "stopsignal.h"

#define MAX_GRACE_MS (24 * 3600 * 1000)

static struct container *named(const json_t *request, struct failure *why)
{
    const char *name;

    if (field_string(request, "name", CONTAINER_NAME_MAX, NULL, &name, why) < 0) {
        return NULL;
    }
    struct container *container = container_find(name);
    if (container == NULL) {
        failure_set(why, "state", "there is no container \"%s\"", name);
    }
    return container;
}

enum outcome container_start(uint32_t id, const json_t *request, json_t **fields,
                             struct failure *why)
{
    struct container *container = named(request, why);

    (void)fields;
    if (container == NULL) {
        return OUTCOME_FAILED;
    }
    switch (container->state) {
    case CONTAINER_CREATED:
        return start_container(container, id, why) < 0 ? OUTCOME_FAILED : OUTCOME_LATER;
    case CONTAINER_RUNNING:
        /* A host that lost the first answer asks again. */
        start_answer(container, id);
        return OUTCOME_LATER;
    case CONTAINER_STARTING:
        container->start_id = id;
        return OUTCOME_LATER;
    default:
        failure_set(why, "state", "container \"%s\" has already exited", container->name);
        return OUTCOME_FAILED;
    }
}

static void on_grace_over(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, kill);

    if (container->pid > 0) {
        kill(container->pid, SIGKILL);
    }
}

enum outcome container_stop(uint32_t id, const json_t *request, json_t **fields,
                            struct failure *why)
{
    struct container *container = named(request, why);
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
    if (container->state == CONTAINER_EXITED) {
        reply_exit(id, container->exit_code, container->signal);
        return OUTCOME_LATER;
    }
    if (container->state != CONTAINER_RUNNING) {
        failure_set(why, "state", "container \"%s\" does not run", container->name);
        return OUTCOME_FAILED;
    }
    if (container->stop_count == CONTAINER_MAX_STOPS) {
        failure_set(why, "state", "container \"%s\" is being stopped", container->name);
        return OUTCOME_FAILED;
    }
    container->stop_ids[container->stop_count++] = id;
    if (container->pid > 0) {
        kill(container->pid, number);
        container->kill.on_due = on_grace_over;
        timer_set(&container->kill, (uint64_t)grace_ms * 1000000u);
    }
    return OUTCOME_LATER;
}
