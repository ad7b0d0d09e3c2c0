#ifndef AGENT_LOOP_H
#define AGENT_LOOP_H

#include <stdint.h>

/* A descriptor in the event loop; embed it in what it belongs to. */
struct watch {
    int fd;
    void (*on_ready)(struct watch *watch, uint32_t events);
};

/* A moment on the monotonic clock; due_ns is 0 while it is not set. */
struct timer {
    uint64_t due_ns;
    void (*on_due)(struct timer *timer);
    struct timer *next;
};

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

int loop_init(void);

/* *events* are epoll's. */
int loop_add(struct watch *watch, uint32_t events);
int loop_change(struct watch *watch, uint32_t events);
void loop_remove(struct watch *watch);

void timer_set(struct timer *timer, uint64_t delay_ns);
void timer_cancel(struct timer *timer);

/* Serve one event or timer, waiting at most *limit_ms* (-1: without limit). */
void loop_step(int limit_ms);

uint64_t monotonic_ns(void);

#endif
