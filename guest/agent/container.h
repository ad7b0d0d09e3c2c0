#ifndef AGENT_CONTAINER_H
#define AGENT_CONTAINER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "loop.h"

#define CONTAINER_MAX 64
#define CONTAINER_NAME_MAX 63
#define CONTAINER_MAX_STOPS 8

enum container_state { CONTAINER_CREATED, CONTAINER_STARTING, CONTAINER_RUNNING, CONTAINER_EXITED };

struct container {
    char name[CONTAINER_NAME_MAX + 1];
    enum container_state state;
    char **argv;
    char **env;
    char *user;
    char *cwd;
    int stop_signal;

    pid_t pid; /* 0 when there is no process */
    bool ended; /* the process was reaped; its output may still be on its way */
    int exit_code;
    int signal;
    uint64_t started_ns, output_ns, exited_ns; /* monotonic; 0 when not reached */

    struct watch launch; /* reports how exec went; fd -1 when not under way */
    uint32_t start_id; /* the request to answer then */
    struct watch output; /* the pipe of stdout and stderr; fd -1 when closed */
    bool output_paused; /* the console has no room */
    struct timer kill; /* SIGKILL at the end of a stop's grace */
    struct timer drain; /* when an ended container's output is given up */
    uint32_t stop_ids[CONTAINER_MAX_STOPS]; /* requests to answer at the exit */
    size_t stop_count;

    struct container *next;
};

/* All containers of the pod, oldest first. */
struct container *container_first(void);
struct container *container_find(const char *name);
struct container *container_of_pid(pid_t pid);
size_t container_count(void);

/* Add an empty one, or NULL when there is no memory; it is not in the list before
 * container_publish. */
struct container *container_new(const char *name);
void container_publish(struct container *container);
void container_free(struct container *container);

/* The root of a container's file system, as the agent sees it. */
void container_root(const char *name, char *path, size_t size);

/* The object that pod.status shows. */
json_t *container_describe(const struct container *container);

#endif
