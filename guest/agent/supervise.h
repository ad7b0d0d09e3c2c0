#ifndef AGENT_SUPERVISE_H
#define AGENT_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "container.h"
#include "failure.h"

/* What becomes of containers between pod.start and the end of the pod.  None of it needs a host. */

/* exec of a container has succeeded, or failed. */
void supervise_started(struct container *container);
void supervise_not_started(struct container *container, const struct failure *why);

/* The process of a container was reaped; its output may still be on its way. */
void supervise_reaped(struct container *container);

/* A container's end has been published: start it again, or what comes after it. */
void supervise_ended(struct container *container);

/* The host stops a container: it is not started again. */
void supervise_stopped(struct container *container);

/* Send a signal to a container's process, and SIGKILL if it has not ended *grace_ms* later. */
void supervise_signal(struct container *container, int number, int64_t grace_ms);

/* Stop a container that is not well, with its grace period. */
void supervise_kill_unhealthy(struct container *container, const char *message);

/* The guest goes down: start nothing any more. */
void supervise_give_up(void);

/* The host that has asked for things is gone: nobody waits for answers. */
void supervise_forget_host(void);

/* True when nothing of the pod runs or will run again by itself. */
bool supervise_is_finished(void);

#endif
