#ifndef AGENT_FAILURE_H
#define AGENT_FAILURE_H

/* Why something could not be done: a code of the protocol and one sentence for the user. */
struct failure {
    char code[16];
    char message[1008];
    int exit_code; /* what a shell would exit with, of a command that cannot be executed; or 0 */
};

/* Fill *why* and return -1, so that callers can `return failure_set(...)`. */
int failure_set(struct failure *why, const char *code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Cut *text* at its first byte that is not part of a whole UTF-8 sequence. */
void failure_trim_utf8(char *text);

#endif
