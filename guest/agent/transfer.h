#ifndef AGENT_TRANSFER_H
#define AGENT_TRANSFER_H

#include <jansson.h>
#include <stdint.h>

#include "container.h"
#include "failure.h"
#include "request.h"

/* What the process of a transfer tells the agent, in one write below PIPE_BUF. */
struct transfer_report {
    struct failure why; /* code is empty for what is found */
    uint32_t mode; /* of what is found */
    int64_t size;
    char name[256];
};

/* A tree on its way between the host and a container, by a process of its own that is *inside* the
 * container's root (or not) and uses descriptor 0 or 1. */
struct transfer_job {
    const struct container *container;
    const char *path; /* only until the process is started */
    bool inside;
    bool input; /* from the host, else to it */
    bool freeze; /* the container meanwhile */
    /* Find what the transfer is about: the request is answered with the report. */
    int (*find)(const struct transfer_job *job, struct transfer_report *report);
    int (*run)(const struct transfer_job *job, struct failure *why);
};

/* Start *job* for the request *id*, which is answered later. */
enum outcome transfer_start(uint32_t id, const json_t *request, const struct transfer_job *job,
                            struct failure *why);

#endif
