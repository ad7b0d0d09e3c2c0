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
