#include "channel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "file.h"
#include "loop.h"
#include "version.h"

#define PORTS "/sys/class/virtio-ports"
#define READ_CHUNK 4096
/* Requests wait in the port while more than this is queued for the host. */
#define QUEUE_BUSY (128 * 1024)
#define QUEUE_MAX (QUEUE_BUSY + 2 * (FRAME_MAX_OUT + FRAME_HEADER))

static struct watch port = {.fd = -1};
static struct decoder decoder;
static char *queue;
static size_t queued;
static size_t sent; /* of the queued bytes */

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
}

void channel_send(enum frame_type type, uint32_t id, const char *payload, size_t length)
{
    uint8_t header[FRAME_HEADER];
    size_t more = FRAME_HEADER + length;

    if (length > FRAME_MAX_OUT || queued - sent + more > QUEUE_MAX) {
        return;
    }
    if (type == FRAME_EVENT && host_is_away()) {
        return; /* the host that comes next asks for the state of everything */
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
    frame_encode_header(header, type, id, (uint32_t)length);
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

static bool find_port(char *path, size_t size)
{
    bool found = false;
    DIR *ports = opendir(PORTS);

    if (ports == NULL) {
        return false;
    }
    for (struct dirent *entry; !found && (entry = readdir(ports)) != NULL;) {
        char file[sizeof(PORTS) + sizeof(entry->d_name) + 8];
        char name[64];
        snprintf(file, sizeof(file), PORTS "/%s/name", entry->d_name);
        found = entry->d_name[0] != '.' && file_read_line(file, name, sizeof(name)) == 0 &&
                strcmp(name, AGENT_PORT_NAME) == 0;
        if (found) {
            snprintf(path, size, "/dev/%s", entry->d_name);
        }
    }
    closedir(ports);
    return found;
}

int channel_open(frame_handler *handler)
{
    char path[280];

    /* The driver adds its ports from a work queue: for a moment there may be none. */
    for (int tries = 0; !find_port(path, sizeof(path)); tries++) {
        if (tries == 10000) {
            return -1;
        }
        usleep(1000);
    }
    for (int tries = 0; (port.fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC)) < 0; tries++) {
        if (tries == 1000) {
            return -1;
        }
        usleep(1000);
    }
    decoder_init(&decoder, handler, NULL);
    port.on_ready = on_port;
    /* Edge-triggered: a port without a host is ready (hung up) all the time. */
    return loop_add(&port, EPOLLIN | EPOLLOUT | EPOLLET);
}
