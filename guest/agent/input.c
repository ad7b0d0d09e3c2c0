#include "input.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static void set_waiting(struct input *input, bool waiting)
{
    if (input->waiting != waiting) {
        input->waiting = waiting;
        if (waiting) {
            loop_add(&input->watch, EPOLLOUT);
        } else {
            loop_remove(&input->watch);
        }
    }
}

static void write_ring(struct input *input)
{
    while (input->count > 0) {
        size_t run = INPUT_SIZE - input->start;
        run = run < input->count ? run : input->count;
        ssize_t count = write(input->watch.fd, input->ring + input->start, run);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            set_waiting(input, true);
            return;
        }
        if (count < 0) {
            /* Nobody reads it any more: what comes is taken and thrown away. */
            input_close(input);
            return;
        }
        input->start = (input->start + (size_t)count) % INPUT_SIZE;
        input->count -= (size_t)count;
        input->taken += (size_t)count;
    }
    set_waiting(input, false);
    free(input->ring);
    input->ring = NULL;
    if (input->ended) {
        input_close(input);
    }
}

static void on_writable(struct watch *watch, uint32_t events)
{
    struct input *input = container_of(watch, struct input, watch);

    (void)events;
    write_ring(input);
    input->on_taken(input);
}

void input_init(struct input *input, void (*on_taken)(struct input *input))
{
    memset(input, 0, sizeof(*input));
    input->watch.fd = -1;
    input->watch.on_ready = on_writable;
    input->on_taken = on_taken;
}

void input_hold(struct input *input)
{
    input->held = true;
}

void input_open(struct input *input, int fd)
{
    input->held = false;
    input->watch.fd = fd;
    write_ring(input);
}

int input_add(struct input *input, const char *bytes, size_t count)
{
    if (count > INPUT_SIZE - input->count - input->taken) {
        return -1;
    }
    if (input->watch.fd < 0 && !input->held) {
        input->taken += count;
        return 0;
    }
    if (count == 0) {
        return 0;
    }
    if (input->ring == NULL) {
        input->ring = malloc(INPUT_SIZE);
        input->start = 0;
        if (input->ring == NULL) {
            return -1;
        }
    }
    size_t end = (input->start + input->count) % INPUT_SIZE;
    size_t run = INPUT_SIZE - end < count ? INPUT_SIZE - end : count;
    memcpy(input->ring + end, bytes, run);
    memcpy(input->ring, bytes + run, count - run);
    input->count += count;
    if (!input->waiting && !input->held) {
        write_ring(input);
    }
    return 0;
}

void input_end(struct input *input)
{
    input->ended = true;
    if (input->count == 0 && !input->held) {
        input_close(input);
    }
}

void input_close(struct input *input)
{
    input->held = false;
    if (input->watch.fd >= 0) {
        set_waiting(input, false);
        close(input->watch.fd);
        input->watch.fd = -1;
    }
    input->taken += input->count;
    input->count = 0;
    free(input->ring);
    input->ring = NULL;
}
