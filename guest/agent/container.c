#include "container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "health.h"

static struct container *containers;

struct container *container_first(void)
{
    return containers;
}

struct container *container_find(const char *name)
{
    struct container *at = containers;

    while (at != NULL && strcmp(at->name, name) != 0) {
        at = at->next;
    }
    return at;
}

struct container *container_named(const json_t *request, struct failure *why)
{
    const char *name;

    if (field_string(request, "name", CONTAINER_NAME_MAX, NULL, &name, why) < 0) {
        return NULL;
    }
    struct container *container = container_find(name);
    if (container == NULL) {
        failure_set(why, "state", "there is no container \"%s\"", name);
    }
    return container;
}

struct container *container_of_pid(pid_t pid)
{
    struct container *at = containers;

    while (at != NULL && at->pid != pid) {
        at = at->next;
    }
    return at;
}

size_t container_count(void)
{
    size_t count = 0;

    for (struct container *at = containers; at != NULL; at = at->next) {
        count++;
    }
    return count;
}

struct container *container_new(const char *name)
{
    struct container *container = calloc(1, sizeof(*container));

    if (container != NULL) {
        snprintf(container->name, sizeof(container->name), "%s", name);
        container->launch.fd = -1;
        container->oom.fd = -1;
        container->input_fd = -1;
        pipes_init(&container->pipes);
        container->size = (struct winsize){.ws_row = 24, .ws_col = 80};
        output_init(container);
    }
    return container;
}

void container_publish(struct container *container)
{
    struct container **link = &containers;

    while (*link != NULL) {
        link = &(*link)->next;
    }
    *link = container;
}

void container_free(struct container *container)
{
    if (container == NULL) {
        return;
    }
    field_free_strings(container->argv);
    field_free_strings(container->env);
    free(container->user);
    free(container->cwd);
    health_free(&container->health);
    security_free(&container->security);
    mount_free(container->mounts, container->mount_count);
    free(container);
}

void container_root(const char *name, char *path, size_t size)
{
    snprintf(path, size, "/run/root/%s", name);
}

static json_t *moment(uint64_t ns)
{
    return ns == 0 ? json_null() : json_integer((json_int_t)ns);
}

static const char *state_name(enum container_state state)
{
    switch (state) {
    case CONTAINER_RUNNING:
        return "running";
    case CONTAINER_EXITED:
        return "exited";
    case CONTAINER_WAITING:
        return "waiting";
    default:
        return "created";
    }
}

static json_t *text_or_null(const char *text)
{
    return text == NULL || text[0] == 0 ? json_null() : json_string(text);
}

static void describe_supervision(const struct container *container, json_t *object)
{
    const struct supervision *supervision = &container->supervision;
    bool waiting = container->state == CONTAINER_WAITING;

    json_object_set_new(object, "init", json_boolean(container->init));
    json_object_set_new(object, "restarts", json_integer(supervision->restarts));
    json_object_set_new(object, "oom_killed", json_boolean(supervision->oom_killed));
    json_object_set_new(object, "reason",
                        text_or_null(waiting ? "CrashLoopBackOff" : supervision->reason));
    json_object_set_new(object, "message", text_or_null(supervision->message));
}

json_t *container_describe(const struct container *container)
{
    bool exited = container->state == CONTAINER_EXITED || container->state == CONTAINER_WAITING;
    bool running = container->state == CONTAINER_RUNNING && container->pid != 0;
    json_t *object =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", container->name, "state",
                  state_name(container->state), "pid",
                  running ? json_integer(container->pid) : json_null(), "exit_code",
                  exited ? json_integer(container->exit_code) : json_null(), "signal",
                  exited ? json_integer(container->signal) : json_null(), "started_ns",
                  moment(container->started_ns), "output_ns", moment(container->output_ns),
                  "exited_ns", moment(exited ? container->exited_ns : 0));

    if (object != NULL) {
        describe_supervision(container, object);
        health_describe(container, object);
    }
    return object;
}
