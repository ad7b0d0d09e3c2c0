#include "probe.h"

#include <arpa/inet.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "container.h"
#include "field.h"

#define MAX_ARGUMENTS 1024
#define MAX_STRING (128 * 1024)
#define MAX_HEADERS 64
#define MAX_HEADER 4096
#define MAX_PATH 2048
#define MAX_MS (24 * 3600 * 1000)
/* More often would be load, not news. */
#define MIN_PERIOD_MS 50
#define MAX_COUNT 100000

static bool is_printable(const char *text, bool blanks)
{
    for (; *text != 0; text++) {
        if ((unsigned char)*text < (blanks ? ' ' : '!') || *text == 127) {
            return false;
        }
    }
    return true;
}

static int parse_address(const json_t *object, struct probe *probe, struct failure *why)
{
    uint8_t address[sizeof(struct in6_addr)];
    const char *host;
    int64_t port;

    if (field_string(object, "host", INET6_ADDRSTRLEN, "", &host, why) < 0 ||
        field_integer(object, "port", 1, 65535, &port, why) < 0) {
        return -1;
    }
    probe->port = (uint16_t)port;
    if (host[0] == 0) {
        return 0;
    }
    if (strcmp(host, "localhost") == 0) {
        host = "127.0.0.1";
    }
    if (inet_pton(AF_INET, host, address) != 1 && inet_pton(AF_INET6, host, address) != 1) {
        return failure_set(why, "invalid", "the host of a probe must be an address: \"%s\"", host);
    }
    probe->host = strdup(host);
    return probe->host == NULL ? failure_set(why, "internal", "the agent has no memory left") : 0;
}

static int add_header(const json_t *item, FILE *stream, struct probe *probe, struct failure *why)
{
    const char *name = json_string_value(json_array_get(item, 0));
    const char *value = json_string_value(json_array_get(item, 1));

    if (json_array_size(item) != 2 || name == NULL || value == NULL || name[0] == 0 ||
        strlen(name) + strlen(value) > MAX_HEADER || !is_printable(name, false) ||
        strchr(name, ':') != NULL || !is_printable(value, true)) {
        return failure_set(why, "invalid", "a probe's header is not a name and a value");
    }
    probe->has_host_header = probe->has_host_header || strcasecmp(name, "Host") == 0;
    fprintf(stream, "%s: %s\r\n", name, value);
    return 0;
}

