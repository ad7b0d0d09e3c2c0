#include "failure.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static size_t sequence_length(uint8_t first)
{
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xc2 && first < 0xe0) {
        return 2;
    }
    if (first >= 0xe0 && first < 0xf0) {
        return 3;
    }
    return first >= 0xf0 && first < 0xf5 ? 4 : 0;
}

void failure_trim_utf8(char *text)
{
    uint8_t *at = (uint8_t *)text;
    while (*at != 0) {
        size_t length = sequence_length(*at);
        bool whole = length > 0;
        for (size_t i = 1; whole && i < length; i++) {
            whole = (at[i] & 0xc0) == 0x80;
        }
        if (!whole) {
            *at = 0;
            return;
        }
        at += length;
    }
}

int failure_set(struct failure *why, const char *code, const char *format, ...)
{
    va_list arguments;

    why->exit_code = 0;
    snprintf(why->code, sizeof(why->code), "%s", code);
    va_start(arguments, format);
    vsnprintf(why->message, sizeof(why->message), format, arguments);
    va_end(arguments);
    failure_trim_utf8(why->message);
    return -1;
}
