#include "reply.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"

static const char no_memory[] =
    "{\"ok\": false, \"error\": {\"code\": \"internal\", "
    "\"message\": \"the agent has no memory left for its answer\"}}";

static void send_object(enum frame_type type, uint32_t id, json_t *object, bool sure)
{
    char *text = object == NULL ? NULL : json_dumps(object, JSON_COMPACT);
    size_t length = text == NULL ? 0 : strlen(text);

    if (length > 0 && length <= FRAME_MAX_OUT) {
        if (sure) {
            channel_send_surely(type, 0, id, text, length);
        } else {
            channel_send(type, id, text, length);
        }
    } else if (type == FRAME_RESPONSE) {
        channel_send(type, id, no_memory, strlen(no_memory));
    }
    free(text);
    json_decref(object);
}

void reply_ok(uint32_t id, json_t *fields)
{
    json_t *answer = json_pack("{s:b}", "ok", 1);

    if (fields != NULL) {
        json_object_update(answer, fields);
        json_decref(fields);
    }
    send_object(FRAME_RESPONSE, id, answer, true);
}

void reply_failure(uint32_t id, const struct failure *why)
{
    send_object(FRAME_RESPONSE, id,
                json_pack("{s:b, s:{s:s, s:s}}", "ok", 0, "error", "code", why->code, "message",
                          why->message),
                true);
}

void reply_exit(uint32_t id, int exit_code, int signal)
{
    reply_ok(id, json_pack("{s:i, s:i}", "exit_code", exit_code, "signal", signal));
}

void event_send(json_t *event)
{
    send_object(FRAME_EVENT, 0, event, false);
}

void event_send_surely(json_t *event)
{
    send_object(FRAME_EVENT, 0, event, true);
}
