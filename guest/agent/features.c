#include "features.h"

#include <stddef.h>

static const char *const names[] = {
    "archive",
    "clock",
    "disks",
    "entropy",
    "grow",
    "resources",
    "roots",
    "security",
    "log",
    "setup",
    "stats",
    "streams",
    "supervise",
    "sysctls",
    "volumes",
};

json_t *features_list(void)
{
    json_t *list = json_array();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        json_array_append_new(list, json_string(names[i]));
    }
    return list;
}
