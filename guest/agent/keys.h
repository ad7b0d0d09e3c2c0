#ifndef AGENT_KEYS_H
#define AGENT_KEYS_H

#include "failure.h"

/* Add *keys* (NULL-terminated, a line each) to ~/.ssh/authorized_keys of *user*, where they are not
 * yet; what is missing is made as sshd wants it.  1 when that is so, 0 when *passwd* has no such user
 * or does not say where it is at home, -1 with the failure. */
int keys_add(const char *passwd, const char *user, char *const *keys, struct failure *why);

#endif
