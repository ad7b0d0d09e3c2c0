#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "container.h"
#include "environment.h"
#include "file.h"
#include "security.h"
#include "terminal.h"
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

void program_begin(void)
{
    const struct rlimit files = {.rlim_cur = FILES_SOFT, .rlim_max = FILES_HARD};

    reset_signals();
    setsid();
    setrlimit(RLIMIT_NOFILE, &files);
}

static int connect_pipes(const struct stdio *stdio, const struct identity *identity,
                         struct failure *why)
{
    const int wanted[] = {stdio->in, stdio->out, stdio->err};
    int null = open("/dev/null", O_RDWR);

    for (int fd = 0; fd < 3; fd++) {
        int source = wanted[fd] < 0 ? null : wanted[fd];
        struct stat status;
        if (source < 0 || dup2(source, fd) < 0) {
            return failure_set(why, "internal", "the output cannot be connected: %s",
                               strerror(errno));
        }
        /* So that an unprivileged user may open /dev/stdout. */
        if (wanted[fd] >= 0 && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
            fchown(fd, identity->uid, (gid_t)-1) < 0) {
            return failure_set(why, "internal", "the output cannot be given away: %s",
                               strerror(errno));
        }
    }
    if (null > 2) {
        close(null);
    }
    return 0;
}

static int connect_stdio(const struct stdio *stdio, const struct identity *identity,
                         struct failure *why)
{
    if (stdio->terminal >= 0) {
        return terminal_take(stdio->terminal, &stdio->size, identity->uid, why);
    }
    return connect_pipes(stdio, identity, why);
}

static int enter_directory(const char *path, struct failure *why)
{
    if (file_make_directories(path, 0755) < 0 || chdir(path) < 0) {
        return failure_set(why, "exec", "the working directory \"%s\" cannot be entered: %s",
                           path, strerror(errno));
    }
    return 0;
}

int program_run(const struct container *container, const struct program *program,
                const struct stdio *stdio, struct failure *why)
{
    struct identity identity;
    char hostname[HOST_NAME_MAX + 1] = "";

    if (user_resolve(program->user, "/etc/passwd", "/etc/group", &identity, why) < 0 ||
        connect_stdio(stdio, &identity, why) < 0 || enter_directory(program->cwd, why) < 0 ||
        security_become(&container->security, &identity, why) < 0) {
        return -1;
    }
    gethostname(hostname, sizeof(hostname) - 1);
    char **environment = environment_complete(program->env, identity.home, hostname);
    if (environment == NULL) {
        return failure_set(why, "internal", "there is no memory for the environment");
    }
    return command_execute(program->argv, environment, why);
}
