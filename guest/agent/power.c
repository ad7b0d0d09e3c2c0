#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "channel.h"
#include "container.h"
#include "output.h"
#include "reply.h"
#include "request.h"
#include "supervise.h"

#define KILL_LIMIT_NS 2000000000u
#define ANSWER_LIMIT_MS 200

static bool busy(void)
{
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        if (at->pid > 0 || output_is_open(at)) {
            return true;
        }
    }
    return !output_is_flushed();
}

/* Newest mounts first, so that an overlay goes before what it lies on. */
static void unmount_below(const char *directory)
{
    char *targets[1024];
    size_t count = 0;
    FILE *table = fopen("/proc/self/mounts", "re");
    char *line = NULL;
    size_t size = 0;

    if (table == NULL) {
        return;
    }
    while (count < 1024 && getline(&line, &size, table) >= 0) {
        /* The second field; no path of the agent's has a blank in it. */
        char *rest = line;
        const char *target = strsep(&rest, " ") == NULL ? NULL : strsep(&rest, " ");
        if (target != NULL && strncmp(target, directory, strlen(directory)) == 0) {
            targets[count] = strdup(target);
            count += targets[count] != NULL;
        }
    }
    free(line);
    fclose(table);
    while (count > 0) {
        umount2(targets[--count], 0);
        free(targets[count]);
    }
}

enum outcome power_off(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    uint64_t limit = monotonic_ns() + KILL_LIMIT_NS;

    (void)request;
    (void)fields;
    (void)why;
    supervise_give_up();
    kill(-1, SIGKILL);
    while (busy() && monotonic_ns() < limit) {
        loop_step(10);
    }
    unmount_below("/run/");
    sync();
    reply_ok(id, NULL);
    channel_flush(ANSWER_LIMIT_MS);
    reboot(RB_POWER_OFF);
    return OUTCOME_LATER;
}
