#ifndef TESTS_AGENT_FAKES_H
#define TESTS_AGENT_FAKES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the request tests see instead of a guest: the effects of requests are noted here, and
 * nothing happens to the machine that runs the tests. */
struct fakes {
    uint32_t answer_id;
    json_t *answer; /* the latest response */
    json_t *event; /* the latest event */
    size_t answers;
    int mounts;
    bool mount_fails;
    bool launch_fails;
    int report_fd; /* of the latest launch: what exec would close */
    int output_fd;
    pid_t killed_pid;
    int killed_signal;
    int64_t time_ns;
    char hostname[80];
};

extern struct fakes fakes;

/* Forget everything noted. */
void fakes_reset(void);

#endif
