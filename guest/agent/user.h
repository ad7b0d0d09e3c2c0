#ifndef AGENT_USER_H
#define AGENT_USER_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#include "failure.h"

#define USER_MAX_GROUPS 256

/* Who a container's command runs as. */
struct identity {
    uid_t uid;
    gid_t gid;
    gid_t groups[USER_MAX_GROUPS]; /* supplementary */
    size_t group_count;
    char home[PATH_MAX];
};

/* Resolve an image's User ("", "name", "uid", "name:group", "uid:gid") with the image's own
 * passwd and group files, either of which may be missing.
 *
 * The rules are runc's (libcontainer/user, GetExecUser): a number needs no entry; a group that is
 * given replaces the supplementary groups; without one they are those that list the user.
 * Returns -1 with the failure `exec` when a name is unknown. */
int user_resolve(const char *spec, const char *passwd_path, const char *group_path,
                 struct identity *identity, struct failure *why);

#endif
