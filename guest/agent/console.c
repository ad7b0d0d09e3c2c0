#include "console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <termios.h>
#include <unistd.h>

#include "loop.h"
#include "version.h"

#define BUFFER_SIZE (16 * 1024)

static char buffer[BUFFER_SIZE];
static size_t start, end; /* buffer[start..end) waits */
static struct watch device = {.fd = -1};
static bool waiting; /* for the device to take more */
static void (*drained)(void);

static bool open_device(void)
{
    struct termios terminal;

    if (device.fd >= 0) {
        return true;
    }
    device.fd = open(CONSOLE_DEVICE, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (device.fd < 0) {
        return false;
    }
    /* The log shall hold the bytes that the containers wrote, line ends included. */
    if (tcgetattr(device.fd, &terminal) == 0) {
        cfmakeraw(&terminal);
        tcsetattr(device.fd, TCSANOW, &terminal);
    }
    return true;
}

static void write_buffer(void)
{
    while (start < end) {
        ssize_t count = open_device() ? write(device.fd, buffer + start, end - start)
                                      : (ssize_t)(end - start);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && errno == EAGAIN) {
            break;
        }
        start = count < 0 ? end : start + (size_t)count;
    }
    if (start == end) {
        start = end = 0;
    }
    if (waiting != (start < end)) {
        waiting = !waiting;
        if (waiting) {
            loop_add(&device, EPOLLOUT);
        } else {
            loop_remove(&device);
        }
    }
}

static void on_device(struct watch *watch, uint32_t events)
{
    (void)watch;
    (void)events;
    write_buffer();
    if (start == end) {
        drained();
    }
}

void console_init(void (*on_drained)(void))
{
    drained = on_drained;
    device.on_ready = on_device;
}

size_t console_room(void)
{
    return BUFFER_SIZE - end;
}

void console_append(const char *bytes, size_t count)
{
    memcpy(buffer + end, bytes, count);
    end += count;
    write_buffer();
}

bool console_is_empty(void)
{
    return start == end;
}
