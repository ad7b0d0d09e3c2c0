#include "output.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "attach.h"
#include "console.h"
#include "container.h"
#include "exit.h"
#include "reply.h"

#define CHUNK 4096

static const char *const names[OUTPUT_COUNT] = {"stdout", "stderr"};

static void first_byte(struct container *container)
{
    container->output_ns = monotonic_ns();
    event_send(json_pack("{s:s, s:s, s:I}", "event", "container.output", "name", container->name,
                         "uptime_ns", (json_int_t)container->output_ns));
}

static void pause_output(struct output *output)
{
    /* Not just with an empty mask: a hang-up would be reported again and again. */
    loop_remove(&output->watch);
    output->paused = true;
}

static void close_output(struct output *output)
{
    if (output->watch.fd < 0) {
        return;
    }
    if (!output->paused) {
        loop_remove(&output->watch);
    }
    close(output->watch.fd);
    output->watch.fd = -1;
    output->paused = false;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void on_output(struct watch *watch, uint32_t events)
{
    struct output *output = container_of(watch, struct output, watch);
    struct container *container = output->container;
    char bytes[CHUNK];
    size_t room = smaller(smaller(console_room(), log_room(&output->line)),
                          smaller(attach_room(container), CHUNK));

    (void)events;
    if (room == 0) {
        pause_output(output);
        return;
    }
    ssize_t count = read(watch->fd, bytes, room);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0) { /* EIO: nobody has the terminal open any more */
        close_output(output);
        log_end(&output->line);
        exit_publish_if_drained(container);
        return;
    }
    if (container->output_ns == 0) {
        first_byte(container);
    }
    console_append(bytes, (size_t)count);
    log_append(&output->line, bytes, (size_t)count);
    attach_send(container, (unsigned int)(output - container->outputs), bytes, (size_t)count);
}

void output_init(struct container *container)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        struct output *output = &container->outputs[i];
        output->watch.fd = -1;
        output->watch.on_ready = on_output;
        output->container = container;
        output->line.container = container->name;
        output->line.stream = names[i];
    }
}

void output_begin(struct container *container, unsigned int index, int fd)
{
    struct output *output = &container->outputs[index];

    log_reset(&output->line);
    output->watch.fd = fd;
    output->paused = false;
    loop_add(&output->watch, EPOLLIN);
}

void output_close(struct container *container)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        close_output(&container->outputs[i]);
        log_end(&container->outputs[i].line);
        log_reset(&container->outputs[i].line);
    }
}

bool output_is_open(const struct container *container)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        if (container->outputs[i].watch.fd >= 0 || !log_is_sent(&container->outputs[i].line)) {
            return true;
        }
    }
    return false;
}

bool output_is_flushed(void)
{
    return console_is_done() && log_is_done();
}

void output_resume(struct container *container)
{
    for (size_t i = 0; i < OUTPUT_COUNT; i++) {
        struct output *output = &container->outputs[i];
        log_resume(&output->line);
        if (output->paused) {
            output->paused = false;
            loop_add(&output->watch, EPOLLIN);
        }
    }
}

void output_resume_all(void)
{
    for (struct container *at = container_first(); at != NULL; at = at->next) {
        output_resume(at);
    }
}
