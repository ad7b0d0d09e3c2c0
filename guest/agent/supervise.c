#include "supervise.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "change.h"
#include "exit.h"
#include "health.h"
#include "oom.h"
#include "reply.h"
#include "request.h"
#include "start.h"

#define MAX_WAITING 8

/* Requests for pod.start that are answered when the first processes run. */
static uint32_t waiting_ids[MAX_WAITING];
static size_t waiting_count;
static bool start_failed;
static struct failure first_failure;
static bool proceeding;
static bool told_finished;
static bool given_up;

static void proceed(void);

/* Remember a sentence for pod.status, in which those of all containers must fit. */
static void explain(struct container *container, const char *message)
{
    char *kept = container->supervision.message;

    snprintf(kept, CONTAINER_MESSAGE_MAX + 1, "%.*s", CONTAINER_MESSAGE_MAX, message);
    failure_trim_utf8(kept);
    for (; *kept != 0; kept++) {
        if ((unsigned char)*kept < ' ') {
            *kept = ' ';
        }
    }
}

bool supervise_is_finished(void)
{
    size_t count = 0;

    for (const struct container *at = container_first(); at != NULL; at = at->next, count++) {
        if (at->init && at->state == CONTAINER_EXITED &&
            (at->exit_code != 0 || at->supervision.stopped)) {
            return true;
        }
    }
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        if (at->state != CONTAINER_EXITED) {
            return false;
        }
    }
    return count > 0;
}

static void answer_when_settled(void)
{
    if (waiting_count == 0 || proceeding) {
        return;
    }
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        if (at->state == CONTAINER_STARTING) {
            return;
        }
    }
    for (size_t i = 0; i < waiting_count; i++) {
        if (start_failed) {
            reply_failure(waiting_ids[i], &first_failure);
        } else {
            reply_ok(waiting_ids[i], NULL);
        }
    }
    waiting_count = 0;
}

static void start(struct container *container)
{
    struct failure why = {.code = "internal", .message = ""};

    container->supervision.active = true;
    container->start_asked = false;
    if (start_container(container, &why) < 0) {
        supervise_not_started(container, &why);
    }
}

static void on_again(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, supervision.again);

    container->supervision.restarts++;
    start(container);
}

void supervise_started(struct container *container)
{
    container->supervision.unhealthy = false;
    oom_begin(container);
    if (container->supervision.stopped) {
        /* It was asked for while exec was under way, and the signal may have been too early. */
        kill(container->pid, container->stop_asked);
    }
    change_note(container);
    health_begin(container);
    answer_when_settled();
}

void supervise_not_started(struct container *container, const struct failure *why)
{
    if (!container->supervision.active) {
        return;
    }
    if (waiting_count > 0) {
        if (!start_failed) {
            first_failure = *why;
            start_failed = true;
        }
        if (!container->supervision.stopped) {
            answer_when_settled();
            return;
        }
    }
    container->exit_code = why->exit_code == 0 ? 128 : why->exit_code;
    container->signal = 0;
    container->started_ns = container->exited_ns = monotonic_ns();
    explain(container, why->message);
    exit_publish(container);
    answer_when_settled();
}

void supervise_reaped(struct container *container)
{
    struct supervision *supervision = &container->supervision;

    health_end(container);
    if (!supervision->unhealthy) {
        supervision->message[0] = 0;
    }
    supervision->oom_killed = oom_end(container);
    if (supervision->oom_killed) {
        explain(container, container->resources.memory_max > 0
                               ? "the container was killed: it took more memory than its limit"
                               : "the container was killed: the pod has no memory left");
    }
}

void supervise_give_up(void)
{
    given_up = true;
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        timer_cancel(&at->supervision.again);
        health_end(at);
    }
}

