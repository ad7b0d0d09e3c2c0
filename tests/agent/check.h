#ifndef TESTS_AGENT_CHECK_H
#define TESTS_AGENT_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A test is a function; RUN it from main.  The first CHECK that fails ends the program. */
#define CHECK(condition)                                                                         \
    do {                                                                                         \
        if (!(condition)) {                                                                      \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, __func__, #condition);        \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

#define CHECK_TEXT(actual, expected)                                                             \
    do {                                                                                         \
        const char *check_actual = (actual);                                                     \
        if (check_actual == NULL || strcmp(check_actual, (expected)) != 0) {                     \
            fprintf(stderr, "%s:%d: %s: \"%s\" is not \"%s\"\n", __FILE__, __LINE__, __func__,   \
                    check_actual == NULL ? "(null)" : check_actual, (expected));                 \
            exit(1);                                                                             \
        }                                                                                        \
    } while (0)

#define RUN(test)                                                                                \
    do {                                                                                         \
        test();                                                                                  \
        printf("ok %s\n", #test);                                                                \
    } while (0)

/* xorshift64: fast, and the same sequence in every run. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
