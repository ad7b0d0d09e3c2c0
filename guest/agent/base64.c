#include "base64.h"

#include <string.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static int digit(char c)
{
    const char *at = c == 0 ? NULL : strchr(alphabet, c);

    return at == NULL ? -1 : (int)(at - alphabet);
}

int base64_decode(const char *text, uint8_t *bytes, size_t size, size_t *count)
{
    size_t length = strlen(text);
    size_t padding = 0;

    if (length % 4 != 0) {
        return -1;
    }
    while (padding < 2 && padding < length && text[length - 1 - padding] == '=') {
        padding++;
    }
    if (length / 4 * 3 - padding > size) {
        return -1;
    }
    *count = 0;
    for (size_t i = 0; i < length; i += 4) {
        uint32_t group = 0;
        size_t missing = i + 4 == length ? padding : 0;
        for (size_t j = 0; j < 4; j++) {
            int value = j >= 4 - missing ? 0 : digit(text[i + j]);
            if (value < 0) {
                return -1;
            }
            group = group << 6 | (uint32_t)value;
        }
        for (size_t j = 0; j < 3 - missing; j++) {
            bytes[(*count)++] = (uint8_t)(group >> (16 - 8 * j));
        }
    }
    return 0;
}
