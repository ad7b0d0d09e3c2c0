#include "oom.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cgroup.h"

#define COUNTER "\noom_group_kill "

static uint64_t count_of(int fd)
{
    char text[512];
    ssize_t length = pread(fd, text, sizeof(text) - 1, 0);

    if (length <= 0) {
        return 0;
    }
    text[length] = 0;
    const char *at = strstr(text, COUNTER);
    return at == NULL ? 0 : strtoull(at + strlen(COUNTER), NULL, 10);
}

static void on_event(struct watch *watch, uint32_t events)
{
    struct container *container = container_of(watch, struct container, oom);

    (void)events;
    if (count_of(watch->fd) > container->oom_count) {
        /* A process may have exempted itself; what is left has lost its others. */
        cgroup_kill(container->name);
    }
}

void oom_begin(struct container *container)
{
    oom_end(container);
    container->oom.fd = cgroup_open(container->name, "memory.events.local", O_RDONLY);
    if (container->oom.fd < 0) {
        return;
    }
    container->oom_count = count_of(container->oom.fd);
    container->oom.on_ready = on_event;
    loop_add(&container->oom, EPOLLPRI);
}

bool oom_end(struct container *container)
{
    if (container->oom.fd < 0) {
        return false;
    }
    bool happened = count_of(container->oom.fd) > container->oom_count;
    loop_remove(&container->oom);
    close(container->oom.fd);
    container->oom.fd = -1;
    return happened;
}
