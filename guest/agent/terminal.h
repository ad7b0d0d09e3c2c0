#ifndef AGENT_TERMINAL_H
#define AGENT_TERMINAL_H

#include <sys/ioctl.h>
#include <sys/types.h>

#include "failure.h"

/* Pseudo terminals of containers, each in its container's own /dev/pts. */

/* In the container's process, the first of its session: make a terminal of *size* owned by *owner*
 * its controlling terminal and descriptors 0, 1 and 2, and send the master to *socket*. */
int terminal_take(int socket, const struct winsize *size, uid_t owner, struct failure *why);

/* In the agent: the master that was sent to *socket*, or -1.  It does not block. */
int terminal_receive(int socket);

/* Tell the programs in the terminal of a new size; -1 with errno. */
int terminal_resize(int master, const struct winsize *size);

#endif
