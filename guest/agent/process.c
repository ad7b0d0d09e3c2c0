#include "process.h"

#include <stddef.h>
#include <sys/wait.h>

static struct process *processes;

void process_watch(struct process *process, pid_t pid,
                   void (*on_exit)(struct process *process, int status))
{
    process->pid = pid;
    process->on_exit = on_exit;
    process->next = processes;
    processes = process;
}

bool process_ended(pid_t pid, int status)
{
    for (struct process **link = &processes; *link != NULL; link = &(*link)->next) {
        struct process *process = *link;
        if (process->pid == pid) {
            *link = process->next;
            process->pid = 0;
            process->on_exit(process, status);
            return true;
        }
    }
    return false;
}

int process_exit_code(int status)
{
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
