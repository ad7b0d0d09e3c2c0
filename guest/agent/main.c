#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "console.h"
#include "exit.h"
#include "file.h"
#include "log.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "stream.h"

static const struct {
    const char *type, *target;
    unsigned long flags;
    const char *options;
} mounts[] = {
    {"devtmpfs", "/dev", MS_NOSUID, NULL},
    {"proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL},
    {"tmpfs", "/run", MS_NOSUID | MS_NODEV, "mode=0755"},
};

static const struct {
    const char *path, *value;
} settings[] = {
    /* What container images expect of a container engine's network namespace. */
    {"/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"},
    {"/proc/sys/net/ipv4/ping_group_range", "0 2147483647"},
    /* When memory runs out, kill somebody: a guest without swap would read the pages of its
     * programs again and again instead, for minutes. */
    {"/sys/kernel/mm/lru_gen/min_ttl_ms", "1000"},
};

/* The end of the agent is the end of the guest: the panic that follows tells the host. */
static void die(const char *what)
{
    int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        dprintf(fd, "<0>nova-hyper agent: %s: %m\n", what);
    }
    _exit(1);
}

static void take_null(void)
{
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; null >= 0 && fd < 3; fd++) {
        dup2(null, fd);
    }
    if (null > 2) {
        close(null);
    }
}

static void on_output_drained(void)
{
    output_resume_all();
    exit_publish_all_drained();
}

static void dispatch(void *context, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_DATA:
        stream_take_data(frame);
        break;
    case FRAME_WINDOW:
        stream_take_window(frame);
        break;
    default:
        request_serve(context, frame->id, frame->payload, frame->length);
        break;
    }
}

int main(void)
{
    umask(022);
    for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
        mkdir(mounts[i].target, 0755);
        if (mount(mounts[i].type, mounts[i].target, mounts[i].type, mounts[i].flags,
                  mounts[i].options) < 0) {
            die(mounts[i].target);
        }
    }
    take_null();
    signal(SIGPIPE, SIG_IGN);
    /* Its own choice would wait for the kernel's entropy; only the host gives us objects. */
    json_object_seed(1);
    console_init(on_output_drained);
    log_init(on_output_drained);
    if (loop_init() < 0 || exit_init() < 0) {
        die("event loop");
    }
    if (channel_open(dispatch, stream_resume_all) < 0) {
        die("no agent port");
    }
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        (void)!file_write(settings[i].path, settings[i].value);
    }
    for (;;) {
        loop_step(-1);
    }
}
