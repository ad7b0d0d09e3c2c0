#include "environment.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

const char *environment_get(char *const *environment, const char *name)
{
    size_t length = strlen(name);

    for (char *const *at = environment; *at != NULL; at++) {
        if (strncmp(*at, name, length) == 0 && (*at)[length] == '=') {
            return *at + length + 1;
        }
    }
    return NULL;
}

static size_t count_of(char *const *list)
{
    size_t count = 0;

    while (list[count] != NULL) {
        count++;
    }
    return count;
}

char **environment_complete(char *const *given, const char *home, const char *hostname)
{
    const char *const defaults[][2] = {
        {"PATH", DEFAULT_PATH}, {"HOME", home}, {"HOSTNAME", hostname}};
    const size_t default_count = sizeof(defaults) / sizeof(defaults[0]);
    size_t count = count_of(given);
    char **complete = calloc(count + default_count + 1, sizeof(*complete));

    if (complete == NULL) {
        return NULL;
    }
    memcpy(complete, given, count * sizeof(*complete));
    for (size_t i = 0; i < default_count; i++) {
        if (environment_get(given, defaults[i][0]) != NULL) {
            continue;
        }
        if (asprintf(&complete[count], "%s=%s", defaults[i][0], defaults[i][1]) < 0) {
            complete[count] = NULL;
            environment_free(complete, given);
            return NULL;
        }
        count++;
    }
    return complete;
}

void environment_free(char **environment, char *const *given)
{
    for (char **at = environment + count_of(given); *at != NULL; at++) {
        free(*at);
    }
    free(environment);
}

static bool has_name_of(char *const *environment, const char *variable)
{
    size_t length = strcspn(variable, "=");

    for (char *const *at = environment; *at != NULL; at++) {
        if (strncmp(*at, variable, length) == 0 && (*at)[length] == '=') {
            return true;
        }
    }
    return false;
}

char **environment_merge(char *const *base, char *const *over)
{
    size_t count = count_of(over);
    char **merged = calloc(count_of(base) + count + 1, sizeof(*merged));

    if (merged == NULL) {
        return NULL;
    }
    memcpy(merged, over, count * sizeof(*merged));
    for (char *const *at = base; *at != NULL; at++) {
        if (!has_name_of(over, *at)) {
            merged[count++] = *at;
        }
    }
    return merged;
}
