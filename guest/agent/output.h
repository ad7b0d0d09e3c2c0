#ifndef AGENT_OUTPUT_H
#define AGENT_OUTPUT_H

#include "container.h"

/* Begin to copy the pipe *fd* of a container to the console; takes *fd* over. */
int output_begin(struct container *container, int fd);

/* Stop copying and close the pipe. */
void output_close(struct container *container);

/* Copy again from the pipes that had to wait for the console. */
void output_resume_all(void);

#endif
