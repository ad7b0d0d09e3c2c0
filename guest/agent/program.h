#ifndef AGENT_PROGRAM_H
#define AGENT_PROGRAM_H

#include <sys/ioctl.h>

#include "failure.h"

struct container;

/* A command of a container, its first or another one, with everything decided. */
struct program {
    char *const *argv;
    char *const *env;
    const char *user;
    const char *cwd;
};

/* What becomes descriptors 0, 1 and 2 of a program; -1 is /dev/null.  With *terminal* (a socket)
 * they are a new terminal of that size instead, whose master is sent there. */
struct stdio {
    int in, out, err;
    int terminal;
    struct winsize size;
};

/* Give a new process the defaults that a program expects: signals, session, limits. */
void program_begin(void);

/* Become *program* with the user rules of *container*, in whose root this process is already.
 * Returns only on failure, with -1. */
int program_run(const struct container *container, const struct program *program,
                const struct stdio *stdio, struct failure *why);

#endif
