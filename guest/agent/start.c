#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "attach.h"
#include "launch.h"
#include "output.h"
#include "reply.h"
#include "supervise.h"

void start_answer(const struct container *container, uint32_t id)
{
    reply_ok(id, json_pack("{s:i, s:I}", "pid", (int)container->pid, "uptime_ns",
                           (json_int_t)container->started_ns));
}

static void close_launch(struct container *container)
{
    loop_remove(&container->launch);
    close(container->launch.fd);
    container->launch.fd = -1;
}

static void connect_pipes(struct container *container)
{
    pipes_take_terminal(&container->pipes);
    container->input_fd = pipes_take(&container->pipes, 0);
    for (unsigned int i = 0; i < OUTPUT_COUNT; i++) {
        int fd = pipes_take(&container->pipes, (int)i + 1);
        if (fd >= 0) {
            output_begin(container, i, fd);
        }
    }
    attach_begin(container);
}

void start_settle(struct container *container)
{
    struct failure why;

    if (container->launch.fd < 0) {
        return;
    }
    ssize_t count = read(container->launch.fd, &why, sizeof(why));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    close_launch(container);
    if (count == 0) {
        connect_pipes(container);
        container->state = CONTAINER_RUNNING;
        container->started_ns = monotonic_ns();
        if (container->start_asked) {
            start_answer(container, container->start_id);
        }
        supervise_started(container);
        return;
    }
    why.code[sizeof(why.code) - 1] = 0;
    why.message[sizeof(why.message) - 1] = 0;
    pipes_close(&container->pipes);
    container->state = CONTAINER_CREATED;
    container->pid = 0;
    if (container->start_asked) {
        reply_failure(container->start_id, &why);
    }
    supervise_not_started(container, &why);
}

static void on_launch(struct watch *watch, uint32_t events)
{
    (void)events;
    start_settle(container_of(watch, struct container, launch));
}

int start_container(struct container *container, struct failure *why)
{
    struct pipes pipes;
    int report[2];

    if (pipe2(report, O_CLOEXEC) < 0) {
        return failure_set(why, "internal", "no pipe for the container: %s", strerror(errno));
    }
    const struct winsize *size = container->tty ? &container->size : NULL;
    pid_t pid = -1;
    if (pipes_make(&pipes, size, container->has_input, why) == 0) {
        pid = launch(container, &pipes.theirs, report[1], why);
    }
    pipes_close_theirs(&pipes);
    close(report[1]);
    if (pid < 0) {
        pipes_close(&pipes);
        close(report[0]);
        return -1;
    }
    container->pid = pid;
    container->ended = false;
    container->started_ns = container->output_ns = container->exited_ns = 0;
    container->state = CONTAINER_STARTING;
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    container->launch.fd = report[0];
    container->launch.on_ready = on_launch;
    loop_add(&container->launch, EPOLLIN);
    container->pipes = pipes;
    return 0;
}
