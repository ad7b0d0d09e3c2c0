#include "enter.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "file.h"
#include "program.h"

#define CGROUPS "/sys/fs/cgroup"

static int not_running(const struct container *container, struct failure *why)
{
    return failure_set(why, "state", "container \"%s\" does not run", container->name);
}

/* The cgroup that the container's own processes are in: a container may have made groups below the
 * one that it was given, and that one takes no processes then. */
static int open_cgroup(const struct container *container, struct failure *why)
{
    char file[64];
    char line[PATH_MAX];
    char path[PATH_MAX + 32];

    snprintf(file, sizeof(file), "/proc/%d/cgroup", (int)container->pid);
    if (file_read_line(file, line, sizeof(line)) < 0 || strncmp(line, "0::/", 4) != 0) {
        return not_running(container, why);
    }
    snprintf(path, sizeof(path), CGROUPS "%s", line + 3);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : not_running(container, why);
}

static pid_t spawn(const struct container *container, int pidfd, int cgroup_fd,
                   struct failure *why)
{
    struct clone_args arguments = {
        .flags = CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup_fd,
    };
    int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

    /* The PID namespace is that of the next children only, so that the agent can change it back. */
    if (own < 0 || setns(pidfd, CLONE_NEWPID) < 0) {
        if (own >= 0) {
            close(own);
        }
        return not_running(container, why);
    }
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
    int error = errno;
    if (pid == 0) {
        return 0;
    }
    (void)!setns(own, CLONE_NEWPID);
    close(own);
    if (pid < 0 && (error == ESRCH || error == ENOMEM)) {
        return not_running(container, why); /* its first process is just ending */
    }
    return pid < 0 ? failure_set(why, "internal", "no process for the container: %s",
                                 strerror(error))
                   : pid;
}

pid_t enter_container(const struct container *container, int report_fd, enter_body *body,
                      void *context, struct failure *why)
{
    if (container->state != CONTAINER_RUNNING || container->pid == 0) {
        return not_running(container, why);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, container->pid, 0);
    int cgroup_fd = pidfd < 0 ? not_running(container, why) : open_cgroup(container, why);
    pid_t pid = cgroup_fd < 0 ? -1 : spawn(container, pidfd, cgroup_fd, why);
    if (pid == 0) {
        struct failure child = {.code = "", .message = ""};
        program_begin();
        if (setns(pidfd, CLONE_NEWNS | CLONE_NEWCGROUP) < 0) {
            not_running(container, &child);
        } else {
            umask(022);
            body(container, context, &child);
        }
        /* One write below PIPE_BUF: it arrives whole or not at all. */
        (void)!write(report_fd, &child, sizeof(child));
        _exit(127);
    }
    if (cgroup_fd >= 0) {
        close(cgroup_fd);
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    return pid;
}

int enter_files(const struct container *container, int pidfd, struct failure *why)
{
    char root[PATH_MAX];

    if (pidfd >= 0) {
        if (setns(pidfd, CLONE_NEWNS) == 0) {
            return 0;
        }
        return failure_set(why, "state", "container \"%s\" has just ended", container->name);
    }
    container_root(container->name, root, sizeof(root));
    if (chroot(root) < 0 || chdir("/") < 0) {
        return failure_set(why, "internal", "the tree of container \"%s\" cannot be entered: %s",
                           container->name, strerror(errno));
    }
    return 0;
}

static void run_among_files(const struct container *container, int pidfd, int report_fd,
                            enter_body *body, void *context)
{
    struct failure child = {.code = "", .message = ""};

    program_begin();
    signal(SIGPIPE, SIG_IGN);
    int result = enter_files(container, pidfd, &child);
    /* It has the agent's pipes too, which nobody would see the end of. */
    dup2(report_fd, 0);
    close_range(1, UINT_MAX, 0);
    umask(022);
    if (result == 0) {
        result = body(container, context, &child);
    }
    if (result < 0) {
        /* One write below PIPE_BUF: it arrives whole or not at all. */
        (void)!write(0, &child, sizeof(child));
        _exit(127);
    }
    _exit(result);
}

pid_t enter_tree(const struct container *container, int report_fd, enter_body *body, void *context,
                 struct failure *why)
{
    bool running = container->state == CONTAINER_RUNNING && container->pid > 0;
    int pidfd = running ? (int)syscall(SYS_pidfd_open, container->pid, 0) : -1;
    pid_t pid = running && pidfd < 0 ? not_running(container, why) : fork();

    if (pid == 0) {
        run_among_files(container, pidfd, report_fd, body, context);
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    if (pid < 0 && !(running && pidfd < 0)) {
        return failure_set(why, "internal", "no process for the container: %s", strerror(errno));
    }
    return pid;
}
