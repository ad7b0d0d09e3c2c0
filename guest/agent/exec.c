#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "enter.h"
#include "environment.h"
#include "field.h"
#include "pipes.h"
#include "process.h"
#include "program.h"
#include "reply.h"
#include "request.h"
#include "stream.h"
#include "terminal.h"

#define MAX_ARGUMENTS 4096
#define MAX_STRING (128 * 1024)
/* How long a program of a host that is gone has after SIGHUP. */
#define HANG_UP_LIMIT_NS 1000000000u
/* A terminal's last bytes may come after the news of the end, through the kernel's own queue. */
#define TERMINAL_LIMIT_NS 200000000u

/* A further command in a container, and the host's stream to it. */
struct exec {
    struct stream stream;
    struct process process;
    struct watch launch; /* reports how exec went; fd -1 when that is known */
    struct timer limit;
    uint32_t request_id;
    char **argv, **env; /* only until it is started */
    char *user, *cwd;
    struct pipes pipes; /* until it runs */
    struct winsize size;
    int master; /* of its terminal, for its size; -1 when it has none */
    bool running;
    bool closed; /* by the host, or with it */
    bool reaped;
    int status;
};

static void free_exec(struct exec *exec)
{
    field_free_strings(exec->argv);
    field_free_strings(exec->env);
    free(exec->user);
    free(exec->cwd);
    free(exec);
}

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

static int read_terminal(const json_t *request, struct exec *exec, bool *terminal,
                         struct failure *why)
{
    const json_t *tty;

    if (field_object(request, "tty", &tty, why) < 0) {
        return -1;
    }
    *terminal = tty != NULL;
    return *terminal ? stream_read_size(tty, &exec->size, why) : 0;
}

static int read_program(const json_t *request, const struct container *container,
                        struct exec *exec, struct failure *why)
{
    const char *user, *cwd;

    if (field_strings(request, "argv", MAX_ARGUMENTS, MAX_STRING, &exec->argv, why) < 0 ||
        field_strings(request, "env", MAX_ARGUMENTS, MAX_STRING, &exec->env, why) < 0 ||
        field_string(request, "user", 511, container->user, &user, why) < 0 ||
        field_string(request, "cwd", PATH_MAX - 1, container->cwd, &cwd, why) < 0) {
        return -1;
    }
    if (exec->argv[0] == NULL) {
        return failure_set(why, "invalid", "there is no command to execute");
    }
    if (cwd[0] != '/') {
        return failure_set(why, "exec", "the working directory \"%s\" is not absolute", cwd);
    }
    exec->user = strdup(user);
    exec->cwd = strdup(cwd);
    if (exec->user == NULL || exec->cwd == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    return 0;
}

static int body(const struct container *container, void *context, struct failure *why)
{
    const struct exec *exec = context;
    const struct program program = {
        .argv = exec->argv,
        .env = environment_merge(container->env, exec->env),
        .user = exec->user,
        .cwd = exec->cwd,
    };

    if (program.env == NULL) {
        return failure_set(why, "internal", "there is no memory for the environment");
    }
    return program_run(container, &program, &exec->pipes.theirs, why);
}

/* The end of everything: the process was reaped and its output was copied. */
static void finish_if_done(struct exec *exec)
{
    if (!exec->reaped || !stream_is_drained(&exec->stream)) {
        return;
    }
    timer_cancel(&exec->limit);
    close_fd(&exec->master);
    if (exec->running) {
        stream_finish(&exec->stream, &(struct stream_result){
                                         .exited = true,
                                         .exit_code = process_exit_code(exec->status),
                                         .signal = WIFSIGNALED(exec->status)
                                                       ? WTERMSIG(exec->status)
                                                       : 0,
                                     });
    }
    free_exec(exec);
}

static void on_source_end(struct stream *stream)
{
    finish_if_done(container_of(stream, struct exec, stream));
}

static void on_limit(struct timer *timer)
{
    struct exec *exec = container_of(timer, struct exec, limit);

    if (exec->reaped) {
        stream_drain(&exec->stream);
    } else {
        kill(exec->process.pid, SIGKILL);
    }
}

static void on_close(struct stream *stream)
{
    struct exec *exec = container_of(stream, struct exec, stream);

    exec->closed = true;
    /* The last one that has the terminal open: programs in it are hung up. */
    close_fd(&exec->master);
    if (exec->reaped) {
        finish_if_done(exec);
        return;
    }
    kill(exec->process.pid, stream->orphan ? SIGHUP : SIGKILL);
    if (stream->orphan) {
        exec->limit.on_due = on_limit;
        timer_set(&exec->limit, HANG_UP_LIMIT_NS);
    }
}

static int resize(struct stream *stream, const struct winsize *size, struct failure *why)
{
    const struct exec *exec = container_of(stream, struct exec, stream);

    if (exec->master < 0 || terminal_resize(exec->master, size) < 0) {
        return failure_set(why, "state", "the command has no terminal");
    }
    return 0;
}

static int send_signal(struct stream *stream, int number, struct failure *why)
{
    const struct exec *exec = container_of(stream, struct exec, stream);

    if (exec->reaped || kill(exec->process.pid, number) < 0) {
        return failure_set(why, "state", "the command has ended");
    }
    return 0;
}

/* A terminal has no end of input to give: programs hear of Ctrl-D, which the host sends. */
static void ignore_input_end(struct stream *stream)
{
    (void)stream;
}

static void close_launch(struct exec *exec)
{
    if (exec->launch.fd >= 0) {
        loop_remove(&exec->launch);
        close_fd(&exec->launch.fd);
    }
}

static void refuse(struct exec *exec, const struct failure *why)
{
    if (!exec->stream.orphan) {
        reply_failure(exec->request_id, why);
    }
    stream_finish(&exec->stream, NULL);
    pipes_close(&exec->pipes);
}

/* The host hears of the program before its first byte. */
static void begin(struct exec *exec)
{
    exec->running = true;
    if (!exec->stream.orphan) {
        reply_ok(exec->request_id, json_pack("{s:i}", "pid", (int)exec->process.pid));
    }
    if (exec->closed) {
        pipes_close(&exec->pipes);
        return;
    }
    if (exec->pipes.socket >= 0) {
        pipes_take_terminal(&exec->pipes);
        exec->master = fcntl(exec->pipes.ours[0], F_DUPFD_CLOEXEC, 3);
    }
    int input = pipes_take(&exec->pipes, 0);
    if (input >= 0) {
        input_open(&exec->stream.input, input);
    }
    for (unsigned int channel = 0; channel < STREAM_SOURCES; channel++) {
        int fd = pipes_take(&exec->pipes, (int)channel + 1);
        if (fd >= 0) {
            stream_copy(&exec->stream, channel, fd);
        }
    }
}

/* Find out how exec went, when that is known by now, and answer. */
static void settle(struct exec *exec)
{
    struct failure why;

    if (exec->launch.fd < 0) {
        return;
    }
    ssize_t count = read(exec->launch.fd, &why, sizeof(why));
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    close_launch(exec);
    if (count <= 0) {
        begin(exec);
        return;
    }
    why.code[sizeof(why.code) - 1] = 0;
    why.message[sizeof(why.message) - 1] = 0;
    refuse(exec, &why);
}

static void on_launch(struct watch *watch, uint32_t events)
{
    (void)events;
    settle(container_of(watch, struct exec, launch));
}

static void on_reaped(struct process *process, int status)
{
    struct exec *exec = container_of(process, struct exec, process);

    settle(exec);
    exec->reaped = true;
    exec->status = status;
    timer_cancel(&exec->limit);
    if (exec->master >= 0) {
        exec->limit.on_due = on_limit;
        timer_set(&exec->limit, TERMINAL_LIMIT_NS);
        finish_if_done(exec);
    } else if (stream_is_drained(&exec->stream)) {
        finish_if_done(exec);
    } else {
        /* What it wrote itself; others that it has left may hold the pipes open for ever. */
        stream_drain(&exec->stream);
    }
}

static int start(struct exec *exec, const struct container *container, bool terminal, bool input,
                 struct failure *why)
{
    int report[2];
    pid_t pid = -1;

