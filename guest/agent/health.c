#include "health.h"

#include <stddef.h>
#include <stdio.h>

#include "change.h"
#include "container.h"
#include "field.h"
#include "supervise.h"

#define STARTING "starting"
#define HEALTHY "healthy"
#define UNHEALTHY "unhealthy"

int health_parse(const json_t *request, struct health *health, struct failure *why)
{
    const json_t *probes;

    if (field_object(request, "probes", &probes, why) < 0 ||
        probe_parse(probes, "startup", &health->startup, why) < 0 ||
        probe_parse(probes, "liveness", &health->liveness, why) < 0 ||
        probe_parse(probes, "readiness", &health->readiness, why) < 0 ||
        probe_parse(probes, "health", &health->check, why) < 0) {
        return -1;
    }
    return 0;
}

void health_free(struct health *health)
{
    probe_free(health->startup);
    probe_free(health->liveness);
    probe_free(health->readiness);
    probe_free(health->check);
}

static void begin(struct container *container, struct probe *probe,
                  void (*on_answer)(struct probe *probe, bool good))
{
    if (probe != NULL) {
        probe_begin(probe, container, on_answer);
    }
}

static bool has_passed(const struct probe *probe)
{
    return probe->good && probe->in_a_row >= probe->successes;
}

static bool has_failed(const struct probe *probe)
{
    return !probe->good && probe->in_a_row >= probe->failures;
}

static void condemn(struct probe *probe, const char *name)
{
    char message[PROBE_NOTE_MAX + 80];

    snprintf(message, sizeof(message), "the %s probe failed %lld times: %s", name,
             (long long)probe->in_a_row, probe->note);
    health_end(probe->container);
    supervise_kill_unhealthy(probe->container, message);
}

static void on_liveness(struct probe *probe, bool good)
{
    (void)good;
    if (has_failed(probe)) {
        condemn(probe, "liveness");
    }
}

static void on_readiness(struct probe *probe, bool good)
{
    struct health *health = &probe->container->health;

    if (good ? has_passed(probe) && !health->ready : has_failed(probe) && health->ready) {
        health->ready = good;
        change_note(probe->container);
    }
}

static void on_check(struct probe *probe, bool good)
{
    struct health *health = &probe->container->health;
    const char *status = good ? HEALTHY : UNHEALTHY;

    if ((good ? has_passed(probe) : has_failed(probe)) && health->status != status) {
        health->status = status;
        change_note(probe->container);
    }
}

static void begin_after_startup(struct container *container)
{
    struct health *health = &container->health;

    health->started = true;
    health->ready = health->readiness == NULL;
    begin(container, health->liveness, on_liveness);
    begin(container, health->readiness, on_readiness);
    begin(container, health->check, on_check);
    change_note(container);
}

static void on_startup(struct probe *probe, bool good)
{
    (void)good;
    if (has_passed(probe)) {
        probe_end(probe);
        begin_after_startup(probe->container);
    } else if (has_failed(probe)) {
        condemn(probe, "startup");
    }
}

void health_begin(struct container *container)
{
    struct health *health = &container->health;

    health->status = health->check == NULL ? NULL : STARTING;
    health->started = health->ready = false;
    if (health->startup == NULL) {
        begin_after_startup(container);
    } else {
        begin(container, health->startup, on_startup);
    }
}

void health_end(struct container *container)
{
    struct health *health = &container->health;
    struct probe *const probes[] = {health->startup, health->liveness, health->readiness,
                                    health->check};

    for (size_t i = 0; i < sizeof(probes) / sizeof(probes[0]); i++) {
        if (probes[i] != NULL) {
            probe_end(probes[i]);
        }
    }
    health->started = health->ready = false;
}

void health_describe(const struct container *container, json_t *object)
{
    const struct health *health = &container->health;

    json_object_set_new(object, "started", json_boolean(health->started));
    json_object_set_new(object, "ready", json_boolean(health->ready));
    json_object_set_new(object, "health",
                        health->status == NULL ? json_null() : json_string(health->status));
}
