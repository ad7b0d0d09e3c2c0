#include <stdio.h>
#include <string.h>

#include "account.h"
#include "container.h"
#include "features.h"
#include "field.h"
#include "memory.h"
#include "pod.h"
#include "request.h"
#include "stream.h"
#include "supervise.h"
#include "version.h"

#define NONCE_MAX 128

static void add_vitals(json_t *fields)
{
    struct memory memory = memory_read();

    json_object_set_new(fields, "uptime_ns", json_integer((json_int_t)monotonic_ns()));
    json_object_set_new(fields, "mem_total_kib", json_integer(memory.total_kib));
    json_object_set_new(fields, "mem_available_kib", json_integer(memory.available_kib));
}

enum outcome hello(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    const char *nonce;
    int64_t version;

    (void)id;
    if (field_string(request, "nonce", NONCE_MAX, NULL, &nonce, why) < 0 ||
        field_integer(request, "version", 1, INT32_MAX, &version, why) < 0) {
        return OUTCOME_FAILED;
    }
    supervise_forget_host();
    account_forget_host();
    stream_abandon_all();
    *fields = json_pack("{s:s, s:i, s:s, s:o, s:s}", "nonce", nonce, "version",
                        version < PROTOCOL_VERSION ? (int)version : PROTOCOL_VERSION, "agent",
                        AGENT_VERSION, "features", features_list(), "state",
                        pod_is_configured() ? "pod" : "sandbox");
    add_vitals(*fields);
    return OUTCOME_DONE;
}

enum outcome pod_status(uint32_t id, const json_t *request, json_t **fields, struct failure *why)
{
    json_t *list = json_array();

    (void)id;
    (void)request;
    (void)why;
    for (const struct container *at = container_first(); at != NULL; at = at->next) {
        json_array_append_new(list, container_describe(at));
    }
    *fields = json_pack("{s:o, s:b}", "containers", list, "finished", supervise_is_finished());
    add_vitals(*fields);
    return OUTCOME_DONE;
}
