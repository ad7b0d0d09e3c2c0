#ifndef AGENT_LAUNCH_H
#define AGENT_LAUNCH_H

#include <sys/types.h>

#include "container.h"
#include "failure.h"
#include "program.h"

/* Start the process of a container in its own mount, PID and cgroup namespaces, with *stdio*.
 * *report_fd* (close-on-exec) is closed by a successful exec;
 * otherwise a struct failure is written to it.  Returns the process, or -1. */
pid_t launch(const struct container *container, const struct stdio *stdio, int report_fd,
             struct failure *why);

#endif
