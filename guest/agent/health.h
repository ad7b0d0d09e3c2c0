#ifndef AGENT_HEALTH_H
#define AGENT_HEALTH_H

#include <jansson.h>
#include <stdbool.h>

#include "failure.h"
#include "probe.h"

/* What probes find out about a container, and what follows from it. */
struct health {
    struct probe *startup, *liveness, *readiness, *check; /* NULL without */
    bool started; /* the startup probe has succeeded, if there is one */
    bool ready;
    const char *status; /* of check; NULL without */
};

struct container;

/* Read "probes" of a container.create. */
int health_parse(const json_t *request, struct health *health, struct failure *why);
void health_free(struct health *health);

/* Watch a container that runs now, as its probes say. */
void health_begin(struct container *container);

/* Ask no more: the container ends, or has. */
void health_end(struct container *container);

/* Add "started", "ready" and "health" to what pod.status shows. */
void health_describe(const struct container *container, json_t *object);

#endif
