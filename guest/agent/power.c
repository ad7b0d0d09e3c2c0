#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "channel.h"
#include "console.h"
#include "container.h"
#include "reply.h"
#include "request.h"

#define KILL_LIMIT_NS 2000000000u
#define ANSWER_LIMIT_MS 200

static bool busy(void)
{
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        if (at->pid > 0 || at->output.fd >= 0) {
            return true;
        }
    }
    return !console_is_empty();
}

/* Newest mounts first, so that an overlay goes before what it lies on. */
static void unmount_below(const char *directory)
{
    char *targets[1024];
    size_t count = 0;
    FILE *table = setmntent("/proc/self/mounts", "re");

    if (table == NULL) {
        return;
    }
    for (struct mntent *entry; count < 1024 && (entry = getmntent(table)) != NULL;) {
        if (strncmp(entry->mnt_dir, directory, strlen(directory)) == 0) {
            targets[count] = strdup(entry->mnt_dir);
            count += targets[count] != NULL;
        }
    }
    endmntent(table);
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
