#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "beneath.h"
#include "container.h"
#include "decimal.h"
#include "request.h"

#define MAX_PROCESSES 500
#define COMMAND_MAX 256
#define NAME_SIZE 32
#define PASSWD_MAX (256 * 1024)
#define STATUS_MAX 4096
#define USER_FIELD 10 /* utime, counted from ppid (proc(5)) */
#define TICK_NS (1000000000u / 100) /* the kernel's USER_HZ */
/* An answer is at most 64 KiB: what one process takes of it besides its texts. */
#define ANSWER_ROOM (60 * 1024)
#define PROCESS_ROOM 120

static size_t read_proc(const char *pid, const char *file, char *text, size_t size)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%.16s/%s", pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t count = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) {
        close(fd);
    }
    text[count < 0 ? 0 : count] = 0;
    return count < 0 ? 0 : (size_t)count;
}

static bool is_in(const struct container *container, const char *pid)
{
    char line[PATH_MAX];
    size_t length = strlen(container->name);

    read_proc(pid, "cgroup", line, sizeof(line));
    return strncmp(line, "0::/", 4) == 0 && strncmp(line + 4, container->name, length) == 0 &&
           (line[4 + length] == '\n' || line[4 + length] == '/');
}

/* The value of a line of /proc/PID/status. */
static const char *value_of(const char *status, const char *key)
{
    const char *line = strstr(status, key);

    return line == NULL ? "" : line + strlen(key) + strspn(line + strlen(key), " \t");
}

/* The number in the innermost PID namespace, 0 for a process of the agent's own. */
static long inner_pid(const char *status)
{
    char *rest;
    long pid = strtol(value_of(status, "\nNSpid:"), &rest, 10);

    if (*rest != '\t') {
        return 0;
    }
    while (*rest == '\t') {
        pid = strtol(rest + 1, &rest, 10);
    }
    return pid;
}

static long inner_parent(const char *status)
{
    char parent[32];
    char text[STATUS_MAX];

    snprintf(parent, sizeof(parent), "%ld", strtol(value_of(status, "\nPPid:"), NULL, 10));
    read_proc(parent, "status", text, sizeof(text));
    return inner_pid(text);
}

/* /proc/PID/status counts in steps of 64 pages, more than most processes of a small guest have. */
static long resident_kib(const char *pid, const char *status)
{
    char text[STATUS_MAX];
    const char *counted;

    read_proc(pid, "smaps_rollup", text, sizeof(text));
    counted = strstr(text, "\nRss:") != NULL ? value_of(text, "\nRss:")
                                             : value_of(status, "\nVmRSS:");
    return strtol(counted, NULL, 10);
}

static uint64_t cpu_ns(const char *pid)
{
    char text[1024];
    uint64_t fields[USER_FIELD + 2];

    read_proc(pid, "stat", text, sizeof(text));
    /* The name is in parentheses and may hold anything. */
    const char *at = strrchr(text, ')');
    if (at == NULL || strlen(at) < 4 ||
        decimal_read(at + 3, fields, USER_FIELD + 2) < USER_FIELD + 2) {
        return 0;
    }
    return (fields[USER_FIELD] + fields[USER_FIELD + 1]) * TICK_NS;
}

/* Text of anybody's as JSON takes it, without control characters. */
static void make_plain(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == 0) {
            text[i] = ' ';
        } else if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            text[i] = '?';
        }
    }
    while (length > 0 && text[length - 1] == ' ') {
        length--;
    }
    text[length] = 0;
    failure_trim_utf8(text);
}

static void read_command(const char *pid, const char *status, char command[COMMAND_MAX + 1])
{
    size_t length = read_proc(pid, "cmdline", command, COMMAND_MAX + 1);

    if (length == 0) {
        const char *name = value_of(status, "Name:");
        snprintf(command, COMMAND_MAX + 1, "[%.*s]", (int)strcspn(name, "\n"), name);
        length = strlen(command);
    }
    make_plain(command, length);
}

static char *read_passwd(const struct container *container)
{
    char root[PATH_MAX];
    char *text = NULL;

    container_root(container->name, root, sizeof(root));
    int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = top < 0 ? -1 : beneath_open(top, "etc/passwd", O_RDONLY | O_NONBLOCK, 0);
    if (fd >= 0 && (text = malloc(PASSWD_MAX)) != NULL) {
        ssize_t count = read(fd, text, PASSWD_MAX - 1);
        text[count < 0 ? 0 : count] = 0;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (top >= 0) {
        close(top);
    }
    return text;
}

/* The name of *uid* in the text of a passwd file, or its number. */
static void find_user(const char *passwd, unsigned long uid, char name[NAME_SIZE])
{
    snprintf(name, NAME_SIZE, "%lu", uid);
    for (const char *line = passwd; line != NULL && *line != 0;) {
        const char *password = strchr(line, ':');
        const char *number = password == NULL ? NULL : strchr(password + 1, ':');
        const char *end = strchr(line, '\n');
        if (number == NULL) {
            return;
        }
        if ((end == NULL || number < end) && isdigit((unsigned char)number[1]) &&
            strtoul(number + 1, NULL, 10) == uid) {
            int length = (int)(password - line);
            snprintf(name, NAME_SIZE, "%.*s", length, line);
            make_plain(name, strlen(name));
            return;
        }
        line = end == NULL ? NULL : end + 1;
    }
}

static json_t *describe(const char *pid, const char *passwd, size_t *room)
{
    char status[STATUS_MAX];
    char command[COMMAND_MAX + 1];
    char user[NAME_SIZE];

    if (read_proc(pid, "status", status, sizeof(status)) == 0) {
        return NULL; /* gone meanwhile */
    }
    read_command(pid, status, command);
    find_user(passwd, strtoul(value_of(status, "\nUid:"), NULL, 10), user);
    size_t size = PROCESS_ROOM + 2 * strlen(command) + 2 * strlen(user);
    if (size > *room) {
        *room = 0;
        return NULL;
    }
    *room -= size;
    const char state[2] = {*value_of(status, "\nState:"), 0};
    return json_pack("{s:I, s:I, s:s, s:I, s:I, s:s, s:s}", "pid", (json_int_t)inner_pid(status),
                     "ppid", (json_int_t)inner_parent(status), "user", user, "rss_kib",
                     (json_int_t)resident_kib(pid, status), "cpu_ns",
                     (json_int_t)cpu_ns(pid), "state", state, "command", command);
}

enum outcome container_top(uint32_t id, const json_t *request, json_t **fields,
                           struct failure *why)
{
    const struct container *container = container_named(request, why);
    size_t room = ANSWER_ROOM;
    json_t *list;

    (void)id;
    if (container == NULL) {
        return OUTCOME_FAILED;
    }
    DIR *processes = opendir("/proc");
    if (processes == NULL) {
        failure_set(why, "internal", "the processes cannot be listed");
        return OUTCOME_FAILED;
    }
    char *passwd = read_passwd(container);
    list = json_array();
    for (const struct dirent *entry; room > 0 && json_array_size(list) < MAX_PROCESSES &&
                                     (entry = readdir(processes)) != NULL;) {
        if (isdigit((unsigned char)entry->d_name[0]) && is_in(container, entry->d_name)) {
            json_t *process = describe(entry->d_name, passwd, &room);
            if (process != NULL) {
                json_array_append_new(list, process);
            }
        }
    }
    closedir(processes);
    free(passwd);
    *fields = json_pack("{s:o}", "processes", list);
    return OUTCOME_DONE;
}
