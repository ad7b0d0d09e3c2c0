#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup.h"
#include "command.h"
#include "environment.h"
#include "file.h"
#include "rootfs.h"
#include "user.h"

/* What systemd gives to services: select() works below 1024, whoever needs more may raise it. */
#define FILES_SOFT 1024
#define FILES_HARD 524288

static void reset_signals(void)
{
    sigset_t none;

    for (int number = 1; number < NSIG; number++) {
        signal(number, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static int connect_output(int output_fd, const struct identity *identity, struct failure *why)
{
    int null = open("/dev/null", O_RDWR);

    if (null < 0 || dup2(null, 0) < 0 || dup2(output_fd, 1) < 0 || dup2(output_fd, 2) < 0) {
        return failure_set(why, "internal", "the output cannot be connected: %s",
                           strerror(errno));
    }
    if (null > 2) {
        close(null);
    }
    /* So that an unprivileged user may open /dev/stdout. */
    if (fchown(1, identity->uid, (gid_t)-1) < 0) {
        return failure_set(why, "internal", "the output cannot be given away: %s",
                           strerror(errno));
    }
    return 0;
}

static int enter_directory(const char *path, struct failure *why)
{
    if (file_make_directories(path, 0755) < 0 || chdir(path) < 0) {
        return failure_set(why, "exec", "the working directory \"%s\" cannot be entered: %s",
                           path, strerror(errno));
    }
    return 0;
}

static int become(const struct identity *identity, struct failure *why)
{
    if (setgroups(identity->group_count, identity->groups) < 0 ||
        setresgid(identity->gid, identity->gid, identity->gid) < 0 ||
        setresuid(identity->uid, identity->uid, identity->uid) < 0) {
        return failure_set(why, "exec", "user %u cannot be taken: %s", identity->uid,
                           strerror(errno));
    }
    return 0;
}

static int run_child(const struct container *container, int output_fd, struct failure *why)
{
    const struct rlimit files = {.rlim_cur = FILES_SOFT, .rlim_max = FILES_HARD};
    struct identity identity;
    char root[PATH_MAX];
    char hostname[HOST_NAME_MAX + 1] = "";

    reset_signals();
    setsid();
    setrlimit(RLIMIT_NOFILE, &files);
    container_root(container->name, root, sizeof(root));
    if (unshare(CLONE_NEWCGROUP) < 0) {
        return failure_set(why, "internal", "no cgroup namespace: %s", strerror(errno));
    }
    if (rootfs_enter(root, why) < 0 ||
        user_resolve(container->user, "/etc/passwd", "/etc/group", &identity, why) < 0 ||
        connect_output(output_fd, &identity, why) < 0 ||
        enter_directory(container->cwd, why) < 0 || become(&identity, why) < 0) {
        return -1;
    }
    gethostname(hostname, sizeof(hostname) - 1);
    char **environment = environment_complete(container->env, identity.home, hostname);
    if (environment == NULL) {
        return failure_set(why, "internal", "there is no memory for the environment");
    }
    return command_execute(container->argv, environment, why);
}

pid_t launch(const struct container *container, int output_fd, int report_fd, struct failure *why)
{
    int cgroup_fd;

    if (cgroup_make(container->name, &cgroup_fd, why) < 0) {
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
        run_child(container, output_fd, &child);
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
