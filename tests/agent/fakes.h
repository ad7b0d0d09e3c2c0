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
    size_t events;
    size_t finished; /* events pod.finished among them */
    size_t room; /* of the channel, less than no limit */
    char data[2][256 * 1024]; /* what streams have sent, by channel */
    size_t data_size[2];
    bool data_ended[2];
    size_t granted; /* window for the host */
    int mounts;
    bool mount_fails;
    bool launch_fails;
    pid_t entered_pid; /* of the latest exec: a process of the machine that runs the tests */
    int tree_exit; /* of the next process among a container's files */
    int report_fd; /* of the latest launch: what exec would close */
    int output_fd, error_fd;
    pid_t killed_pid;
    int killed_signal;
    int64_t time_ns;
    char hostname[80];
    int memory_events_fd; /* what a cgroup counts; 0 for no cgroup */
    char store[64]; /* where volumes are made; empty before there is one */
};

extern struct fakes fakes;

/* Forget everything noted, and let the channel have room. */
void fakes_reset(void);

#endif
