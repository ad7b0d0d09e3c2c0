#include "resources.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "field.h"

#define CPU_PERIOD_US 100000
/* Below this not even the start of a process fits. */
#define MIN_MEMORY (256 * 1024)
#define MAX_MEMORY (INT64_C(1) << 50)
#define MIN_QUOTA_US 1000 /* the kernel's */
#define MAX_QUOTA_US (INT64_C(4096) * CPU_PERIOD_US)
#define MAX_WEIGHT 10000
#define MAX_PIDS (4 * 1024 * 1024)

int resources_parse(const json_t *request, struct resources *resources, struct failure *why)
{
    const json_t *object;

    if (field_object(request, "resources", &object, why) < 0 ||
        field_integer_or(object, "memory_max", MIN_MEMORY, MAX_MEMORY, 0, &resources->memory_max,
                         why) < 0 ||
        field_integer_or(object, "cpu_quota_us", 1, MAX_QUOTA_US, 0,
                         &resources->cpu_quota_us, why) < 0 ||
        field_integer_or(object, "cpu_weight", 1, MAX_WEIGHT, 0, &resources->cpu_weight, why) <
            0 ||
        field_integer_or(object, "pids_max", 1, MAX_PIDS, 0, &resources->pids_max, why) < 0) {
        return -1;
    }
    if (resources->cpu_quota_us > 0 && resources->cpu_quota_us < MIN_QUOTA_US) {
        resources->cpu_quota_us = MIN_QUOTA_US;
    }
    return 0;
}

static int set(int cgroup_fd, const char *file, const char *value, struct failure *why)
{
    int fd = openat(cgroup_fd, file, O_WRONLY | O_CLOEXEC);
    ssize_t length = (ssize_t)strlen(value);

    if (fd < 0 || write(fd, value, (size_t)length) != length) {
        int error = errno;
        if (fd >= 0) {
            close(fd);
        }
        return failure_set(why, "internal", "the limit %s cannot be set to %s: %s", file, value,
                           strerror(error));
    }
    close(fd);
    return 0;
}

static int set_number(int cgroup_fd, const char *file, int64_t value, struct failure *why)
{
    char text[32];

    snprintf(text, sizeof(text), "%lld", (long long)value);
    return value == 0 ? 0 : set(cgroup_fd, file, text, why);
}

int resources_apply(const struct resources *resources, int cgroup_fd, struct failure *why)
{
    char quota[64];

    snprintf(quota, sizeof(quota), "%lld %d", (long long)resources->cpu_quota_us, CPU_PERIOD_US);
    /* A container without one of its processes would be worse than one that ends: its owner has
     * said what shall happen then. */
    if (set(cgroup_fd, "memory.oom.group", "1", why) < 0 ||
        set_number(cgroup_fd, "memory.max", resources->memory_max, why) < 0 ||
        set_number(cgroup_fd, "cpu.weight", resources->cpu_weight, why) < 0 ||
        set_number(cgroup_fd, "pids.max", resources->pids_max, why) < 0) {
        return -1;
    }
    if (resources->memory_max > 0 && set(cgroup_fd, "memory.swap.max", "0", why) < 0) {
        return -1;
    }
    return resources->cpu_quota_us == 0 ? 0 : set(cgroup_fd, "cpu.max", quota, why);
}
