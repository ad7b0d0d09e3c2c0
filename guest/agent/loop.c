#include "loop.h"

#include <limits.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <time.h>

static int epoll_fd = -1;
static struct timer *timers;

uint64_t monotonic_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int loop_init(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return epoll_fd < 0 ? -1 : 0;
}

static int control(int operation, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    return epoll_ctl(epoll_fd, operation, watch->fd, &event);
}

int loop_add(struct watch *watch, uint32_t events)
{
    return control(EPOLL_CTL_ADD, watch, events);
}

int loop_change(struct watch *watch, uint32_t events)
{
    return control(EPOLL_CTL_MOD, watch, events);
}

void loop_remove(struct watch *watch)
{
    control(EPOLL_CTL_DEL, watch, 0);
}

void timer_cancel(struct timer *timer)
{
    for (struct timer **link = &timers; *link != NULL; link = &(*link)->next) {
        if (*link == timer) {
            *link = timer->next;
            break;
        }
    }
    timer->due_ns = 0;
    timer->next = NULL;
}

void timer_set(struct timer *timer, uint64_t delay_ns)
{
    timer_cancel(timer);
    timer->due_ns = monotonic_ns() + delay_ns;
    struct timer **link = &timers;
    while (*link != NULL && (*link)->due_ns <= timer->due_ns) {
        link = &(*link)->next;
    }
    timer->next = *link;
    *link = timer;
}

static int next_timeout_ms(int limit_ms)
{
    if (timers == NULL) {
        return limit_ms;
    }
    uint64_t now = monotonic_ns();
    uint64_t wait_ms = timers->due_ns <= now ? 0 : (timers->due_ns - now + 999999) / 1000000;
    if (limit_ms >= 0 && wait_ms > (uint64_t)limit_ms) {
        return limit_ms;
    }
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

void loop_step(int limit_ms)
{
    /* One event at a time: a callback may free the watch of the next one. */
    struct epoll_event event;

    if (epoll_wait(epoll_fd, &event, 1, next_timeout_ms(limit_ms)) == 1) {
        struct watch *watch = event.data.ptr;
        watch->on_ready(watch, event.events);
    }
    struct timer *first = timers;
    if (first != NULL && first->due_ns <= monotonic_ns()) {
        timer_cancel(first);
        first->on_due(first);
    }
}
