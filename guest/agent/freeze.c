#include "freeze.h"

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"

#define WAIT_MS 1000

static void set(const struct container *container, bool frozen)
{
    int fd = cgroup_open(container->name, "cgroup.freeze", O_WRONLY);

    if (fd >= 0) { /* one that was never started has nothing to stop */
        (void)!write(fd, frozen ? "1" : "0", 1);
        close(fd);
    }
}

void freeze_begin(struct container *container)
{
    if (container->freezes++ == 0) {
        set(container, true);
    }
}

void freeze_end(struct container *container)
{
    if (--container->freezes == 0) {
        set(container, false);
    }
}

void freeze_wait(const struct container *container)
{
    for (int waited = 0; waited < WAIT_MS; waited++) {
        char text[128];
        int fd = cgroup_open(container->name, "cgroup.events", O_RDONLY);
        if (fd < 0) {
            return;
        }
        ssize_t count = read(fd, text, sizeof(text) - 1);
        close(fd);
        text[count < 0 ? 0 : count] = 0;
        if (strstr(text, "frozen 1") != NULL || strstr(text, "populated 0") != NULL) {
            return;
        }
        usleep(1000);
    }
}
