#include "console.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <termios.h>

#include "sink.h"
#include "version.h"

#define NOTICE_SIZE 128

static char buffer[16 * 1024];
static struct sink sink;
static void (*drained)(void);
static uint64_t lost; /* bytes, since the host took any */

static void open_device(void)
{
    struct termios terminal;

    if (sink.device.fd >= 0) {
        return;
    }
    int fd = open(CONSOLE_DEVICE, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    /* The log shall hold the bytes that the containers wrote, line ends included. */
    if (tcgetattr(fd, &terminal) == 0) {
        cfmakeraw(&terminal);
        tcsetattr(fd, TCSANOW, &terminal);
    }
    sink_open(&sink, fd);
}

static void on_drained(void)
{
    char notice[NOTICE_SIZE];

    if (!sink.stuck && lost > 0) {
        int length = snprintf(notice, sizeof(notice),
                              "\n[nova-hyper: %llu bytes of output are missing here: the host did "
                              "not take them]\n",
                              (unsigned long long)lost);
        lost = 0;
        sink_append(&sink, notice, (size_t)length);
    }
    drained();
}

void console_init(void (*on_room)(void))
{
    drained = on_room;
    sink_init(&sink, buffer, sizeof(buffer), on_drained);
}

size_t console_room(void)
{
    return sink.stuck ? sizeof(buffer) : sink_room(&sink);
}

void console_append(const char *bytes, size_t count)
{
    open_device();
    if (sink.stuck) {
        lost += count;
    } else {
        sink_append(&sink, bytes, count);
    }
}

bool console_is_done(void)
{
    return sink_is_done(&sink);
}
