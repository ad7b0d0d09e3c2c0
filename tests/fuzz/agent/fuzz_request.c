/* The agent behind its frames: lines of requests, frames of streams, and what happens in the guest
 * meanwhile.  Every input meets a new agent: its variables are put back (see the Makefile). */
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "console.h"
#include "container.h"
#include "exit.h"
#include "fakes.h"
#include "log.h"
#include "loop.h"
#include "output.h"
#include "request.h"
#include "start.h"
#include "stream.h"

#define MAX_STEPS 40
#define FIRST_FD 16

/* Where the linker has put the variables of the agent and of the fakes. */
extern char __start_agent_data[], __stop_agent_data[];
extern char __start_agent_bss[], __stop_agent_bss[];

static char *saved;

/* Not memcpy: the sanitizer guards what is between variables. */
__attribute__((no_sanitize("address"))) static void copy(char *to, const char *from, size_t count)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}

__attribute__((no_sanitize("address"))) static void begin_anew(void)
{
    size_t data = (size_t)(__stop_agent_data - __start_agent_data);
    size_t bss = (size_t)(__stop_agent_bss - __start_agent_bss);

    if (saved == NULL) {
        saved = malloc(data + bss);
        copy(saved, __start_agent_data, data);
        copy(saved + data, __start_agent_bss, bss);
        return;
    }
    fakes_reset();
    close_range(FIRST_FD, UINT_MAX, 0);
    copy(__start_agent_data, saved, data);
    copy(__start_agent_bss, saved + data, bss);
}

/* The agent forks only for what enters a container; no process of the machine is one. */
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
    static pid_t next = 100000;

    return next++;
}

/* Instead of the fake, which keeps what one stream sends. */
void channel_send_surely(enum frame_type type, uint8_t flags, uint32_t id, const char *payload,
                         size_t length)
{
    bool fits = false;

    switch (type) {
    case FRAME_DATA:
        fits = (flags & FRAME_CHANNEL) < 2 && (flags & ~(FRAME_CHANNEL | FRAME_END)) == 0 &&
               length <= FRAME_MAX_DATA && (length > 0 || (flags & FRAME_END) != 0);
        break;
    case FRAME_WINDOW:
        fits = flags == 0 && length == FRAME_WINDOW_SIZE;
        break;
    default:
        fits = flags == 0;
        channel_send(type, id, payload, length);
        break;
    }
    if (!fits) {
        abort();
    }
}

static void serve(const char *text, size_t length)
{
    /* A copy of its own, so that reading beyond the end is seen. */
    char *payload = malloc(length);

    memcpy(payload, text, length);
    request_serve(NULL, 7, payload, length);
    free(payload);
}

static void take_frame(enum frame_type type, const char *text, size_t length)
{
    char *payload = malloc(length);
    struct frame frame = {
        .type = type,
        .flags = length > 1 && text[1] == '.' ? FRAME_END : 0,
        .id = length > 0 ? (uint32_t)(text[0] - '0') : 0,
        .payload = payload,
        .length = type == FRAME_WINDOW ? FRAME_WINDOW_SIZE : length,
    };

    memcpy(payload, text, length);
    if (type == FRAME_DATA) {
        stream_take_data(&frame);
    } else if (length >= FRAME_WINDOW_SIZE) {
        stream_take_window(&frame);
    }
    free(payload);
}

/* The process under way has been executed: what exec closes is closed. */
static void execute(void)
{
    if (fakes.report_fd >= 0) {
        close(fakes.report_fd);
        fakes.report_fd = -1;
    }
}

static void step(const char *line, size_t length)
{
    switch (line[0]) {
    case 'd':
        take_frame(FRAME_DATA, line + 1, length - 1);
        break;
    case 'w':
        take_frame(FRAME_WINDOW, line + 1, length - 1);
        break;
    case 'l':
        loop_step(0);
        break;
    case 'x':
        execute();
        loop_step(0);
        break;
    case 'o':
        if (fakes.output_fd >= 0) {
            (void)!write(fakes.output_fd, line, length);
        }
        break;
    case 'c':
        stream_abandon_all();
        break;
    default:
        serve(line, length);
        break;
    }
}

/* What an agent holds is lost with it, and its end is not seen here. */
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count;
    (void)arguments;
    signal(SIGPIPE, SIG_IGN);
    json_object_seed(1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = text + size;

    begin_anew();
    strcpy(fakes.store, "/mnt/store");
    console_init(output_resume_all);
    log_init(output_resume_all);
    if (loop_init() < 0) {
        abort();
    }
    for (int steps = 0; text < end && steps < MAX_STEPS; steps++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((stop == NULL ? end : stop) - text);
        if (length > 0) {
            step(text, length);
        }
        text += length + 1;
    }
    return 0;
}