static int parse_headers(const json_t *object, struct probe *probe, struct failure *why)
{
    const json_t *list;
    size_t size;

    if (field_list(object, "headers", MAX_HEADERS, &list, why) < 0) {
        return -1;
    }
    FILE *stream = open_memstream(&probe->headers, &size);
    if (stream == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    int result = 0;
    for (size_t i = 0; result == 0 && i < json_array_size(list); i++) {
        result = add_header(json_array_get(list, i), stream, probe, why);
    }
    return fclose(stream) != 0 ? failure_set(why, "internal", "the agent has no memory left")
                               : result;
}

static int parse_http(const json_t *object, struct probe *probe, struct failure *why)
{
    const char *path;

    if (parse_address(object, probe, why) < 0 || parse_headers(object, probe, why) < 0 ||
        field_string(object, "path", MAX_PATH, "/", &path, why) < 0) {
        return -1;
    }
    if (path[0] != '/' || !is_printable(path, false)) {
        return failure_set(why, "invalid", "a probe cannot get the path \"%s\"", path);
    }
    probe->path = strdup(path);
    return probe->path == NULL ? failure_set(why, "internal", "the agent has no memory left") : 0;
}

static int parse_exec(const json_t *object, struct probe *probe, struct failure *why)
{
    if (field_strings(object, "argv", MAX_ARGUMENTS, MAX_STRING, &probe->argv, why) < 0) {
        return -1;
    }
    return probe->argv[0] == NULL ? failure_set(why, "invalid", "a probe has no command") : 0;
}

static int parse_kind(const json_t *object, struct probe *probe, struct failure *why)
{
    const json_t *exec, *tcp, *http;

    if (field_object(object, "exec", &exec, why) < 0 ||
        field_object(object, "tcp", &tcp, why) < 0 ||
        field_object(object, "http", &http, why) < 0) {
        return -1;
    }
    if ((exec != NULL) + (tcp != NULL) + (http != NULL) != 1) {
        return failure_set(why, "invalid", "a probe must be one of \"exec\", \"tcp\" and \"http\"");
    }
    if (exec != NULL) {
        probe->kind = PROBE_EXEC;
        return parse_exec(exec, probe, why);
    }
    if (tcp != NULL) {
        probe->kind = PROBE_TCP;
        return parse_address(tcp, probe, why);
    }
    probe->kind = PROBE_HTTP;
    return parse_http(http, probe, why);
}

int probe_parse(const json_t *probes, const char *key, struct probe **probe, struct failure *why)
{
    const json_t *object;

    if (field_object(probes, key, &object, why) < 0) {
        return -1;
    }
    if (object == NULL) {
        return 0;
    }
    *probe = calloc(1, sizeof(**probe));
    if (*probe == NULL) {
        return failure_set(why, "internal", "the agent has no memory left");
    }
    (*probe)->socket.fd = (*probe)->report_fd = -1;
    if (parse_kind(object, *probe, why) < 0 ||
        field_integer_or(object, "delay_ms", 0, MAX_MS, 0, &(*probe)->delay_ms, why) < 0 ||
        field_integer_or(object, "period_ms", 1, MAX_MS, 10000, &(*probe)->period_ms, why) < 0 ||
        field_integer_or(object, "timeout_ms", 1, MAX_MS, 1000, &(*probe)->timeout_ms, why) < 0 ||
        field_integer_or(object, "successes", 1, MAX_COUNT, 1, &(*probe)->successes, why) < 0 ||
        field_integer_or(object, "failures", 1, MAX_COUNT, 3, &(*probe)->failures, why) < 0) {
        return -1;
    }
    if ((*probe)->period_ms < MIN_PERIOD_MS) {
        (*probe)->period_ms = MIN_PERIOD_MS;
    }
    return 0;
}

void probe_free(struct probe *probe)
{
    if (probe == NULL) {
        return;
    }
    field_free_strings(probe->argv);
    free(probe->host);
    free(probe->path);
    free(probe->headers);
    free(probe);
}

static void give_up(struct probe *probe)
{
    if (probe->kind == PROBE_EXEC) {
        probe_exec_give_up(probe);
    } else {
        probe_net_give_up(probe);
    }
}

static void on_limit(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, limit);

    if (probe->container->freezes > 0) {
        timer_set(&probe->limit, (uint64_t)probe->timeout_ms * 1000000u);
        return; /* it cannot answer: that is no fault of its own */
    }
    probe->timed_out = true;
    give_up(probe);
    if (probe->kind != PROBE_EXEC) {
        probe_answer(probe, false, "no answer within %lld ms", (long long)probe->timeout_ms);
    }
}

static void on_next(struct timer *timer)
{
    struct probe *probe = container_of(timer, struct probe, next);

    if (probe->container->freezes > 0) {
        timer_set(&probe->next, (uint64_t)probe->period_ms * 1000000u);
        return;
    }
    probe->began_ns = monotonic_ns();
    probe->under_way = true;
    probe->timed_out = false;
    probe->limit.on_due = on_limit;
    timer_set(&probe->limit, (uint64_t)probe->timeout_ms * 1000000u);
    if (probe->kind == PROBE_EXEC) {
        probe_exec_begin(probe);
    } else {
        probe_net_begin(probe);
    }
}

void probe_begin(struct probe *probe, struct container *container,
                 void (*on_answer)(struct probe *probe, bool good))
{
    probe->container = container;
    probe->on_answer = on_answer;
    probe->in_a_row = 0;
    probe->note[0] = 0;
    probe->next.on_due = on_next;
    timer_set(&probe->next, (uint64_t)probe->delay_ms * 1000000u);
}

void probe_end(struct probe *probe)
{
    probe->on_answer = NULL;
    timer_cancel(&probe->next);
    timer_cancel(&probe->limit);
    if (probe->under_way) {
        give_up(probe);
        probe->under_way = probe->process.pid > 0;
    }
}

void probe_answer(struct probe *probe, bool good, const char *format, ...)
{
    va_list arguments;
    uint64_t period_ns = (uint64_t)probe->period_ms * 1000000u;

    probe->under_way = false;
    timer_cancel(&probe->limit);
    if (probe->on_answer == NULL) {
        return;
    }
    va_start(arguments, format);
    vsnprintf(probe->note, sizeof(probe->note), format, arguments);
    va_end(arguments);
    failure_trim_utf8(probe->note);
    probe->in_a_row = probe->good == good ? probe->in_a_row + 1 : 1;
    probe->good = good;
    uint64_t took_ns = monotonic_ns() - probe->began_ns;
    timer_set(&probe->next, took_ns < period_ns ? period_ns - took_ns : 0);
    probe->on_answer(probe, good);
}
