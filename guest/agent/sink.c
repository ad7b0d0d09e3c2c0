#include "sink.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define PATIENCE_NS 1000000000u

static void on_limit(struct timer *timer)
{
    struct sink *sink = container_of(timer, struct sink, limit);

    sink->stuck = true;
    sink->on_drained();
}

static void set_waiting(struct sink *sink, bool waiting, bool progress)
{
    if (waiting && (progress || !sink->waiting) && !sink->stuck) {
        sink->limit.on_due = on_limit;
        timer_set(&sink->limit, PATIENCE_NS);
    }
    if (waiting == sink->waiting) {
        return;
    }
    sink->waiting = waiting;
    if (waiting) {
        loop_add(&sink->device, EPOLLOUT);
    } else {
        timer_cancel(&sink->limit);
        loop_remove(&sink->device);
    }
}

static void write_buffer(struct sink *sink)
{
    bool progress = false;

    while (sink->start < sink->end) {
        size_t size = sink->end - sink->start;
        ssize_t count = sink->device.fd < 0
                            ? (ssize_t)size
                            : write(sink->device.fd, sink->buffer + sink->start, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            break;
        }
        progress = true;
        sink->start = count < 0 ? sink->end : sink->start + (size_t)count;
    }
    if (sink->start == sink->end) {
        sink->start = sink->end = 0;
    }
    set_waiting(sink, sink->start < sink->end, progress);
}

static void on_device(struct watch *watch, uint32_t events)
{
    struct sink *sink = container_of(watch, struct sink, device);

    (void)events;
    write_buffer(sink);
    if (sink->start == sink->end) {
        sink->stuck = false;
        sink->on_drained();
    }
}

void sink_init(struct sink *sink, char *buffer, size_t size, void (*on_drained)(void))
{
    memset(sink, 0, sizeof(*sink));
    sink->device.fd = -1;
    sink->device.on_ready = on_device;
    sink->buffer = buffer;
    sink->size = size;
    sink->on_drained = on_drained;
}

void sink_open(struct sink *sink, int fd)
{
    sink->device.fd = fd;
}

size_t sink_room(const struct sink *sink)
{
    return sink->size - sink->end;
}

void sink_append(struct sink *sink, const char *bytes, size_t count)
{
    memcpy(sink->buffer + sink->end, bytes, count);
    sink->end += count;
    if (!sink->waiting) {
        write_buffer(sink);
    }
}

bool sink_is_done(const struct sink *sink)
{
    return sink->start == sink->end || sink->stuck;
}
