#include "container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"

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
        container->output.fd = -1;
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
    default:
        return "created";
    }
}

json_t *container_describe(const struct container *container)
{
    bool exited = container->state == CONTAINER_EXITED;
    bool running = container->state == CONTAINER_RUNNING && container->pid != 0;

    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "name", container->name, "state",
                     state_name(container->state), "pid",
                     running ? json_integer(container->pid) : json_null(), "exit_code",
                     exited ? json_integer(container->exit_code) : json_null(), "signal",
                     exited ? json_integer(container->signal) : json_null(), "started_ns",
                     moment(container->started_ns), "output_ns", moment(container->output_ns),
                     "exited_ns", moment(exited ? container->exited_ns : 0));
}
