#include "sysctl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "field.h"
#include "file.h"

#define MAX_SYSCTLS 128
#define MAX_NAME 255
#define MAX_VALUE 4095

int sysctl_path(const char *name, char *path, size_t size)
{
    char separator = name[strcspn(name, "./")];
    size_t start = (size_t)snprintf(path, size, "/proc/sys/");
    size_t length = strlen(name);

    if (length == 0 || length > MAX_NAME || start + length >= size) {
        return -1;
    }
    memcpy(path + start, name, length + 1);
    for (char *at = path + start; *at != 0; at++) {
        if (separator == '.' && (*at == '.' || *at == '/')) {
            /* net.ipv4.conf.eth0/100: the dot of a name is written as a slash. */
            *at = *at == '.' ? '/' : '.';
        }
    }
    /* Each part is a name by itself: no "..", nothing empty. */
    for (const char *at = path + start; at != NULL;) {
        char part[MAX_NAME + 1];
        size_t count = strcspn(at, "/");
        memcpy(part, at, count);
        part[count] = 0;
        if (!field_is_name(part, MAX_NAME)) {
            return -1;
        }
        at = at[count] == 0 ? NULL : at + count + 1;
    }
    return 0;
}

static int set_one(const char *name, const json_t *value, struct failure *why)
{
    char path[MAX_NAME + 16];

    if (sysctl_path(name, path, sizeof(path)) < 0) {
        return failure_set(why, "invalid", "\"%s\" is not the name of a kernel parameter", name);
    }
    if (!json_is_string(value) || json_string_length(value) > MAX_VALUE) {
        return failure_set(why, "invalid",
                           "the kernel parameter %s must be a string of at most %d bytes", name,
                           MAX_VALUE);
    }
    if (file_write(path, json_string_value(value)) < 0) {
        return errno == ENOENT
                   ? failure_set(why, "invalid", "the guest's kernel has no parameter %s", name)
                   : failure_set(why, "invalid", "the kernel parameter %s cannot be \"%.100s\": %s",
                                 name, json_string_value(value), strerror(errno));
    }
    return 0;
}

int sysctl_set_all(const json_t *request, struct failure *why)
{
    const json_t *object;
    const char *name;
    json_t *value;

    if (field_object(request, "sysctls", &object, why) < 0) {
        return -1;
    }
    if (json_object_size(object) > MAX_SYSCTLS) {
        return failure_set(why, "invalid", "a pod has at most %d kernel parameters", MAX_SYSCTLS);
    }
    /* jansson's iteration does not change the object. */
    json_object_foreach((json_t *)object, name, value) {
        if (set_one(name, value, why) < 0) {
            return -1;
        }
    }
    return 0;
}
