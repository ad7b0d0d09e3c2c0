#include "launch.h"

#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "program.h"
#include "rootfs.h"

static int run_child(const struct container *container, const struct stdio *stdio,
                     struct failure *why)
{
    const struct program program = {
        .argv = container->argv,
        .env = container->env,
        .user = container->user,
        .cwd = container->cwd,
    };

    program_begin();
    if (unshare(CLONE_NEWCGROUP) < 0) {
        return failure_set(why, "internal", "no cgroup namespace: %s", strerror(errno));
    }
    if (rootfs_enter(container, why) < 0) {
        return -1;
    }
    return program_run(container, &program, stdio, why);
}

pid_t launch(const struct container *container, const struct stdio *stdio, int report_fd,
             struct failure *why)
{
    int cgroup_fd;

    if (cgroup_make(container->name, &container->resources, &cgroup_fd, why) < 0) {
        return -1;
    }
    struct clone_args arguments = {
        .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_INTO_CGROUP,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup_fd,
    };
    pid_t pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid == 0) {
        struct failure child = {.code = "", .message = ""};
        run_child(container, stdio, &child);
        /* One write below PIPE_BUF: it arrives whole or not at all. */
        (void)!write(report_fd, &child, sizeof(child));
        _exit(127);
    }
    int error = errno;
    close(cgroup_fd);
    if (pid < 0) {
        return failure_set(why, "internal", "no process for the container: %s", strerror(error));
    }
    return pid;
}
