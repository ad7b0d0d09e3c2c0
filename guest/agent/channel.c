#include "channel.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "loop.h"
#include "port.h"
#include "version.h"

#define PORT_LIMIT_MS 10000
#define READ_CHUNK 4096
/* Streams wait while more than this is queued for the host, requests while more than that. */
#define QUEUE_STREAMS (64 * 1024)
#define QUEUE_BUSY (128 * 1024)
/* The last part is not for events: it has room for what must arrive. */
#define QUEUE_EVENTS (QUEUE_BUSY + FRAME_MAX_OUT + FRAME_HEADER)
#define QUEUE_MAX (QUEUE_EVENTS + FRAME_MAX_OUT + FRAME_HEADER)

static struct watch port = {.fd = -1};
static struct decoder decoder;
static char *queue;
static size_t queued;
static size_t sent; /* of the queued bytes */
static bool starved; /* a stream found no room */
static void (*drained)(void);

static bool host_is_away(void)
{
    struct pollfd state = {.fd = port.fd};

    return poll(&state, 1, 0) > 0 && (state.revents & POLLHUP) != 0;
}

static void drop_queue(void)
{
    free(queue);
    queue = NULL;
    queued = 0;
    sent = 0;
}

static void write_queue(void)
{
    while (sent < queued) {
        ssize_t count = write(port.fd, queue + sent, queued - sent);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return;
        }
        sent += (size_t)count;
    }
    drop_queue();
}

static void read_port(void)
{
    uint8_t bytes[READ_CHUNK];

    while (queued - sent < QUEUE_BUSY) {
        ssize_t count = read(port.fd, bytes, sizeof(bytes));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            /* Also 0, for a host that is away, says nothing of the bytes before it: those of a
             * new connection may come before the news of it. */
            return;
        }
        decoder_feed(&decoder, bytes, (size_t)count);
        write_queue();
    }
}

static void on_port(struct watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    write_queue();
    read_port();
    if (starved && queued - sent < QUEUE_STREAMS) {
        starved = false;
        drained();
    }
}

size_t channel_room(void)
{
    if (queued - sent < QUEUE_STREAMS) {
        return FRAME_MAX_DATA;
    }
    starved = true;
    return 0;
}

void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length)
{
    if (type == FRAME_EVENT &&
        (queued - sent + FRAME_HEADER + length > QUEUE_EVENTS || host_is_away())) {
        return; /* the host that comes next asks for the state of everything */
    }
    channel_send_surely(type, 0, id, payload, length);
}

void channel_send_surely(enum frame_type type, uint8_t flags, uint32_t id, const char *payload,
                         size_t length)
{
    uint8_t header[FRAME_HEADER];
    size_t more = FRAME_HEADER + length;

    if (length > FRAME_MAX_OUT || queued - sent + more > QUEUE_MAX) {
        return;
    }
    if (sent > 0) {
        memmove(queue, queue + sent, queued - sent);
        queued -= sent;
        sent = 0;
    }
    char *grown = realloc(queue, queued + more);
    if (grown == NULL) {
        return;
    }
    queue = grown;
    frame_encode_header(header, type, flags, id, (uint32_t)length);
    memcpy(queue + queued, header, FRAME_HEADER);
    memcpy(queue + queued + FRAME_HEADER, payload, length);
    queued += more;
    write_queue();
}

void channel_flush(int limit_ms)
{
    for (int waited = 0; queued > 0 && waited < limit_ms; waited++) {
        write_queue();
        usleep(1000);
    }
}

int channel_open(frame_handler *handler, void (*on_drained)(void))
{
    /* The driver adds its ports from a work queue: for a moment there may be none. */
    for (int tries = 0; (port.fd = port_open(AGENT_PORT_NAME, O_RDWR)) < 0; tries++) {
        if (tries == PORT_LIMIT_MS) {
            return -1;
        }
        usleep(1000);
    }
    drained = on_drained;
    decoder_init(&decoder, handler, NULL);
    port.on_ready = on_port;
    /* Edge-triggered: a port without a host is ready (hung up) all the time. */
    return loop_add(&port, EPOLLIN | EPOLLOUT | EPOLLET);
}
