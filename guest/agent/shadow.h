#ifndef AGENT_SHADOW_H
#define AGENT_SHADOW_H

#include <stdint.h>

#include "failure.h"

/* Make *hash*, of crypt(3), the password of *user* in the shadow file *path*, changed on *day* after
 * 1970, as chpasswd(8) does it; all else in the file stays as it is.  1 when that is so, 0 when
 * there is no such file or user in it, -1 with the failure. */
int shadow_set(const char *path, const char *user, const char *hash, int64_t day,
               struct failure *why);

#endif
