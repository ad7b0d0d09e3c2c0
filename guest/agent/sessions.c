#include "field.h"
#include "request.h"
#include "stopsignal.h"
#include "stream.h"

enum outcome stream_resize(uint32_t id, const json_t *request, json_t **fields,
                           struct failure *why)
{
    struct stream *stream = stream_named(request, why);
    struct winsize size;

    (void)id;
    (void)fields;
    if (stream == NULL || stream_read_size(request, &size, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (stream->resize == NULL) {
        failure_set(why, "invalid", "stream %u has no terminal", stream->id);
        return OUTCOME_FAILED;
    }
    return stream->resize(stream, &size, why) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}

enum outcome stream_signal(uint32_t id, const json_t *request, json_t **fields,
                           struct failure *why)
{
    struct stream *stream = stream_named(request, why);
    int number;

    (void)id;
    (void)fields;
    if (stream == NULL || stopsignal_read(request, &number, why) < 0) {
        return OUTCOME_FAILED;
    }
    if (stream->signal == NULL) {
        failure_set(why, "invalid", "stream %u has no process", stream->id);
        return OUTCOME_FAILED;
    }
    return stream->signal(stream, number, why) < 0 ? OUTCOME_FAILED : OUTCOME_DONE;
}

enum outcome stream_close(uint32_t id, const json_t *request, json_t **fields,
                          struct failure *why)
{
    int64_t number;

    (void)id;
    (void)fields;
    if (field_integer(request, "stream", 1, UINT32_MAX, &number, why) < 0) {
        return OUTCOME_FAILED;
    }
    struct stream *stream = stream_find((uint32_t)number);
    if (stream != NULL) { /* it may have ended a moment ago */
        stream_hang_up(stream);
    }
    return OUTCOME_DONE;
}