static bool runs_again(struct container *container, int64_t *delay_ms)
{
    struct supervision *supervision = &container->supervision;
    struct restart *restart = &supervision->restart;
    uint64_t ran_ns = container->exited_ns - container->started_ns;
    bool failed = container->exit_code != 0 || supervision->unhealthy;

    if (supervision->stopped || (container->init && !failed)) {
        return false;
    }
    return restart_again(restart, failed, (int64_t)(ran_ns / 1000000u), delay_ms);
}

static const char *reason_of(const struct container *container)
{
    const struct supervision *supervision = &container->supervision;

    if (supervision->stopped) {
        return "Stopped";
    }
    if (supervision->oom_killed) {
        return "OOMKilled";
    }
    if (supervision->unhealthy) {
        return "Unhealthy";
    }
    return container->exit_code == 0 ? "Completed" : "Error";
}

void supervise_ended(struct container *container)
{
    struct supervision *supervision = &container->supervision;
    int64_t delay_ms;

    supervision->reason = reason_of(container);
    if (!supervision->active || given_up) {
        return;
    }
    change_note(container);
    if (runs_again(container, &delay_ms)) {
        container->state = CONTAINER_WAITING;
        supervision->again.on_due = on_again;
        timer_set(&supervision->again, (uint64_t)delay_ms * 1000000u);
        return;
    }
    proceed();
}

void supervise_stopped(struct container *container)
{
    container->supervision.stopped = true;
    if (container->state == CONTAINER_WAITING) {
        timer_cancel(&container->supervision.again);
        container->state = CONTAINER_EXITED;
        container->supervision.reason = "Stopped";
        change_note(container);
        proceed();
    }
}

static void on_grace_over(struct timer *timer)
{
    struct container *container = container_of(timer, struct container, kill);

    if (container->pid > 0) {
        kill(container->pid, SIGKILL);
    }
}

void supervise_signal(struct container *container, int number, int64_t grace_ms)
{
    kill(container->pid, number);
    container->kill.on_due = on_grace_over;
    timer_set(&container->kill, (uint64_t)grace_ms * 1000000u);
}

void supervise_kill_unhealthy(struct container *container, const char *message)
{
    struct supervision *supervision = &container->supervision;

    if (container->pid <= 0 || supervision->unhealthy || supervision->stopped) {
        return;
    }
    supervision->unhealthy = true;
    explain(container, message);
    supervise_signal(container, container->stop_signal, supervision->grace_ms);
    change_note(container);
}

/* Start what is to run now: the next init container, or all others when there is none left. */
static void proceed(void)
{
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        bool done = at->state == CONTAINER_EXITED && at->exit_code == 0 && !at->supervision.stopped;
        if (!at->init || done) {
            continue;
        }
        if (at->state == CONTAINER_CREATED) {
            start(at);
        }
        if (!supervise_is_finished()) {
            return;
        }
        break;
    }
    if (supervise_is_finished()) {
        if (!told_finished) {
            told_finished = true;
            event_send(json_pack("{s:s}", "event", "pod.finished"));
        }
        return;
    }
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        if (!at->init && at->state == CONTAINER_CREATED) {
            start(at);
        }
    }
}

static bool has_created(void)
{
    const struct container *at = container_first();

    while (at != NULL && at->state != CONTAINER_CREATED) {
        at = at->next;
    }
    return at != NULL;
}

enum outcome pod_start(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    (void)request;
    (void)fields;
    if (container_count() == 0) {
        failure_set(why, "state", "the pod has no container to start");
        return OUTCOME_FAILED;
    }
    if (waiting_count == MAX_WAITING) {
        failure_set(why, "state", "the pod is being started");
        return OUTCOME_FAILED;
    }
    bool first = waiting_count == 0;
    waiting_ids[waiting_count++] = id;
    if (first) {
        start_failed = false;
        if (has_created()) {
            proceeding = true;
            proceed();
            proceeding = false;
        }
        answer_when_settled();
    }
    return OUTCOME_LATER;
}

void supervise_forget_host(void)
{
    waiting_count = 0;
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        at->start_asked = false;
        at->stop_count = 0;
    }
}
