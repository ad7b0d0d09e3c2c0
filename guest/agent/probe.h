#ifndef AGENT_PROBE_H
#define AGENT_PROBE_H

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "loop.h"
#include "process.h"

#define PROBE_HEAD_MAX 1024
#define PROBE_NOTE_MAX 120

enum probe_kind { PROBE_EXEC, PROBE_TCP, PROBE_HTTP };

struct container;

/* A question that is asked again and again while a container runs: does a command succeed, does a
 * port answer, is an HTTP status from 200 to 399. */
struct probe {
    enum probe_kind kind;
    char **argv; /* of exec */
    char *host; /* an address; NULL for the pod's own */
    uint16_t port;
    char *path; /* of http, and its headers with their line ends */
    char *headers;
    bool has_host_header;
    int64_t delay_ms, period_ms, timeout_ms;
    int64_t successes, failures; /* so many in a row count */

    /* While the container runs. */
    struct container *container;
    void (*on_answer)(struct probe *probe, bool good);
    struct timer next; /* attempt */
    struct timer limit; /* of the one under way */
    uint64_t began_ns;
    bool under_way;
    struct watch socket; /* of tcp and http; fd -1 without */
    struct process process; /* of exec */
    int report_fd;
    bool timed_out;
    char head[PROBE_HEAD_MAX + 1]; /* of the HTTP answer */
    size_t head_size;
    char note[PROBE_NOTE_MAX + 1]; /* what the latest attempt found */
    int64_t in_a_row; /* answers like the latest one */
    bool good; /* the latest answer */
};

/* Read a probe of a container.create; NULL where *key* is missing. */
int probe_parse(const json_t *probes, const char *key, struct probe **probe,
                struct failure *why);
void probe_free(struct probe *probe);

/* Ask from now on, and call *on_answer* after each attempt. */
void probe_begin(struct probe *probe, struct container *container,
                 void (*on_answer)(struct probe *probe, bool good));

/* Ask no more.  The process of an attempt is killed. */
void probe_end(struct probe *probe);

/* What ends an attempt: its kind calls this once, or the time limit does. */
void probe_answer(struct probe *probe, bool good, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The kinds: begin an attempt, give one up. */
void probe_exec_begin(struct probe *probe);
void probe_exec_give_up(struct probe *probe);
void probe_net_begin(struct probe *probe);
void probe_net_give_up(struct probe *probe);

/* True when the first line of an HTTP answer has a status from 200 to 399; 0 in *status* when it
 * is no answer at all. */
bool probe_http_is_good(const char *head, int *status);

#endif
