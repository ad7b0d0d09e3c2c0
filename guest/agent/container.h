#ifndef AGENT_CONTAINER_H
#define AGENT_CONTAINER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#include "failure.h"
#include "health.h"
#include "loop.h"
#include "output.h"
#include "pipes.h"
#include "mount.h"
#include "resources.h"
#include "restart.h"
#include "security.h"

#define CONTAINER_MAX 64
#define CONTAINER_NAME_MAX 63
#define CONTAINER_MAX_STOPS 8
#define CONTAINER_PATH_MAX 192

#define CONTAINER_MESSAGE_MAX 200

enum container_state {
    CONTAINER_CREATED,
    CONTAINER_STARTING,
    CONTAINER_RUNNING,
    CONTAINER_WAITING, /* has exited, and is to be started again */
    CONTAINER_EXITED,
};

/* What the agent itself decides about a container that pod.start has started. */
struct supervision {
    bool active;
    bool stopped; /* by the host: it is never started again */
    bool unhealthy; /* is being, or was, killed for it */
    bool oom_killed;
    unsigned int restarts;
    struct restart restart;
    int64_t grace_ms; /* between the signal and SIGKILL when the agent decides to stop it */
    struct timer again; /* the next start of one that waits */
    const char *reason; /* of its latest end; NULL before */
    char message[CONTAINER_MESSAGE_MAX + 1];
};

struct container {
    char name[CONTAINER_NAME_MAX + 1];
    char upper[CONTAINER_PATH_MAX]; /* of its overlay: what it has written */
    enum container_state state;
    char **argv;
    char **env;
    char *user;
    char *cwd;
    int stop_signal;
    bool init; /* runs before the others, to its end */
    struct resources resources;
    struct security security;
    struct mount mounts[MOUNT_MAX];
    size_t mount_count;

    pid_t pid; /* 0 when there is no process */
    bool ended; /* the process was reaped; its output may still be on its way */
    int exit_code;
    int signal;
    uint64_t started_ns, output_ns, exited_ns; /* monotonic; 0 when not reached */

    struct watch launch; /* reports how exec went; fd -1 when not under way */
    bool start_asked; /* by a request of its own */
    uint32_t start_id; /* the request to answer then */
    struct output outputs[OUTPUT_COUNT];
    bool has_input, tty; /* as made */
    struct winsize size; /* of its terminal */
    unsigned int freezes; /* of its processes, that have not ended */
    struct pipes pipes; /* until exec has succeeded */
    int input_fd; /* standard input, or its terminal; -1 when closed */
    struct timer kill; /* SIGKILL at the end of a stop's grace */
    struct timer drain; /* when an ended container's output is given up */
    uint32_t stop_ids[CONTAINER_MAX_STOPS]; /* requests to answer at the exit */
    size_t stop_count;
    int stop_asked; /* the signal of the latest of them */
    struct supervision supervision;
    struct health health;
    struct watch oom; /* the count of kills for want of memory; fd -1 while it does not run */
    uint64_t oom_count; /* when it was started */

    struct container *next;
};

/* All containers of the pod, oldest first. */
struct container *container_first(void);
struct container *container_find(const char *name);
/* The container that a request names, or NULL with the failure. */
struct container *container_named(const json_t *request, struct failure *why);
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
