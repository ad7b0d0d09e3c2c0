#ifndef AGENT_FIELD_H
#define AGENT_FIELD_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "failure.h"

/* Typed, bounded access to the fields of a request.  Each returns 0, or -1 with the failure
 * `invalid` that names the field.  What they give lives as long as the object. */

/* A string of at most *max* bytes; *fallback* where missing, or NULL when it is required. */
int field_string(const json_t *object, const char *key, size_t max, const char *fallback,
                 const char **value, struct failure *why);

/* An integer from *min* to *max*. */
int field_integer(const json_t *object, const char *key, int64_t min, int64_t max, int64_t *value,
                  struct failure *why);

/* The same, or *fallback* where missing or null. */
int field_integer_or(const json_t *object, const char *key, int64_t min, int64_t max,
                     int64_t fallback, int64_t *value, struct failure *why);

/* True or false; *fallback* where missing or null. */
int field_boolean(const json_t *object, const char *key, bool fallback, bool *value,
                  struct failure *why);

/* An object; NULL, of which every field is missing, where missing or null. */
int field_object(const json_t *object, const char *key, const json_t **value,
                 struct failure *why);

/* True when *object* has *key* and it is not null. */
bool field_is_set(const json_t *object, const char *key);

/* A list of at most *max* items (an empty one when missing). */
int field_list(const json_t *object, const char *key, size_t max, const json_t **list,
               struct failure *why);

/* A list of strings of at most *max_bytes* each, as a NULL-terminated copy that the caller
 * frees with field_free_strings. */
int field_strings(const json_t *object, const char *key, size_t max, size_t max_bytes,
                  char ***strings, struct failure *why);
void field_free_strings(char **strings);

/* True for a name that is safe as a file name: letters, digits, '.', '_', '-', not first a dot
 * or dash, at most *max* bytes. */
bool field_is_name(const char *text, size_t max);

#endif
