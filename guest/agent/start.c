#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "launch.h"
#include "output.h"
#include "reply.h"

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
        container->state = CONTAINER_RUNNING;
        container->started_ns = monotonic_ns();
        start_answer(container, container->start_id);
        return;
    }
    why.code[sizeof(why.code) - 1] = 0;
    why.message[sizeof(why.message) - 1] = 0;
    output_close(container);
    container->state = CONTAINER_CREATED;
    container->pid = 0;
    reply_failure(container->start_id, &why);
}

static void on_launch(struct watch *watch, uint32_t events)
{
    (void)events;
    start_settle(container_of(watch, struct container, launch));
}

int start_container(struct container *container, uint32_t id, struct failure *why)
{
    int report[2], output[2];

    if (pipe2(report, O_CLOEXEC) < 0) {
        return failure_set(why, "internal", "no pipe for the container: %s", strerror(errno));
    }
    if (pipe2(output, O_CLOEXEC) < 0) {
        close(report[0]);
        close(report[1]);
        return failure_set(why, "internal", "no pipe for the container: %s", strerror(errno));
    }
    /* Only the agent's ends do not block: a program does not expect that of its stdout. */
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    fcntl(output[0], F_SETFL, O_NONBLOCK);
    pid_t pid = launch(container, output[1], report[1], why);
    close(output[1]);
    close(report[1]);
    if (pid < 0) {
        close(output[0]);
        close(report[0]);
        return -1;
    }
    container->pid = pid;
    container->state = CONTAINER_STARTING;
    container->start_id = id;
    container->launch.fd = report[0];
    container->launch.on_ready = on_launch;
    loop_add(&container->launch, EPOLLIN);
    output_begin(container, output[0]);
    return 0;
}
