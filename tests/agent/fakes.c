#include "fakes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "channel.h"
#include "check.h"
#include "copy.h"
#include "disk.h"
#include "enter.h"
#include "grow.h"
#include "launch.h"
#include "network.h"
#include "overlay.h"
#include "podfiles.h"
#include "program.h"
#include "request.h"
#include "rootfs.h"
#include "store.h"
#include "stream.h"
#include "terminal.h"
#include "transfer.h"

struct fakes fakes = {.report_fd = -1, .output_fd = -1, .error_fd = -1, .room = SIZE_MAX};

void fakes_reset(void)
{
    json_decref(fakes.answer);
    json_decref(fakes.event);
    memset(&fakes, 0, sizeof(fakes));
    fakes.report_fd = fakes.output_fd = fakes.error_fd = -1;
    fakes.room = SIZE_MAX;
}

/* The channel: whatever is sent must be JSON and short enough, or of a stream. */

static void note_object(enum frame_type type, uint32_t id, const char *payload, size_t length)
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
        fakes.events++;
        fakes.finished +=
            strcmp(json_string_value(json_object_get(object, "event")), "pod.finished") == 0;
    }
}

void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length)
{
    note_object(type, id, payload, length);
}

void channel_send_surely(enum frame_type type, uint8_t flags, uint32_t id, const char *payload,
                         size_t length)
{
    unsigned int channel = flags & FRAME_CHANNEL;

    switch (type) {
    case FRAME_DATA:
        CHECK(channel < 2 && !fakes.data_ended[channel] && length <= FRAME_MAX_DATA);
        CHECK(fakes.data_size[channel] + length <= sizeof(fakes.data[channel]));
        memcpy(fakes.data[channel] + fakes.data_size[channel], payload, length);
        fakes.data_size[channel] += length;
        fakes.data_ended[channel] = (flags & FRAME_END) != 0;
        break;
    case FRAME_WINDOW:
        CHECK(flags == 0 && length == FRAME_WINDOW_SIZE);
        fakes.granted += frame_read_be32((const uint8_t *)payload);
        break;
    default:
        CHECK(flags == 0);
        note_object(type, id, payload, length);
        break;
    }
}

size_t channel_room(void)
{
    return fakes.room < FRAME_MAX_DATA ? fakes.room : FRAME_MAX_DATA;
}

int overlay_mount(const struct overlay *overlay, const char *name, const char *root, char *upper,
                  size_t upper_size, struct failure *why)
{
    CHECK(overlay->layer_count > 0 && overlay->layer_count <= OVERLAY_MAX_LAYERS);
    for (size_t i = 0; i < overlay->layer_count; i++) {
        CHECK(strchr(overlay->layers[i], '/') == NULL);
    }
    CHECK(strchr(name, '/') == NULL && root[0] == '/');
    snprintf(upper, upper_size, "/nowhere/upper");
    fakes.mounts++;
    return fakes.mount_fails ? failure_set(why, "disk", "no mount for %s", name) : 0;
}

int disk_find(const char *serial, char *device, size_t size, struct failure *why)
{
    CHECK(strchr(serial, '/') == NULL && size > 0);
    (void)device;
    return failure_set(why, "disk", "there is no disk with serial number \"%s\"", serial);
}

int grow_to_device(const char *device, const char *directory, struct failure *why)
{
    (void)device;
    (void)directory;
    (void)why;
    return 0;
}

void overlay_unmount(const struct overlay *overlay, const char *name, const char *root)
{
    (void)overlay;
    (void)name;
    (void)root;
    fakes.mounts--;
}

int store_mount_shared(const struct upper *upper, char *path, size_t size, struct failure *why)
{
    if (upper->serial == NULL && upper->tmpfs == NULL) {
        return failure_set(why, "invalid", "a tmpfs that is shared must have a name");
    }
    snprintf(path, size, "%s", fakes.store);
    return 0;
}

const char *store_of_pod(void)
{
    return fakes.store[0] == 0 ? NULL : fakes.store;
}

int cgroup_open(const char *name, const char *file, int flags)
{
    CHECK(strchr(name, '/') == NULL && strchr(file, '/') == NULL);
    (void)flags;
    if (fakes.memory_events_fd > 0 && strcmp(file, "memory.events.local") == 0) {
        return fcntl(fakes.memory_events_fd, F_DUPFD_CLOEXEC, 0);
    }
    errno = ENOENT;
    return -1;
}

void cgroup_kill(const char *name)
{
    CHECK(container_find(name) != NULL);
}

pid_t launch(const struct container *container, const struct stdio *stdio, int report_fd,
             struct failure *why)
{
    static pid_t next = 1000;

    CHECK(container->argv[0] != NULL);
    if (fakes.launch_fails) {
        return failure_set(why, "internal", "no process");
    }
    if (fakes.report_fd >= 0) {
        close(fakes.report_fd);
        close(fakes.output_fd);
        close(fakes.error_fd);
    }
    fakes.report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, 0);
    fakes.output_fd = fcntl(stdio->out, F_DUPFD_CLOEXEC, 0);
    fakes.error_fd = fcntl(stdio->err, F_DUPFD_CLOEXEC, 0);
    return next++;
}

