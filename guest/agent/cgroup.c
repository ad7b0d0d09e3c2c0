#include "cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file.h"

#define ROOT "/sys/fs/cgroup"

static int mount_once(struct failure *why)
{
    static bool mounted;

    if (mounted) {
        return 0;
    }
    /* nsdelegate: a container may divide what it has, but not raise its own limits. */
    if (mount("cgroup2", ROOT, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "nsdelegate") < 0 ||
        file_write(ROOT "/cgroup.subtree_control", "+cpu +memory +pids") < 0) {
        return failure_set(why, "internal", "cgroups cannot be set up: %s", strerror(errno));
    }
    /* Only for statistics: a kernel of one's own may lack it. */
    (void)!file_write(ROOT "/cgroup.subtree_control", "+io");
    mounted = true;
    return 0;
}

int cgroup_open(const char *name, const char *file, int flags)
{
    char path[192];

    snprintf(path, sizeof(path), ROOT "/%s/%s", name, file);
    return open(path, flags | O_CLOEXEC);
}

void cgroup_kill(const char *name)
{
    char path[192];

    snprintf(path, sizeof(path), ROOT "/%s/cgroup.kill", name);
    (void)!file_write(path, "1");
}

int cgroup_make(const char *name, const struct resources *resources, int *fd,
                struct failure *why)
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
    if (resources_apply(resources, *fd, why) < 0) {
        close(*fd);
        return -1;
    }
    return 0;
}
