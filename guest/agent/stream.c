#include "stream.h"

#include <errno.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "channel.h"
#include "field.h"
#include "reply.h"

/* The host is told of what was taken in pieces of at least this, or when nothing waits. */
#define WINDOW_STEP (16 * 1024)

static struct stream *streams;

struct stream *stream_find(uint32_t id)
{
    struct stream *at = streams;

    while (at != NULL && at->id != id) {
        at = at->next;
    }
    return at;
}

int stream_id(const json_t *request, uint32_t *id, struct failure *why)
{
    int64_t value;
    size_t count = 0;

    if (field_integer(request, "stream", 1, UINT32_MAX, &value, why) < 0) {
        return -1;
    }
    for (const struct stream *at = streams; at != NULL; at = at->next) {
        count++;
    }
    if (count >= STREAM_MAX) {
        return failure_set(why, "state", "the pod has %d sessions and transfers already",
                           STREAM_MAX);
    }
    if (stream_find((uint32_t)value) != NULL) {
        return failure_set(why, "invalid", "stream %lld is in use", (long long)value);
    }
    *id = (uint32_t)value;
    return 0;
}

struct stream *stream_named(const json_t *request, struct failure *why)
{
    int64_t id;

    if (field_integer(request, "stream", 1, UINT32_MAX, &id, why) < 0) {
        return NULL;
    }
    struct stream *stream = stream_find((uint32_t)id);
    if (stream == NULL) {
        failure_set(why, "state", "there is no stream %lld", (long long)id);
    }
    return stream;
}

int stream_read_size(const json_t *object, struct winsize *size, struct failure *why)
{
    int64_t rows, columns;

    if (field_integer(object, "rows", 0, UINT16_MAX, &rows, why) < 0 ||
        field_integer(object, "cols", 0, UINT16_MAX, &columns, why) < 0) {
        return -1;
    }
    *size = (struct winsize){.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    return 0;
}

static void grant(struct stream *stream)
{
    uint8_t payload[FRAME_WINDOW_SIZE];
    struct input *input = &stream->input;

    if (stream->orphan || input->taken == 0 ||
        (input->taken < WINDOW_STEP && input->count > 0)) {
        return;
    }
    frame_write_be32(payload, (uint32_t)input->taken);
    input->taken = 0;
    channel_send_surely(FRAME_WINDOW, 0, stream->id, (const char *)payload, sizeof(payload));
}

static void on_taken(struct input *input)
{
    grant(container_of(input, struct stream, input));
}

void stream_open(struct stream *stream, uint32_t id)
{
    stream->id = id;
    stream->window = STREAM_WINDOW;
    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        stream->sources[i].watch.fd = -1;
        stream->sources[i].stream = stream;
    }
    input_init(&stream->input, on_taken);
    stream->next = streams;
    streams = stream;
}

size_t stream_room(const struct stream *stream)
{
    size_t room = channel_room();

    return room < stream->window ? room : stream->window;
}

void stream_send(struct stream *stream, unsigned int channel, const char *bytes, size_t count)
{
    if (stream->orphan) {
        return;
    }
    stream->window -= count;
    channel_send_surely(FRAME_DATA, (uint8_t)channel, stream->id, bytes, count);
}

static void pause_source(struct source *source)
{
    /* Not just with an empty mask: a hang-up would be reported again and again. */
    loop_remove(&source->watch);
    source->paused = true;
}

static void resume(struct stream *stream)
{
    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        struct source *source = &stream->sources[i];
        if (source->watch.fd >= 0 && source->paused) {
            source->paused = false;
            loop_add(&source->watch, EPOLLIN);
        }
    }
    if (stream->on_room != NULL) {
        stream->on_room(stream);
    }
}

static void close_source(struct source *source)
{
    if (source->watch.fd < 0) {
        return;
    }
    if (!source->paused) {
        loop_remove(&source->watch);
    }
    close(source->watch.fd);
    source->watch.fd = -1;
    source->paused = false;
}

static void end_source(struct source *source)
{
    struct stream *stream = source->stream;
    uint8_t flags = (uint8_t)(source - stream->sources) | FRAME_END;

    close_source(source);
    if (!stream->orphan) {
        channel_send_surely(FRAME_DATA, flags, stream->id, "", 0);
    }
    stream->on_source_end(stream);
}