    if (pipe2(report, O_CLOEXEC) < 0) {
        return failure_set(why, "internal", "no pipe for the command: %s", strerror(errno));
    }
    if (pipes_make(&exec->pipes, terminal ? &exec->size : NULL, input, why) == 0) {
        pid = enter_container(container, report[1], body, exec, why);
    }
    pipes_close_theirs(&exec->pipes);
    close(report[1]);
    if (pid < 0) {
        pipes_close(&exec->pipes);
        close(report[0]);
        return -1;
    }
    process_watch(&exec->process, pid, on_reaped);
    fcntl(report[0], F_SETFL, O_NONBLOCK);
    exec->launch.fd = report[0];
    exec->launch.on_ready = on_launch;
    loop_add(&exec->launch, EPOLLIN);
    return 0;
}

static void open_stream(struct exec *exec, uint32_t id, bool terminal)
{
    exec->stream.on_close = on_close;
    exec->stream.on_source_end = on_source_end;
    exec->stream.on_input_end = terminal ? ignore_input_end : NULL;
    exec->stream.resize = resize;
    exec->stream.signal = send_signal;
    stream_open(&exec->stream, id);
}

static struct exec *new_exec(uint32_t request_id, struct failure *why)
{
    struct exec *exec = calloc(1, sizeof(*exec));

    if (exec == NULL) {
        failure_set(why, "internal", "the agent has no memory left");
        return NULL;
    }
    exec->request_id = request_id;
    exec->launch.fd = exec->master = -1;
    pipes_init(&exec->pipes);
    return exec;
}

enum outcome exec_start(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    const struct container *container = container_named(request, why);
    bool terminal, input = json_is_true(json_object_get(request, "stdin"));
    uint32_t stream;

    (void)fields;
    if (container == NULL || stream_id(request, &stream, why) < 0) {
        return OUTCOME_FAILED;
    }
    struct exec *exec = new_exec(id, why);
    if (exec == NULL) {
        return OUTCOME_FAILED;
    }
    if (read_program(request, container, exec, why) < 0 ||
        read_terminal(request, exec, &terminal, why) < 0 ||
        start(exec, container, terminal, input, why) < 0) {
        free_exec(exec);
        return OUTCOME_FAILED;
    }
    open_stream(exec, stream, terminal);
    return OUTCOME_LATER;
}
