#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "container.h"
#include "field.h"
#include "overlay.h"
#include "podfiles.h"
#include "request.h"
#include "stopsignal.h"

#define MAX_ARGUMENTS 4096
#define MAX_STRING (128 * 1024)
#define MAX_GRACE_MS (24 * 3600 * 1000)
#define DEFAULT_GRACE_MS 30000

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
    container->has_input = json_is_true(json_object_get(request, "stdin"));
    container->tty = json_is_true(json_object_get(request, "tty"));
    container->user = strdup(user);
    container->cwd = strdup(cwd);
    if (container->user == NULL || container->cwd == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    return 0;
}

static int read_rules(const json_t *request, struct container *container, struct failure *why)
{
    struct supervision *supervision = &container->supervision;

    if (field_boolean(request, "init", false, &container->init, why) < 0 ||
        restart_parse(request, &supervision->restart, why) < 0 ||
        field_integer_or(request, "grace_ms", 0, MAX_GRACE_MS, DEFAULT_GRACE_MS,
                         &supervision->grace_ms, why) < 0 ||
        resources_parse(request, &container->resources, why) < 0 ||
        security_parse(request, &container->security, why) < 0 ||
        health_parse(request, &container->health, why) < 0 ||
        mount_parse(request, container->mounts, &container->mount_count, why) < 0) {
        return -1;
    }
    return 0;
}

/* Mount what the container sees; its volumes may lie on what its overlay has mounted. */
static int mount_all(const struct overlay *overlay, struct container *container,
                     struct failure *why)
{
    char root[PATH_MAX];

    container_root(container->name, root, sizeof(root));
    if (overlay_mount(overlay, container->name, root, container->upper, sizeof(container->upper),
                      why) < 0) {
        return -1;
    }
    if (mount_find_volumes(container->mounts, container->mount_count, why) < 0) {
        overlay_unmount(overlay, container->name, root);
        return -1;
    }
    return 0;
}

enum outcome container_create(uint32_t id, const json_t *request, json_t **fields,
                              struct failure *why)
{
    struct overlay overlay = {.layer_count = 0};
    const char *name;

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
    if (read_command(request, container, why) < 0 || read_rules(request, container, why) < 0 ||
        overlay_parse(request, &overlay, why) < 0 ||
        mount_all(&overlay, container, why) < 0) {
        container_free(container);
        return OUTCOME_FAILED;
    }
    container_publish(container);
    return OUTCOME_DONE;
}