static void on_source(struct watch *watch, uint32_t events)
{
    static char bytes[FRAME_MAX_DATA];
    struct source *source = container_of(watch, struct source, watch);
    size_t room = stream_room(source->stream);

    (void)events;
    if (room == 0) {
        pause_source(source);
        return;
    }
    room = room < source->left ? room : source->left;
    ssize_t count = read(watch->fd, bytes, room);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (count <= 0) { /* EIO: nobody has the terminal open any more */
        end_source(source);
        return;
    }
    stream_send(source->stream, (unsigned int)(source - source->stream->sources), bytes,
                (size_t)count);
    if (source->left != SIZE_MAX) {
        source->left -= (size_t)count;
        if (source->left == 0) {
            end_source(source);
        }
    }
}

void stream_copy(struct stream *stream, unsigned int channel, int fd)
{
    struct source *source = &stream->sources[channel];

    source->watch.fd = fd;
    source->watch.on_ready = on_source;
    source->left = SIZE_MAX;
    source->paused = false;
    loop_add(&source->watch, EPOLLIN);
}

void stream_drain(struct stream *stream)
{
    struct source *open[STREAM_SOURCES];
    size_t count = 0;

    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        int waiting = 0;
        if (stream->sources[i].watch.fd < 0) {
            continue;
        }
        (void)!ioctl(stream->sources[i].watch.fd, FIONREAD, &waiting);
        stream->sources[i].left = waiting > 0 ? (size_t)waiting : 0;
        if (waiting <= 0) {
            open[count++] = &stream->sources[i];
        }
    }
    /* The last one may end the stream itself. */
    for (size_t i = 0; i < count; i++) {
        end_source(open[i]);
    }
}

bool stream_is_drained(const struct stream *stream)
{
    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        if (stream->sources[i].watch.fd >= 0) {
            return false;
        }
    }
    return true;
}

void stream_finish(struct stream *stream, const struct stream_result *result)
{
    struct stream **link = &streams;

    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        close_source(&stream->sources[i]);
    }
    input_close(&stream->input);
    while (*link != NULL && *link != stream) {
        link = &(*link)->next;
    }
    if (*link == NULL) {
        return; /* an orphan */
    }
    *link = stream->next;
    if (result == NULL) {
        return;
    }
    event_send_surely(json_pack(
        "{s:s, s:I, s:o, s:o, s:s?}", "event", "stream.closed", "stream", (json_int_t)stream->id,
        "exit_code", result->exited ? json_integer(result->exit_code) : json_null(), "signal",
        result->exited ? json_integer(result->signal) : json_null(), "error", result->error));
}

void stream_hang_up(struct stream *stream)
{
    for (size_t i = 0; i < STREAM_SOURCES; i++) {
        close_source(&stream->sources[i]);
    }
    input_close(&stream->input);
    stream->on_close(stream);
}

void stream_take_data(const struct frame *frame)
{
    /* One that has just ended is no mistake: the host cannot know yet. */
    struct stream *stream = stream_find(frame->id);

    if (stream == NULL) {
        return;
    }
    if (input_add(&stream->input, frame->payload, frame->length) < 0) {
        stream_hang_up(stream); /* sent beyond its window */
        return;
    }
    if ((frame->flags & FRAME_END) != 0) {
        if (stream->on_input_end != NULL) {
            stream->on_input_end(stream);
        } else {
            input_end(&stream->input);
        }
    }
    grant(stream);
}

void stream_take_window(const struct frame *frame)
{
    struct stream *stream = stream_find(frame->id);
    uint32_t more = frame_read_be32((const uint8_t *)frame->payload);

    if (stream == NULL) {
        return;
    }
    stream->window += more;
    if (stream->window > STREAM_WINDOW) {
        stream->window = STREAM_WINDOW;
    }
    resume(stream);
}

void stream_resume_all(void)
{
    for (struct stream *at = streams, *next; at != NULL; at = next) {
        next = at->next;
        resume(at);
    }
}

void stream_abandon_all(void)
{
    while (streams != NULL) {
        struct stream *stream = streams;
        streams = stream->next;
        stream->orphan = true;
        stream_hang_up(stream);
    }
}
