#ifndef AGENT_REPLY_H
#define AGENT_REPLY_H

#include <jansson.h>
#include <stdint.h>

#include "failure.h"

/* Answer the request *id* with {"ok": true} and the members of *fields*, an object that is taken
 * over (NULL: none). */
void reply_ok(uint32_t id, json_t *fields);
void reply_failure(uint32_t id, const struct failure *why);

/* The answer to a stop. */
void reply_exit(uint32_t id, int exit_code, int signal);

/* Send an event; takes the object over.  A host that is away or does not read misses it, unless it
 * is of a kind that comes at most once for each request. */
void event_send(json_t *event);
void event_send_surely(json_t *event);

#endif
