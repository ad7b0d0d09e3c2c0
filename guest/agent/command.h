#ifndef AGENT_COMMAND_H
#define AGENT_COMMAND_H

#include "failure.h"

/* Become argv[0], looked up in the PATH of *environment* unless it has a slash.  Returns only on
 * failure, with -1 and the failure `exec`. */
int command_execute(char *const *argv, char *const *environment, struct failure *why);

#endif
