#ifndef AGENT_MEMORY_H
#define AGENT_MEMORY_H

/* The guest's memory as /proc/meminfo gives it; zeros when unreadable. */
struct memory {
    long total_kib;
    long available_kib;
};

struct memory memory_read(void);

#endif
