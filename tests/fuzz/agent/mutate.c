/* Mutations that leave JSON what it is: words, numbers and lines take each other's place. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);

#include "words.h"

static const char *const values[] = {
    "0",  "1",     "-1",    "null",  "true", "false", "[]",   "{}",         "\"\"",
    "64", "65536", "1e999", "[[]]",  "1.5",  "{\"\":0}", "4294967296", "9223372036854775807",
    "-9223372036854775808", "\"\\u0000\"", "\"../x\"", "\"a\\nb\"", "\"AAAA\"", "1000000000000",
};

static size_t replace(uint8_t *data, size_t size, size_t most, size_t at, size_t old,
                      const char *with)
{
    size_t length = strlen(with);

    if (size - old + length > most) {
        return size;
    }
    memmove(data + at + length, data + at + old, size - at - old);
    memcpy(data + at, with, length);
    return size - old + length;
}

/* Put something else in the place of the word or number at or after *at*. */
static size_t exchange(uint8_t *data, size_t size, size_t most, size_t at, unsigned int dice)
{
    while (at < size && data[at] != '"' && (data[at] < '0' || data[at] > '9')) {
        at++;
    }
    size_t end = at + 1;
    if (at >= size) {
        return size;
    }
    if (data[at] == '"') {
        while (end < size && data[end] != '"' && data[end] != '\n') {
            end++;
        }
        end += end < size && data[end] == '"';
    } else {
        while (end < size && data[end] >= '0' && data[end] <= '9') {
            end++;
        }
    }
    const size_t count = sizeof(words) / sizeof(words[0]);
    const char *with = dice % 3 != 0 ? words[dice / 3 % count]
                                     : values[dice / 3 % (sizeof(values) / sizeof(values[0]))];
    return replace(data, size, most, at, end - at, with);
}

/* Repeat a line, or take one away. */
static size_t shuffle(uint8_t *data, size_t size, size_t most, size_t at, unsigned int dice)
{
    size_t begin = at;
    size_t end = at;

    while (begin > 0 && data[begin - 1] != '\n') {
        begin--;
    }
    while (end < size && data[end] != '\n') {
        end++;
    }
    end += end < size;
    size_t length = end - begin;
    if (dice % 2 == 0) {
        memmove(data + begin, data + end, size - end);
        return size - length;
    }
    if (size + length > most) {
        return size;
    }
    memmove(data + end + length, data + end, size - end);
    memmove(data + end, data + begin, length);
    return size + length;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned int seed)
{
    unsigned int state = seed;

    if (size == 0 || rand_r(&state) % 4 == 0) {
        return LLVMFuzzerMutate(data, size, most);
    }
    for (int left = rand_r(&state) % 4; left >= 0 && size > 0; left--) {
        size_t at = (size_t)rand_r(&state) % size;
        unsigned int dice = (unsigned int)rand_r(&state);
        size = rand_r(&state) % 5 != 0 ? exchange(data, size, most, at, dice)
                                       : shuffle(data, size, most, at, dice);
    }
    return size > 0 ? size : LLVMFuzzerMutate(data, 0, most);
}
