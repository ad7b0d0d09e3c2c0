#include "upper.h"

#include "container.h"
#include "disk.h"
#include "field.h"

#define MAX_TMPFS_MIB (16 * 1024 * 1024)

static int parse_name(const json_t *object, const char *key, size_t max, const char **name,
                      struct failure *why)
{
    *name = NULL;
    if (!field_is_set(object, key)) {
        return 0;
    }
    if (field_string(object, key, max, NULL, name, why) < 0) {
        return -1;
    }
    return field_is_name(*name, max)
               ? 0
               : failure_set(why, "invalid", "the upper's \"%s\" is not a name: \"%s\"", key, *name);
}

int upper_parse(const json_t *object, struct upper *upper, struct failure *why)
{
    if (!json_is_object(object)) {
        return failure_set(why, "invalid", "the field \"upper\" must be an object");
    }
    if (parse_name(object, "serial", DISK_SERIAL_MAX, &upper->serial, why) < 0 ||
        parse_name(object, "tmpfs", CONTAINER_NAME_MAX, &upper->tmpfs, why) < 0 ||
        parse_name(object, "dir", CONTAINER_NAME_MAX, &upper->dir, why) < 0) {
        return -1;
    }
    return upper->serial == NULL
               ? field_integer(object, "tmpfs_mib", 1, MAX_TMPFS_MIB, &upper->tmpfs_mib, why)
               : 0;
}
