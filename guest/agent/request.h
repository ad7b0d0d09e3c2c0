#ifndef AGENT_REQUEST_H
#define AGENT_REQUEST_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"

/* What an operation returns: its answer is in *fields*, will be sent later by whoever keeps the
 * id, or is the failure *why*. */
enum outcome { OUTCOME_FAILED = -1, OUTCOME_DONE = 0, OUTCOME_LATER = 1 };

/* Serve one operation; *fields* may stay NULL. */
typedef enum outcome operation(uint32_t id, const json_t *request, json_t **fields,
                               struct failure *why);

struct operation_entry {
    const char *name;
    operation *serve;
};

/* Take a request as it came from the host and answer it; a frame_handler. */
void request_serve(void *context, uint32_t id, const char *payload, size_t length);

/* The operations of this agent, ended by a NULL name. */
extern const struct operation_entry operations[];

operation hello;
operation pod_configure;
operation pod_start;
operation pod_status;
operation container_create;
operation container_start;
operation container_stop;
operation container_signal;
operation container_attach;
operation exec_start;
operation pod_stats;
operation container_top;
operation archive_get;
operation archive_put;
operation upper_export;
operation stream_resize;
operation stream_signal;
operation stream_close;
operation volume_create;
operation volume_write;
operation account_set;
operation clock_set;
operation entropy_add;
operation disk_mount;
operation swap_on;
operation power_off;

#endif
