#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "field.h"
#include "disk.h"
#include "overlay.h"
#include "podfiles.h"
#include "request.h"
#include "stopsignal.h"

#define MAX_ARGUMENTS 4096
#define MAX_STRING (128 * 1024)
#define MAX_TMPFS_MIB (16 * 1024 * 1024)

static int read_layers(const json_t *request, struct overlay *overlay, struct failure *why)
{
    const json_t *list;

    if (field_list(request, "layers", OVERLAY_MAX_LAYERS, &list, why) < 0) {
        return -1;
    }
    overlay->layer_count = json_array_size(list);
    if (overlay->layer_count == 0) {
        return failure_set(why, "invalid", "a container needs at least one layer");
    }
    for (size_t i = 0; i < overlay->layer_count; i++) {
        overlay->layers[i] = json_string_value(json_array_get(list, i));
        if (overlay->layers[i] == NULL || !field_is_name(overlay->layers[i], DISK_SERIAL_MAX)) {
            return failure_set(why, "invalid", "item %zu of \"layers\" is not a serial number", i);
        }
    }
    return 0;
}

static int read_upper(const json_t *request, struct overlay *overlay, struct failure *why)
{
    const json_t *upper = json_object_get(request, "upper");

    if (!json_is_object(upper)) {
        return failure_set(why, "invalid", "the field \"upper\" must be an object");
    }
    if (!field_is_set(upper, "serial")) {
        return field_integer(upper, "tmpfs_mib", 1, MAX_TMPFS_MIB, &overlay->tmpfs_mib, why);
    }
    if (field_string(upper, "serial", DISK_SERIAL_MAX, NULL, &overlay->upper, why) < 0) {
        return -1;
    }
    if (!field_is_name(overlay->upper, DISK_SERIAL_MAX)) {
        return failure_set(why, "invalid", "the upper's \"serial\" is not a serial number");
    }
    return 0;
}

static int read_command(const json_t *request, struct container *container, struct failure *why)
{
    const char *user, *cwd, *stop_signal;

    if (field_strings(request, "argv", MAX_ARGUMENTS, MAX_STRING, &container->argv, why) < 0 ||
        field_strings(request, "env", MAX_ARGUMENTS, MAX_STRING, &container->env, why) < 0 ||
        field_string(request, "user", 511, "", &user, why) < 0 ||
        field_string(request, "cwd", PATH_MAX - 1, "/", &cwd, why) < 0 ||
        field_string(request, "stop_signal", 31, "SIGTERM", &stop_signal, why) < 0) {
        return -1;
    }
    if (container->argv[0] == NULL) {
        return failure_set(why, "invalid", "a container needs a command");
    }
    container->stop_signal = stopsignal_parse(stop_signal[0] == 0 ? "SIGTERM" : stop_signal);
    if (container->stop_signal < 0) {
        return failure_set(why, "invalid", "\"%s\" is not a signal", stop_signal);
    }
    if (cwd[0] == 0) {
        cwd = "/";
    }
    if (cwd[0] != '/') {
        return failure_set(why, "exec", "the working directory \"%s\" is not absolute", cwd);
    }
    container->user = strdup(user);
    container->cwd = strdup(cwd);
    if (container->user == NULL || container->cwd == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    return 0;
}

enum outcome container_create(uint32_t id, const json_t *request, json_t **fields,
                              struct failure *why)
{
    struct overlay overlay = {.layer_count = 0};
    const char *name;
    char root[PATH_MAX];

    (void)id;
    (void)fields;
    if (field_string(request, "name", CONTAINER_NAME_MAX, NULL, &name, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (!field_is_name(name, CONTAINER_NAME_MAX)) {
        failure_set(why, "invalid", "\"%s\" is not a container's name", name);
        return OUTCOME_FAILED;
    }
    if (container_find(name) != NULL) {
        return OUTCOME_DONE;
    }
    if (container_count() >= CONTAINER_MAX) {
        failure_set(why, "state", "the pod has %d containers already", CONTAINER_MAX);
        return OUTCOME_FAILED;
    }
    if (podfiles_prepare() < 0) {
        failure_set(why, "internal", "the files of /etc cannot be made");
        return OUTCOME_FAILED;
    }
    struct container *container = container_new(name);
    if (container == NULL) {
        failure_set(why, "internal", "the agent has no memory left");
        return OUTCOME_FAILED;
    }
    container_root(name, root, sizeof(root));
    if (read_command(request, container, why) < 0 || read_layers(request, &overlay, why) < 0 ||
        read_upper(request, &overlay, why) < 0 || overlay_mount(&overlay, name, root, why) < 0) {
        container_free(container);
        return OUTCOME_FAILED;
    }
    container_publish(container);
    return OUTCOME_DONE;
}
