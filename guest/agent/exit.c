#include "exit.h"

#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "attach.h"
#include "output.h"
#include "process.h"
#include "reply.h"
#include "start.h"
#include "supervise.h"

/* A console that takes nothing must not hide that a container ended. */
#define DRAIN_LIMIT_NS 2000000000u

static struct watch children = {.fd = -1};

void exit_publish(struct container *container)
{
    timer_cancel(&container->drain);
    timer_cancel(&container->kill);
    output_close(container);
    attach_end(container);
    container->state = CONTAINER_EXITED;
    for (size_t i = 0; i < container->stop_count; i++) {
        reply_exit(container->stop_ids[i], container->exit_code, container->signal);
    }
    container->stop_count = 0;
    event_send(json_pack("{s:s, s:s, s:i, s:i, s:I}", "event", "container.exited", "name",
                         container->name, "exit_code", container->exit_code, "signal",
                         container->signal, "uptime_ns", (json_int_t)container->exited_ns));
    supervise_ended(container);
}

void exit_publish_if_drained(struct container *container)
{
    if (container->state == CONTAINER_RUNNING && container->ended && !output_is_open(container) &&
        output_is_flushed()) {
        exit_publish(container);
    }
}

void exit_publish_all_drained(void)
{
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        exit_publish_if_drained(at);
    }
}

static void on_drain_limit(struct timer *timer)
{
    exit_publish(container_of(timer, struct container, drain));
}

static void end(struct container *container, int status)
{
    /* exec may have gone well a moment ago: answer that first. */
    start_settle(container);
    container->pid = 0;
    if (container->state != CONTAINER_RUNNING) {
        return;
    }
    container->ended = true;
    supervise_reaped(container);
    container->exited_ns = monotonic_ns();
    container->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    container->exit_code = process_exit_code(status);
    container->drain.on_due = on_drain_limit;
    timer_set(&container->drain, DRAIN_LIMIT_NS);
    exit_publish_if_drained(container);
}

static void on_children(struct watch *watch, uint32_t events)
{
    struct signalfd_siginfo information;
    int status;
    pid_t pid;

    (void)events;
    while (read(watch->fd, &information, sizeof(information)) > 0) {
    }
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        struct container *container = container_of_pid(pid);
        if (container != NULL) {
            end(container, status);
        } else {
            process_ended(pid, status);
        }
    }
}

int exit_init(void)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    children.fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
    children.on_ready = on_children;
    return children.fd < 0 ? -1 : loop_add(&children, EPOLLIN);
}
