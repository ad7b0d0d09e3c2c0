#include "stopsignal.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "field.h"

static int in_range(long number)
{
    return number >= 1 && number <= SIGRTMAX ? (int)number : -1;
}

static int parse_number(const char *text)
{
    char *rest;

    if (!isdigit((unsigned char)text[0])) {
        return -1;
    }
    long number = strtol(text, &rest, 10);
    return *rest == 0 ? in_range(number) : -1;
}

/* "RTMIN", "RTMIN+3", "RTMAX-2". */
static int parse_realtime(const char *name)
{
    int base = strncasecmp(name, "RTMIN", 5) == 0 ? SIGRTMIN : SIGRTMAX;

    if (name[5] == 0) {
        return base;
    }
    if (name[5] != (base == SIGRTMIN ? '+' : '-')) {
        return -1;
    }
    int offset = parse_number(name + 6);
    if (offset < 0) {
        return -1;
    }
    int number = base == SIGRTMIN ? base + offset : base - offset;
    return number >= SIGRTMIN && number <= SIGRTMAX ? number : -1;
}

int stopsignal_parse(const char *text)
{
    int number = parse_number(text);
    const char *name = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text;

    if (number > 0) {
        return number;
    }
    if (strncasecmp(name, "RTMIN", 5) == 0 || strncasecmp(name, "RTMAX", 5) == 0) {
        return parse_realtime(name);
    }
    for (number = 1; number < SIGRTMIN; number++) {
        const char *known = sigabbrev_np(number);
        if (known != NULL && strcasecmp(known, name) == 0) {
            return number;
        }
    }
    return -1;
}

int stopsignal_read(const json_t *request, int *number, struct failure *why)
{
    const char *text;

    if (field_string(request, "signal", 31, NULL, &text, why) < 0) {
        return -1;
    }
    *number = stopsignal_parse(text);
    return *number < 0 ? failure_set(why, "invalid", "\"%s\" is not a signal", text) : 0;
}
