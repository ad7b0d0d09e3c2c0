#include "output.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "console.h"
#include "exit.h"
#include "reply.h"

#define CHUNK 4096

static void first_byte(struct container *container)
{
    container->output_ns = monotonic_ns();
    event_send(json_pack("{s:s, s:s, s:I}", "event", "container.output", "name", container->name,
                         "uptime_ns", (json_int_t)container->output_ns));
}

static void pause_output(struct container *container)
{
    /* Not just with an empty mask: a hang-up would be reported again and again. */
    loop_remove(&container->output);
    container->output_paused = true;
}

static void on_output(struct watch *watch, uint32_t events)
{
    struct container *container = container_of(watch, struct container, output);
    char bytes[CHUNK];
    size_t room = console_room();

    (void)events;
    if (room == 0) {
        pause_output(container);
        return;
    }
    ssize_t count = read(watch->fd, bytes, room < CHUNK ? room : CHUNK);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0) {
        output_close(container);
        exit_publish_if_drained(container);
        return;
    }
    if (container->output_ns == 0) {
        first_byte(container);
    }
    console_append(bytes, (size_t)count);
}

int output_begin(struct container *container, int fd)
{
    container->output.fd = fd;
    container->output.on_ready = on_output;
    container->output_paused = false;
    return loop_add(&container->output, EPOLLIN);
}

void output_close(struct container *container)
{
    if (container->output.fd < 0) {
        return;
    }
    if (!container->output_paused) {
        loop_remove(&container->output);
    }
    close(container->output.fd);
    container->output.fd = -1;
    container->output_paused = false;
}

void output_resume_all(void)
{
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        if (at->output_paused) {
            at->output_paused = false;
            loop_add(&at->output, EPOLLIN);
        }
    }
}
