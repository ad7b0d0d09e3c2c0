#ifndef AGENT_PROCESS_H
#define AGENT_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

/* A child of the agent that is not a container's first process; embed it in what it belongs to. */
struct process {
    pid_t pid; /* 0 when there is none */
    /* *status* is waitpid's; the process is forgotten already, and may be freed. */
    void (*on_exit)(struct process *process, int status);
    struct process *next;
};

/* Call *on_exit* when the child *pid* has ended. */
void process_watch(struct process *process, pid_t pid,
                   void (*on_exit)(struct process *process, int status));

/* Give on that a child has ended; false when it is nobody's. */
bool process_ended(pid_t pid, int status);

/* What a waitpid status means to the host: 128 + signal where a signal ended the process. */
int process_exit_code(int status);

#endif
