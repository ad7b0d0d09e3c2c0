#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "enter.h"
#include "freeze.h"
#include "process.h"
#include "program.h"
#include "reply.h"
#include "stream.h"

#define FIRST_KEPT 512

struct transfer {
    struct stream stream;
    struct process process;
    struct watch reports; /* of the process; fd -1 when it has no more */
    uint32_t request_id;
    bool answered;
    bool reaped;
    struct failure why; /* code is empty while all is well */
    struct container *frozen; /* NULL for none */
    int end; /* of the pipe to the process, until it is answered; -1 */
    bool input;
};

static void finish_if_done(struct transfer *transfer)
{
    if (!transfer->reaped || transfer->reports.fd >= 0 || !stream_is_drained(&transfer->stream)) {
        return;
    }
    const struct stream_result result = {
        .error = transfer->why.code[0] == 0 ? NULL : transfer->why.message};
    stream_finish(&transfer->stream, transfer->answered ? &result : NULL);
    if (transfer->end >= 0) {
        close(transfer->end);
    }
    free(transfer);
}

static void on_source_end(struct stream *stream)
{
    finish_if_done(container_of(stream, struct transfer, stream));
}

static void on_close(struct stream *stream)
{
    struct transfer *transfer = container_of(stream, struct transfer, stream);

    if (transfer->reaped) {
        finish_if_done(transfer);
    } else {
        kill(transfer->process.pid, SIGKILL);
    }
}

static void answer(struct transfer *transfer, const struct transfer_report *report)
{
    int fd = transfer->end;

    transfer->answered = true;
    transfer->end = -1;
    if (transfer->stream.orphan) {
        close(fd);
        return;
    }
    /* A name that is not UTF-8 cannot be told here; it is in the archive. */
    json_t *name = json_string(report->name);
    reply_ok(transfer->request_id,
             json_pack("{s:o, s:i, s:I}", "name", name == NULL ? json_string("") : name, "mode",
                       (int)report->mode, "size", (json_int_t)report->size));
    if (transfer->input) {
        input_open(&transfer->stream.input, fd);
    } else {
        stream_copy(&transfer->stream, 0, fd);
    }
}

static void take_report(struct transfer *transfer, const struct transfer_report *report)
{
    if (report->why.code[0] == 0) {
        if (!transfer->answered) {
            answer(transfer, report);
        }
    } else if (transfer->answered) {
        transfer->why = report->why;
    } else {
        transfer->why = report->why;
        if (!transfer->stream.orphan) {
            reply_failure(transfer->request_id, &report->why);
        }
        stream_finish(&transfer->stream, NULL);
    }
}

static void read_reports(struct transfer *transfer)
{
    struct transfer_report report;
    ssize_t count;

    while (transfer->reports.fd >= 0) {
        count = read(transfer->reports.fd, &report, sizeof(report));
        if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (count != sizeof(report)) {
            loop_remove(&transfer->reports);
            close(transfer->reports.fd);
            transfer->reports.fd = -1;
            return;
        }
        take_report(transfer, &report);
    }
}

static void on_reports(struct watch *watch, uint32_t events)
{
    struct transfer *transfer = container_of(watch, struct transfer, reports);

    (void)events;
    read_reports(transfer);
    finish_if_done(transfer);
}

static void on_reaped(struct process *process, int status)
{
    static const struct failure killed = {
        .code = "internal",
        .message = "the transfer was ended in the guest, perhaps for want of memory",
    };
    struct transfer *transfer = container_of(process, struct transfer, process);

    transfer->reaped = true;
    if (transfer->frozen != NULL) {
        freeze_end(transfer->frozen);
    }
    read_reports(transfer);
    if (process_exit_code(status) != 0 && transfer->why.code[0] == 0) {
        const struct transfer_report report = {.why = killed};
        take_report(transfer, &report);
    }
    finish_if_done(transfer);
}

