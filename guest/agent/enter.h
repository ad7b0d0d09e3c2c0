#ifndef AGENT_ENTER_H
#define AGENT_ENTER_H

#include <sys/types.h>

#include "container.h"
#include "failure.h"

/* What a process does inside a container; it returns only on failure. */
typedef int enter_body(const struct container *container, void *context, struct failure *why);

/* Start a process in the namespaces, the cgroup and the root of a container that runs, which calls
 * *body*.  *report_fd* (close-on-exec) is closed by a successful exec; otherwise a struct failure
 * is written to it.  Returns the process, or -1. */
pid_t enter_container(const struct container *container, int report_fd, enter_body *body,
                      void *context, struct failure *why);

/* Make this process see the files of a container as its first process does, or else its tree from
 * the root; *pidfd* is that of the first process, -1 when there is none. */
int enter_files(const struct container *container, int pidfd, struct failure *why);

/* Start a process among the files of a container, running or not, which calls *body* and exits with
 * what that returns (0 to 126).  A failure is written to *report_fd*.  Returns the process, or -1. */
pid_t enter_tree(const struct container *container, int report_fd, enter_body *body, void *context,
                 struct failure *why);

#endif
