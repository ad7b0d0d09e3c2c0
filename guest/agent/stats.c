#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cgroup.h"
#include "container.h"
#include "decimal.h"
#include "file.h"
#include "loop.h"
#include "memory.h"
#include "request.h"

#define NET "/sys/class/net"
#define MAX_NICS 64
#define PATH_SIZE (sizeof(NET) + 256 + 32)
#define FILE_MAX 4096
#define TICK_NS (1000000000u / 100) /* the kernel's USER_HZ */

static const char *const counters[] = {"rx_bytes",  "tx_bytes",  "rx_packets", "tx_packets",
                                       "rx_errors", "tx_errors", "rx_dropped", "tx_dropped"};

/* The text of a file of a container's cgroup, empty when there is none. */
static const char *read_cgroup(const struct container *container, const char *file,
                               char text[FILE_MAX])
{
    int fd = cgroup_open(container->name, file, O_RDONLY);
    ssize_t count = fd < 0 ? -1 : read(fd, text, FILE_MAX - 1);

    if (fd >= 0) {
        close(fd);
    }
    text[count < 0 ? 0 : count] = 0;
    return text;
}

/* The number after *key* and a blank or "=" wherever a word is that; their sum. */
static uint64_t sum_of(const char *text, const char *key)
{
    size_t length = strlen(key);
    uint64_t sum = 0;

    for (const char *at = text; (at = strstr(at, key)) != NULL; at += length) {
        bool begins = at == text || at[-1] == '\n' || at[-1] == ' ';
        if (begins && (at[length] == ' ' || at[length] == '=')) {
            sum += strtoull(at + length + 1, NULL, 10);
        }
    }
    return sum;
}

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *cgroup_number(const struct container *container, const char *file)
{
    char text[FILE_MAX];

    return number(strtoull(read_cgroup(container, file, text), NULL, 10));
}

static json_t *memory_limit(const struct container *container)
{
    char text[FILE_MAX];

    read_cgroup(container, "memory.max", text);
    return text[0] < '0' || text[0] > '9' ? json_null() : number(strtoull(text, NULL, 10));
}

static json_t *describe_container(const struct container *container)
{
    char cpu[FILE_MAX], events[FILE_MAX], io[FILE_MAX];

    read_cgroup(container, "cpu.stat", cpu);
    read_cgroup(container, "memory.events", events);
    read_cgroup(container, "io.stat", io);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "name", container->name,
                     "cpu_ns", number(1000 * sum_of(cpu, "usage_usec")), "memory_bytes",
                     cgroup_number(container, "memory.current"), "memory_max",
                     memory_limit(container), "memory_peak",
                     cgroup_number(container, "memory.peak"), "oom_kills",
                     number(sum_of(events, "oom_kill")), "pids",
                     cgroup_number(container, "pids.current"), "read_bytes",
                     number(sum_of(io, "rbytes")), "write_bytes", number(sum_of(io, "wbytes")));
}

static json_t *describe_nic(const char *name)
{
    char path[PATH_SIZE];
    char line[64] = "";
    json_t *nic = json_object();

    snprintf(path, sizeof(path), NET "/%s/address", name);
    (void)!file_read_line(path, line, sizeof(line));
    json_object_set_new(nic, "mac", json_string(line));
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
        snprintf(path, sizeof(path), NET "/%s/statistics/%s", name, counters[i]);
        line[0] = 0;
        (void)!file_read_line(path, line, sizeof(line));
        json_object_set_new(nic, counters[i], number(strtoull(line, NULL, 10)));
    }
    return nic;
}

static json_t *describe_nics(void)
{
    json_t *list = json_array();
    DIR *interfaces = opendir(NET);

    if (interfaces == NULL) {
        return list;
    }
    for (const struct dirent *entry; (entry = readdir(interfaces)) != NULL;) {
        char path[PATH_SIZE];
        /* Those of the host, and not what containers have made. */
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ ||
            json_array_size(list) == MAX_NICS) {
            continue;
        }
        snprintf(path, sizeof(path), NET "/%s/device", entry->d_name);
        if (access(path, F_OK) == 0) {
            json_array_append_new(list, describe_nic(entry->d_name));
        }
    }
    closedir(interfaces);
    return list;
}

/* The time that all processors were not idle. */
static uint64_t busy_ns(void)
{
    char line[256];
    /* user, nice, system, idle, waiting for I/O, hard and soft interrupts */
    uint64_t ticks[7];

    if (file_read_line("/proc/stat", line, sizeof(line)) < 0 || strncmp(line, "cpu ", 4) != 0 ||
        decimal_read(line + 4, ticks, 7) != 7) {
        return 0;
    }
    return (ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6]) * TICK_NS;
}

enum outcome pod_stats(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    struct memory memory = memory_read();
    json_t *containers = json_array();

    (void)id;
    (void)request;
    (void)why;
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        json_array_append_new(containers, describe_container(at));
    }
    *fields = json_pack("{s:I, s:o, s:i, s:i, s:o, s:o}", "uptime_ns", (json_int_t)monotonic_ns(),
                        "cpu_ns", number(busy_ns()), "mem_total_kib", (int)memory.total_kib,
                        "mem_available_kib", (int)memory.available_kib, "nics", describe_nics(),
                        "containers", containers);
    return OUTCOME_DONE;
}
