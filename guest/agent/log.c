#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "port.h"
#include "sink.h"
#include "version.h"
#include "wallclock.h"

#define PREFIX_MAX 160
#define RECORD_MAX (LOG_LINE_MAX + PREFIX_MAX)
#define NOTICE_MAX 96
/* The driver adds its ports one after the other, from a work queue. */
#define SEARCH_NS 2000000000u

static char buffer[4 * RECORD_MAX];
static struct sink sink;
static uint64_t begun;
static bool absent;

static bool is_open(void)
{
    if (sink.device.fd >= 0 || absent) {
        return !absent;
    }
    int fd = port_open(LOG_PORT_NAME, O_WRONLY);
    if (fd < 0) {
        absent = monotonic_ns() - begun > SEARCH_NS;
        return false;
    }
    sink_open(&sink, fd);
    return true;
}

void log_init(void (*on_drained)(void))
{
    begun = monotonic_ns();
    sink_init(&sink, buffer, sizeof(buffer), on_drained);
}

static void put(const struct log_line *line, char flag, const char *bytes, size_t count)
{
    char prefix[PREFIX_MAX];
    struct timespec now;
    struct tm date;

    clock_gettime(CLOCK_REALTIME, &now);
    wallclock_split(now.tv_sec, &date);
    int length = snprintf(prefix, sizeof(prefix), "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ %s %s %c ",
                          date.tm_year + 1900, date.tm_mon + 1, date.tm_mday, date.tm_hour,
                          date.tm_min, date.tm_sec, now.tv_nsec, line->container, line->stream,
                          flag);
    sink_append(&sink, prefix, (size_t)length);
    sink_append(&sink, bytes, count);
    sink_append(&sink, "\n", 1);
}

/* Room for any record, and after a loss for the news of it. */
static bool has_room(void)
{
    return sink_room(&sink) >= RECORD_MAX + PREFIX_MAX + NOTICE_MAX;
}

static void put_notice(struct log_line *line)
{
    char notice[NOTICE_MAX];
    int length = snprintf(notice, sizeof(notice),
                          "[nova-hyper: %llu bytes of output are missing here: the host did not "
                          "take them]",
                          (unsigned long long)line->lost);

    line->lost = 0;
    put(line, 'F', notice, (size_t)length);
}

/* Send or lose one record; false when it has to wait. */
static bool send_record(struct log_line *line, char flag, const char *bytes, size_t count)
{
    if (sink.stuck) {
        line->lost += count;
        return true;
    }
    if (!has_room()) {
        return false;
    }
    if (line->lost > 0) {
        put_notice(line);
    }
    put(line, flag, bytes, count);
    return true;
}

static void forget(struct log_line *line)
{
    free(line->bytes);
    line->bytes = NULL;
    line->length = 0;
}

void log_resume(struct log_line *line)
{
    size_t done = 0;

    if (line->lost > 0 && !sink.stuck && has_room()) {
        put_notice(line);
    }
    while (done < line->length) {
        const char *at = line->bytes + done;
        size_t left = line->length - done;
        const char *end = memchr(at, '\n', left);
        size_t count = end == NULL ? left : (size_t)(end - at);
        if (end == NULL && left < LOG_LINE_MAX && !line->ended) {
            break;
        }
        if (!send_record(line, end == NULL && !line->ended ? 'P' : 'F', at, count)) {
            break;
        }
        done += count + (end != NULL);
    }
    line->length -= done;
    if (line->length == 0) {
        forget(line);
    } else if (done > 0) {
        memmove(line->bytes, line->bytes + done, line->length);
    }
}

size_t log_room(const struct log_line *line)
{
    return is_open() ? LOG_LINE_MAX - line->length : LOG_LINE_MAX;
}

void log_append(struct log_line *line, const char *bytes, size_t count)
{
    if (!is_open()) {
        return;
    }
    if (line->bytes == NULL) {
        line->bytes = malloc(LOG_LINE_MAX);
        if (line->bytes == NULL) {
            line->lost += count;
            return;
        }
    }
    memcpy(line->bytes + line->length, bytes, count);
    line->length += count;
    log_resume(line);
}

void log_end(struct log_line *line)
{
    line->ended = true;
    log_resume(line);
}

bool log_is_sent(const struct log_line *line)
{
    return line->length == 0;
}

void log_reset(struct log_line *line)
{
    forget(line);
    line->ended = false;
}

bool log_is_done(void)
{
    return sink_is_done(&sink);
}
