#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "enter.h"
#include "probe.h"
#include "program.h"

static int body(const struct container *container, void *context, struct failure *why)
{
    const struct probe *probe = context;
    const struct program program = {
        .argv = probe->argv,
        .env = container->env,
        .user = container->user,
        .cwd = container->cwd,
    };
    const struct stdio stdio = {.in = -1, .out = -1, .err = -1, .terminal = -1};

    return program_run(container, &program, &stdio, why);
}

static void close_report(struct probe *probe)
{
    if (probe->report_fd >= 0) {
        close(probe->report_fd);
        probe->report_fd = -1;
    }
}

static void on_exit_of(struct process *process, int status)
{
    struct probe *probe = container_of(process, struct probe, process);
    struct failure why;
    ssize_t count = read(probe->report_fd, &why, sizeof(why));

    close_report(probe);
    if (probe->timed_out) {
        probe_answer(probe, false, "no end within %lld ms", (long long)probe->timeout_ms);
    } else if (count == (ssize_t)sizeof(why)) {
        why.message[sizeof(why.message) - 1] = 0;
        probe_answer(probe, false, "%s", why.message);
    } else if (process_exit_code(status) != 0) {
        probe_answer(probe, false, "exit code %d", process_exit_code(status));
    } else {
        probe_answer(probe, true, "exit code 0");
    }
}

void probe_exec_begin(struct probe *probe)
{
    struct failure why = {.message = ""};
    int report[2];

    if (probe->process.pid > 0) {
        probe_answer(probe, false, "the command before has not ended");
        return;
    }
    if (pipe2(report, O_CLOEXEC | O_NONBLOCK) < 0) {
        probe_answer(probe, false, "no pipe: %s", strerror(errno));
        return;
    }
    pid_t pid = enter_container(probe->container, report[1], body, probe, &why);
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        probe_answer(probe, false, "%s", why.message);
        return;
    }
    probe->report_fd = report[0];
    process_watch(&probe->process, pid, on_exit_of);
}

void probe_exec_give_up(struct probe *probe)
{
    if (probe->process.pid > 0) {
        /* With its children: it is the first of its session. */
        kill(-probe->process.pid, SIGKILL);
        kill(probe->process.pid, SIGKILL);
    }
}
