#ifndef AGENT_STOPSIGNAL_H
#define AGENT_STOPSIGNAL_H

#include <jansson.h>

#include "failure.h"

/* The signal that *text* names ("SIGTERM", "TERM", "15", "SIGRTMIN+3"), or -1. */
int stopsignal_parse(const char *text);

/* The "signal" of a request; -1 with the failure. */
int stopsignal_read(const json_t *request, int *number, struct failure *why);

#endif
