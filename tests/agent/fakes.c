#include "fakes.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "check.h"
#include "launch.h"
#include "network.h"
#include "overlay.h"
#include "podfiles.h"
#include "request.h"

struct fakes fakes = {.report_fd = -1, .output_fd = -1};

void fakes_reset(void)
{
    json_decref(fakes.answer);
    json_decref(fakes.event);
    memset(&fakes, 0, sizeof(fakes));
    fakes.report_fd = fakes.output_fd = -1;
}

/* The channel: whatever is sent must be JSON and short enough. */

void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length)
{
    json_t *object = json_loadb(payload, length, JSON_REJECT_DUPLICATES, NULL);

    CHECK(json_is_object(object));
    CHECK(length <= FRAME_MAX_OUT);
    if (type == FRAME_RESPONSE) {
        json_decref(fakes.answer);
        fakes.answer = object;
        fakes.answer_id = id;
        fakes.answers++;
    } else {
        json_decref(fakes.event);
        fakes.event = object;
    }
}

int overlay_mount(const struct overlay *overlay, const char *name, const char *root,
                  struct failure *why)
{
    CHECK(overlay->layer_count > 0 && overlay->layer_count <= OVERLAY_MAX_LAYERS);
    for (size_t i = 0; i < overlay->layer_count; i++) {
        CHECK(strchr(overlay->layers[i], '/') == NULL);
    }
    CHECK(strchr(name, '/') == NULL && root[0] == '/');
    fakes.mounts++;
    return fakes.mount_fails ? failure_set(why, "disk", "no mount for %s", name) : 0;
}

pid_t launch(const struct container *container, int output_fd, int report_fd, struct failure *why)
{
    static pid_t next = 1000;

    CHECK(container->argv[0] != NULL);
    if (fakes.launch_fails) {
        return failure_set(why, "internal", "no process");
    }
    if (fakes.report_fd >= 0) {
        close(fakes.report_fd);
        close(fakes.output_fd);
    }
    fakes.report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, 0);
    fakes.output_fd = fcntl(output_fd, F_DUPFD_CLOEXEC, 0);
    return next++;
}

int podfiles_prepare(void)
{
    return 0;
}

int podfiles_write(const char *hostname, const char *address, const json_t *nameservers,
                   const json_t *search)
{
    (void)address;
    (void)nameservers;
    (void)search;
    snprintf(fakes.hostname, sizeof(fakes.hostname), "%s", hostname);
    return 0;
}

int network_configure(const json_t *nics, struct failure *why)
{
    (void)nics;
    (void)why;
    return 0;
}

enum outcome power_off(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    (void)id;
    (void)request;
    (void)fields;
    (void)why;
    return OUTCOME_DONE;
}

/* The calls that would change the machine. */

int kill(pid_t pid, int number)
{
    CHECK(pid >= 1000 && number > 0 && number < NSIG);
    fakes.killed_pid = pid;
    fakes.killed_signal = number;
    return 0;
}

int clock_settime(clockid_t clock, const struct timespec *now)
{
    CHECK(clock == CLOCK_REALTIME && now->tv_nsec >= 0 && now->tv_nsec < 1000000000);
    fakes.time_ns = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec;
    return 0;
}

int sethostname(const char *name, size_t length)
{
    CHECK(length <= 64 && memchr(name, 0, length) == NULL);
    return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
    (void)fd;
    (void)request;
    return 0;
}
