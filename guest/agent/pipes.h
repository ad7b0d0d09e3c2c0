#ifndef AGENT_PIPES_H
#define AGENT_PIPES_H

#include <stdbool.h>

#include "failure.h"
#include "program.h"

/* Both ends of what a new program reads and writes. */
struct pipes {
    struct stdio theirs;
    int ours[3]; /* by the program's descriptor; -1 for none, or closed */
    int socket; /* where the terminal's master comes from; -1 for pipes */
};

/* All closed. */
void pipes_init(struct pipes *pipes);

/* Make stdout and stderr, and stdin if it is wanted as *input*; or the way to a terminal of *size*,
 * which is NULL for pipes.  Nothing is open on failure. */
int pipes_make(struct pipes *pipes, const struct winsize *size, bool input, struct failure *why);

/* The program has been started: close its ends. */
void pipes_close_theirs(struct pipes *pipes);

/* The program runs: take the terminal it has made; `ours` are its input and its output then. */
void pipes_take_terminal(struct pipes *pipes);

/* One of our ends, which does not block and is the caller's from now on; -1 for none. */
int pipes_take(struct pipes *pipes, int fd);

void pipes_close(struct pipes *pipes);

#endif
