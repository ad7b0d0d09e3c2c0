#ifndef AGENT_RESOURCES_H
#define AGENT_RESOURCES_H

#include <jansson.h>
#include <stdint.h>

#include "failure.h"

/* What a container may use at most; 0 is no limit. */
struct resources {
    int64_t memory_max; /* bytes */
    int64_t cpu_quota_us; /* in each 100 ms, of all processors together */
    int64_t cpu_weight; /* against the other containers; 100 is usual */
    int64_t pids_max;
};

/* Read "resources" of a container.create. */
int resources_parse(const json_t *request, struct resources *resources, struct failure *why);

/* Set them in the cgroup that *cgroup_fd* is the directory of (kernel: admin-guide/cgroup-v2). */
int resources_apply(const struct resources *resources, int cgroup_fd, struct failure *why);

#endif
