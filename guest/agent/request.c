#include "request.h"

#include <string.h>

#include "field.h"
#include "reply.h"

static const struct operation_entry *find(const char *name)
{
    for (const struct operation_entry *at = operations; at->name != NULL; at++) {
        if (strcmp(at->name, name) == 0) {
            return at;
        }
    }
    return NULL;
}

static enum outcome serve(uint32_t id, const json_t *request, const json_error_t *error,
                          json_t **fields, struct failure *why)
{
    const char *name;

    if (request == NULL) {
        failure_set(why, "invalid", "the request is not JSON: %s", error->text);
        return OUTCOME_FAILED;
    }
    if (!json_is_object(request)) {
        failure_set(why, "invalid", "the request is not a JSON object");
        return OUTCOME_FAILED;
    }
    if (field_string(request, "op", 64, NULL, &name, why) < 0) {
        return OUTCOME_FAILED;
    }
    const struct operation_entry *entry = find(name);
    if (entry == NULL) {
        failure_set(why, "unknown_op", "this agent has no operation \"%s\"", name);
        return OUTCOME_FAILED;
    }
    return entry->serve(id, request, fields, why);
}

void request_serve(void *context, uint32_t id, const char *payload, size_t length)
{
    struct failure why = {.code = "internal", .message = "the agent gave no reason"};
    json_t *fields = NULL;
    json_error_t error = {.text = ""};
    json_t *request = json_loadb(payload, length, JSON_REJECT_DUPLICATES, &error);

    (void)context;
    switch (serve(id, request, &error, &fields, &why)) {
    case OUTCOME_DONE:
        reply_ok(id, fields);
        break;
    case OUTCOME_FAILED:
        reply_failure(id, &why);
        json_decref(fields);
        break;
    case OUTCOME_LATER:
        break;
    }
    json_decref(request);
}
