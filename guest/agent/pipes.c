#include "pipes.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "terminal.h"

static void close_fd(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
        *fd = -1;
    }
}

void pipes_init(struct pipes *pipes)
{
    pipes->theirs = (struct stdio){.in = -1, .out = -1, .err = -1, .terminal = -1};
    pipes->ours[0] = pipes->ours[1] = pipes->ours[2] = -1;
    pipes->socket = -1;
}

static int make_terminal(struct pipes *pipes, const struct winsize *size, struct failure *why)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return failure_set(why, "internal", "no socket for the terminal: %s", strerror(errno));
    }
    pipes->socket = pair[0];
    pipes->theirs.terminal = pair[1];
    pipes->theirs.size = *size;
    return 0;
}

int pipes_make(struct pipes *pipes, const struct winsize *size, bool input, struct failure *why)
{
    int *theirs[] = {&pipes->theirs.in, &pipes->theirs.out, &pipes->theirs.err};
    int pair[2];

    pipes_init(pipes);
    if (size != NULL) {
        return make_terminal(pipes, size, why);
    }
    for (int fd = input ? 0 : 1; fd < 3; fd++) {
        if (pipe2(pair, O_CLOEXEC) < 0) {
            failure_set(why, "internal", "no pipe for the program: %s", strerror(errno));
            pipes_close(pipes);
            return -1;
        }
        pipes->ours[fd] = pair[fd == 0 ? 1 : 0];
        *theirs[fd] = pair[fd == 0 ? 0 : 1];
        /* Only the agent's ends do not block: a program does not expect that of its stdout. */
        fcntl(pipes->ours[fd], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

void pipes_close_theirs(struct pipes *pipes)
{
    close_fd(&pipes->theirs.in);
    close_fd(&pipes->theirs.out);
    close_fd(&pipes->theirs.err);
    close_fd(&pipes->theirs.terminal);
}

void pipes_take_terminal(struct pipes *pipes)
{
    if (pipes->socket < 0) {
        return;
    }
    pipes->ours[0] = terminal_receive(pipes->socket);
    close_fd(&pipes->socket);
    if (pipes->ours[0] >= 0) {
        fcntl(pipes->ours[0], F_SETFL, O_NONBLOCK);
        pipes->ours[1] = fcntl(pipes->ours[0], F_DUPFD_CLOEXEC, 3);
    }
}

int pipes_take(struct pipes *pipes, int fd)
{
    int taken = pipes->ours[fd];

    pipes->ours[fd] = -1;
    return taken;
}

void pipes_close(struct pipes *pipes)
{
    pipes_close_theirs(pipes);
    close_fd(&pipes->socket);
    for (size_t i = 0; i < 3; i++) {
        close_fd(&pipes->ours[i]);
    }
}