/* A real process, but of this machine: what a stream does to it is seen. */

#define MAX_ENTERED 256

static pid_t entered[MAX_ENTERED];
static size_t entered_count;

pid_t enter_container(const struct container *container, int report_fd, enter_body *body,
                      void *context, struct failure *why)
{
    if (container->state != CONTAINER_RUNNING) {
        return failure_set(why, "state", "container \"%s\" does not run", container->name);
    }
    fakes.entered_pid = fork();
    if (fakes.entered_pid == 0) {
        struct failure child = {.code = "", .message = ""};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setsid();
        body(container, context, &child);
        (void)!write(report_fd, &child, sizeof(child));
        _exit(127);
    }
    entered[entered_count++ % MAX_ENTERED] = fakes.entered_pid;
    return fakes.entered_pid;
}

/* The same, but it does not touch the machine's files: what it would do is known by its exit code. */
pid_t enter_tree(const struct container *container, int report_fd, enter_body *body, void *context,
                 struct failure *why)
{
    (void)body;
    (void)context;
    (void)why;
    CHECK(container->name[0] != 0);
    fakes.entered_pid = fork();
    if (fakes.entered_pid == 0) {
        if (fakes.tree_exit == 127) {
            struct failure child;
            failure_set(&child, "invalid", "what is there cannot be used");
            (void)!write(report_fd, &child, sizeof(child));
        }
        _exit(fakes.tree_exit);
    }
    return fakes.entered_pid;
}

enum outcome transfer_start(uint32_t id, const json_t *request, const struct transfer_job *job,
                            struct failure *why)
{
    uint32_t stream;

    (void)id;
    CHECK(job->container != NULL && job->path[0] == '/');
    return stream_id(request, &stream, why) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}

int program_run(const struct container *container, const struct program *program,
                const struct stdio *stdio, struct failure *why)
{
    const int wanted[] = {stdio->in, stdio->out, stdio->err};

    (void)container;
    for (int fd = 0; fd < 3; fd++) {
        if (wanted[fd] >= 0) {
            dup2(wanted[fd], fd);
        }
    }
    execvp(program->argv[0], program->argv);
    return failure_set(why, "exec", "command \"%s\" does not exist", program->argv[0]);
}

int terminal_receive(int socket)
{
    (void)socket;
    return -1;
}

int terminal_resize(int master, const struct winsize *size)
{
    (void)master;
    (void)size;
    return -1;
}

int podfiles_prepare(void)
{
    return 0;
}

int podfiles_write(const char *hostname, const char *address, const json_t *hosts,
                   const json_t *nameservers, const json_t *search)
{
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        CHECK(json_is_string(json_object_get(json_array_get(hosts, i), "ip")));
        CHECK(json_array_size(json_object_get(json_array_get(hosts, i), "names")) > 0);
    }
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
    /* A process, or the group that it leads; 0 and -1 would be the agent itself, and everybody. */
    CHECK((pid >= 1000 || pid <= -1000) && number > 0 && number < NSIG);
    fakes.killed_pid = pid;
    fakes.killed_signal = number;
    for (size_t i = 0; i < MAX_ENTERED; i++) {
        if (entered[i] == pid) {
            return (int)syscall(SYS_kill, pid, number);
        }
    }
    return 0;
}

/* What only the processes of containers do: no request may. */

int rootfs_attach(int tree, const char *target)
{
    (void)tree;
    (void)target;
    abort();
}

int rootfs_make_file(const char *path)
{
    (void)path;
    abort();
}

int copy_when_empty(const char *source, int target_fd, struct failure *why)
{
    (void)source;
    (void)target_fd;
    (void)why;
    abort();
}

/* What is below /run is not made; a test's own directory is. */

static bool is_ours(const char *path)
{
    return strncmp(path, "/run/", 5) == 0;
}

int mkdir(const char *path, mode_t mode)
{
    return is_ours(path) ? 0 : (int)syscall(SYS_mkdir, path, mode);
}

int chown(const char *path, uid_t owner, gid_t group)
{
    return is_ours(path) ? 0 : (int)syscall(SYS_chown, path, owner, group);
}

int chmod(const char *path, mode_t mode)
{
    return is_ours(path) ? 0 : (int)syscall(SYS_chmod, path, mode);
}

int mount(const char *source, const char *target, const char *type, unsigned long flags,
          const void *options)
{
    CHECK(source != NULL && type != NULL && options != NULL && is_ours(target));
    CHECK((flags & MS_BIND) == 0);
    return 0;
}

int umount2(const char *target, int flags)
{
    CHECK(is_ours(target) && flags == MNT_DETACH);
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
    va_list arguments;

    if (request != FIONREAD) {
        return 0;
    }
    va_start(arguments, request);
    int result = (int)syscall(SYS_ioctl, fd, request, va_arg(arguments, void *));
    va_end(arguments);
    return result;
}