static void run_child(const struct transfer_job *job, int pidfd, int pipe_fd, int report_fd)
{
    struct transfer_report report = {.why = {.code = ""}};

    program_begin();
    signal(SIGPIPE, SIG_IGN);
    dup2(pipe_fd, job->input ? 0 : 1);
    report_fd = fcntl(report_fd, F_DUPFD, FIRST_KEPT);
    pidfd = pidfd < 0 ? -1 : fcntl(pidfd, F_DUPFD, FIRST_KEPT);
    /* It has the agent's pipes too, which nobody would see the end of. */
    close_range(3, FIRST_KEPT - 1, 0);
    close_range((unsigned int)(pidfd > report_fd ? pidfd : report_fd) + 1, UINT_MAX, 0);
    if ((job->inside && enter_files(job->container, pidfd, &report.why) < 0) ||
        job->find(job, &report) < 0) {
        (void)!write(report_fd, &report, sizeof(report));
        _exit(1);
    }
    (void)!write(report_fd, &report, sizeof(report));
    if (job->run(job, &report.why) < 0) {
        (void)!write(report_fd, &report, sizeof(report));
        _exit(1);
    }
    _exit(0);
}

static pid_t start_process(const struct transfer_job *job, int pipe_fd, int report_fd,
                           struct failure *why)
{
    const struct container *container = job->container;
    bool running = container->state == CONTAINER_RUNNING && container->pid > 0;
    int pidfd = running ? (int)syscall(SYS_pidfd_open, container->pid, 0) : -1;
    pid_t pid = fork();

    if (pid == 0) {
        run_child(job, pidfd, pipe_fd, report_fd);
    }
    if (pidfd >= 0) {
        close(pidfd);
    }
    return pid < 0 ? failure_set(why, "internal", "no process for the transfer: %s",
                                 strerror(errno))
                   : pid;
}

static int begin(struct transfer *transfer, const struct transfer_job *job, struct failure *why)
{
    int reports[2], data[2];

    if (pipe2(reports, O_CLOEXEC) < 0) {
        return failure_set(why, "internal", "no pipe for the transfer: %s", strerror(errno));
    }
    if (pipe2(data, O_CLOEXEC) < 0) {
        close(reports[0]);
        close(reports[1]);
        return failure_set(why, "internal", "no pipe for the transfer: %s", strerror(errno));
    }
    pid_t pid = start_process(job, data[job->input ? 0 : 1], reports[1], why);
    close(reports[1]);
    close(data[job->input ? 0 : 1]);
    if (pid < 0) {
        close(reports[0]);
        close(data[job->input ? 1 : 0]);
        return -1;
    }
    transfer->end = data[job->input ? 1 : 0];
    transfer->reports.fd = reports[0];
    transfer->reports.on_ready = on_reports;
    fcntl(transfer->end, F_SETFL, O_NONBLOCK);
    fcntl(reports[0], F_SETFL, O_NONBLOCK);
    loop_add(&transfer->reports, EPOLLIN);
    process_watch(&transfer->process, pid, on_reaped);
    return 0;
}

enum outcome transfer_start(uint32_t id, const json_t *request, const struct transfer_job *job,
                            struct failure *why)
{
    uint32_t number;
    struct transfer *transfer = NULL;

    if (stream_id(request, &number, why) < 0) {
        return OUTCOME_FAILED;
    }
    if ((transfer = calloc(1, sizeof(*transfer))) == NULL) {
        failure_set(why, "internal", "the agent has no memory left");
        return OUTCOME_FAILED;
    }
    transfer->request_id = id;
    transfer->input = job->input;
    transfer->stream.on_close = on_close;
    transfer->stream.on_source_end = on_source_end;
    if (job->freeze) {
        transfer->frozen = container_find(job->container->name);
        freeze_begin(transfer->frozen);
    }
    if (begin(transfer, job, why) < 0) {
        if (transfer->frozen != NULL) {
            freeze_end(transfer->frozen);
        }
        free(transfer);
        return OUTCOME_FAILED;
    }
    stream_open(&transfer->stream, number);
    return OUTCOME_LATER;
}
