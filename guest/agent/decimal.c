#include "decimal.h"

#include <stdlib.h>

size_t decimal_read(const char *text, uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *rest;
        numbers[i] = strtoull(text, &rest, 10);
        if (rest == text) {
            return i;
        }
        text = rest;
    }
    return count;
}
