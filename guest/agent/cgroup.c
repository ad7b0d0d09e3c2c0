#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "file.h"

#define ROOT "/sys/fs/cgroup"

static int mount_once(struct failure *why)
{
    static bool mounted;

    if (mounted) {
        return 0;
    }
    if (mount("cgroup2", ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
        file_write(ROOT "/cgroup.subtree_control", "+cpu +memory +pids") < 0) {
        return failure_set(why, "internal", "cgroups cannot be set up: %s", strerror(errno));
    }
    mounted = true;
    return 0;
}

int cgroup_make(const char *name, int *fd, struct failure *why)
{
    char path[128];

    if (mount_once(why) < 0) {
        return -1;
    }
    snprintf(path, sizeof(path), ROOT "/%s", name);
    if (mkdir(path, 0755) < 0 && errno != EEXIST) {
        return failure_set(why, "internal", "the cgroup of %s cannot be made: %s", name,
                           strerror(errno));
    }
    *fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        return failure_set(why, "internal", "the cgroup of %s cannot be opened: %s", name,
                           strerror(errno));
    }
    return 0;
}
