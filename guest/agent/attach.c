#include "attach.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "output.h"
#include "reply.h"
#include "request.h"
#include "stream.h"
#include "terminal.h"

#define PATIENCE_NS 1000000000u
#define NOTICE_MAX 96

struct attachment {
    struct stream stream;
    struct container *container;
    bool input; /* it may write to the container */
    bool stuck; /* the host has taken nothing for too long */
    uint64_t lost; /* bytes of output since */
    struct timer limit;
    struct attachment *next;
};

static struct attachment *attachments;

static struct attachment *next_of(struct attachment *at, const struct container *container)
{
    while (at != NULL && at->container != container) {
        at = at->next;
    }
    return at;
}

static void on_limit(struct timer *timer)
{
    struct attachment *attachment = container_of(timer, struct attachment, limit);

    attachment->stuck = true;
    output_resume(attachment->container);
}

size_t attach_room(const struct container *container)
{
    size_t least = SIZE_MAX;

    for (struct attachment *at = next_of(attachments, container); at != NULL;
         at = next_of(at->next, container)) {
        size_t room = at->stuck ? SIZE_MAX : stream_room(&at->stream);
        if (room == 0 && at->limit.due_ns == 0) {
            at->limit.on_due = on_limit;
            timer_set(&at->limit, PATIENCE_NS);
        }
        least = room < least ? room : least;
    }
    return least;
}

void attach_send(const struct container *container, unsigned int channel, const char *bytes,
                 size_t count)
{
    for (struct attachment *at = next_of(attachments, container); at != NULL;
         at = next_of(at->next, container)) {
        if (at->stuck) {
            at->lost += count;
        } else {
            stream_send(&at->stream, channel, bytes, count);
        }
    }
}

static void tell_of_loss(struct attachment *attachment)
{
    char notice[NOTICE_MAX];
    int length = snprintf(notice, sizeof(notice),
                          "\r\n[nova-hyper: %llu bytes of output are missing here]\r\n",
                          (unsigned long long)attachment->lost);

    if (attachment->lost > 0 && stream_room(&attachment->stream) >= (size_t)length) {
        attachment->lost = 0;
        stream_send(&attachment->stream, attachment->container->tty ? 0 : 1, notice,
                    (size_t)length);
    }
}

static void on_room(struct stream *stream)
{
    struct attachment *attachment = container_of(stream, struct attachment, stream);

    if (stream_room(stream) < NOTICE_MAX) {
        return; /* not enough for the news of what is missing */
    }
    timer_cancel(&attachment->limit);
    attachment->stuck = false;
    tell_of_loss(attachment);
    output_resume(attachment->container);
}

static void detach(struct attachment *attachment, const struct stream_result *result)
{
    struct container *container = attachment->container;

    for (struct attachment **link = &attachments; *link != NULL; link = &(*link)->next) {
        if (*link == attachment) {
            *link = attachment->next;
            break;
        }
    }
    timer_cancel(&attachment->limit);
    tell_of_loss(attachment);
    stream_finish(&attachment->stream, result);
    free(attachment);
    output_resume(container);
}

static void on_close(struct stream *stream)
{
    detach(container_of(stream, struct attachment, stream), &(struct stream_result){0});
}

static void on_source_end(struct stream *stream)
{
    (void)stream; /* it has none */
}

static void close_input(struct container *container)
{
    if (container->input_fd >= 0) {
        close(container->input_fd);
        container->input_fd = -1;
    }
}

static void on_input_end(struct stream *stream)
{
    struct attachment *attachment = container_of(stream, struct attachment, stream);
    struct container *container = attachment->container;

    /* A terminal has no end of input to give: programs hear of Ctrl-D, which the host sends. */
    if (!attachment->input || container->tty) {
        return;
    }
    input_end(&stream->input);
    close_input(container);
}

static int resize(struct stream *stream, const struct winsize *size, struct failure *why)
{
    struct container *container = container_of(stream, struct attachment, stream)->container;

    if (!container->tty) {
        return failure_set(why, "state", "container \"%s\" has no terminal", container->name);
    }
    container->size = *size;
    if (container->input_fd >= 0) {
        terminal_resize(container->input_fd, size);
    }
    return 0;
}

static int send_signal(struct stream *stream, int number, struct failure *why)
{
    const struct container *container = container_of(stream, struct attachment, stream)->container;

    if (container->state != CONTAINER_RUNNING || container->pid == 0) {
        return failure_set(why, "state", "container \"%s\" does not run", container->name);
    }
    kill(container->pid, number);
    return 0;
}

static void open_input(struct attachment *attachment)
{
    struct input *input = &attachment->stream.input;

    if (attachment->input && input->watch.fd < 0 && attachment->container->input_fd >= 0) {
        bool ended = input->ended;
        input_open(input, fcntl(attachment->container->input_fd, F_DUPFD_CLOEXEC, 3));
        if (ended) {
            close_input(attachment->container);
        }
    }
}

void attach_begin(struct container *container)
{
    for (struct attachment *at = next_of(attachments, container); at != NULL;
         at = next_of(at->next, container)) {
        open_input(at);
    }
}

void attach_end(struct container *container)
{
    const struct stream_result result = {
        .exited = true, .exit_code = container->exit_code, .signal = container->signal};

    for (struct attachment *at = next_of(attachments, container), *next; at != NULL; at = next) {
        next = next_of(at->next, container);
        detach(at, &result);
    }
    close_input(container);
}

enum outcome container_attach(uint32_t id, const json_t *request, json_t **fields,
                              struct failure *why)
{
    struct container *container = container_named(request, why);
    bool input = json_is_true(json_object_get(request, "stdin"));
    uint32_t stream;

    (void)id;
    if (container == NULL || stream_id(request, &stream, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (container->state == CONTAINER_EXITED) {
        failure_set(why, "state", "container \"%s\" has already exited", container->name);
        return OUTCOME_FAILED;
    }
    if (input && !container->has_input) {
        failure_set(why, "state", "container \"%s\" was made without standard input",
                    container->name);
        return OUTCOME_FAILED;
    }
    struct attachment *attachment = calloc(1, sizeof(*attachment));
    if (attachment == NULL) {
        failure_set(why, "internal", "the agent has no memory left");
        return OUTCOME_FAILED;
    }
    attachment->container = container;
    attachment->input = input;
    attachment->stream.on_close = on_close;
    attachment->stream.on_source_end = on_source_end;
    attachment->stream.on_input_end = on_input_end;
    attachment->stream.on_room = on_room;
    attachment->stream.resize = resize;
    attachment->stream.signal = send_signal;
    stream_open(&attachment->stream, stream);
    if (input) {
        input_hold(&attachment->stream.input); /* it may not have been started yet */
    }
    open_input(attachment);
    attachment->next = attachments;
    attachments = attachment;
    *fields = json_pack("{s:b}", "tty", container->tty ? 1 : 0);
    return OUTCOME_DONE;
}
