#include "field.h"

#include <stdlib.h>
#include <string.h>

int field_string(const json_t *object, const char *key, size_t max, const char *fallback,
                 const char **value, struct failure *why)
{
    const json_t *item = json_object_get(object, key);

    if (item == NULL || json_is_null(item)) {
        if (fallback == NULL) {
            return failure_set(why, "invalid", "the field \"%s\" is missing", key);
        }
        *value = fallback;
        return 0;
    }
    if (!json_is_string(item) || json_string_length(item) > max) {
        return failure_set(why, "invalid", "the field \"%s\" must be a string of at most %zu bytes",
                           key, max);
    }
    *value = json_string_value(item);
    return 0;
}

int field_integer(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
                  struct failure *why)
{
    const json_t *item = json_object_get(object, key);

    if (!json_is_integer(item) || json_integer_value(item) < min ||
        json_integer_value(item) > max) {
        return failure_set(why, "invalid", "the field \"%s\" must be an integer from %lld to %lld",
                           key, (long long)min, (long long)max);
    }
    *value = json_integer_value(item);
    return 0;
}

int field_integer_or(const json_t *object, const char *key, int64_t min, int64_t max,
                     int64_t fallback, int64_t *value, struct failure *why)
{
    *value = fallback;
    return field_is_set(object, key) ? field_integer(object, key, min, max, value, why) : 0;
}

int field_boolean(const json_t *object, const char *key, bool fallback, bool *value,
                  struct failure *why)
{
    const json_t *item = json_object_get(object, key);

    *value = fallback;
    if (item == NULL || json_is_null(item)) {
        return 0;
    }
    if (!json_is_boolean(item)) {
        return failure_set(why, "invalid", "the field \"%s\" must be true or false", key);
    }
    *value = json_is_true(item);
    return 0;
}

int field_object(const json_t *object, const char *key, const json_t **value, struct failure *why)
{
    const json_t *item = json_object_get(object, key);

    *value = NULL;
    if (item == NULL || json_is_null(item)) {
        return 0;
    }
    if (!json_is_object(item)) {
        return failure_set(why, "invalid", "the field \"%s\" must be an object", key);
    }
    *value = item;
    return 0;
}

bool field_is_set(const json_t *object, const char *key)
{
    const json_t *item = json_object_get(object, key);

    return item != NULL && !json_is_null(item);
}

int field_list(const json_t *object, const char *key, size_t max, const json_t **list,
               struct failure *why)
{
    const json_t *item = json_object_get(object, key);

    *list = NULL;
    if (item == NULL || json_is_null(item)) {
        return 0;
    }
    if (!json_is_array(item) || json_array_size(item) > max) {
        return failure_set(why, "invalid", "the field \"%s\" must be a list of at most %zu items",
                           key, max);
    }
    *list = item;
    return 0;
}

void field_free_strings(char **strings)
{
    for (char **at = strings; at != NULL && *at != NULL; at++) {
        free(*at);
    }
    free(strings);
}

int field_strings(const json_t *object, const char *key, size_t max, size_t max_bytes,
                  char ***strings, struct failure *why)
{
    const json_t *list;

    if (field_list(object, key, max, &list, why) < 0) {
        return -1;
    }
    size_t count = json_array_size(list);
    char **copy = calloc(count + 1, sizeof(*copy));
    if (copy == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item) || json_string_length(item) > max_bytes) {
            field_free_strings(copy);
            return failure_set(why, "invalid",
                               "item %zu of \"%s\" must be a string of at most %zu bytes", i, key,
                               max_bytes);
        }
        copy[i] = strdup(json_string_value(item));
        if (copy[i] == NULL) {
            field_free_strings(copy);
            return failure_set(why, "internal", "the agent has no memory left");
        }
    }
    *strings = copy;
    return 0;
}

static bool is_alphanumeric(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool field_is_name(const char *text, size_t max)
{
    size_t length = strlen(text);

    if (length == 0 || length > max || text[0] == '.' || text[0] == '-') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (!is_alphanumeric(text[i]) && text[i] != '.' && text[i] != '_' && text[i] != '-') {
            return false;
        }
    }
    return true;
}
