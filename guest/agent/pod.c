#include "pod.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "entropy.h"
#include "field.h"
#include "network.h"
#include "podfiles.h"
#include "request.h"
#include "wallclock.h"

#define HOSTNAME_MAX 64
#define MAX_NICS 32
#define MAX_NAMESERVERS 16
#define MAX_SEARCH 32

static bool configured;

bool pod_is_configured(void)
{
    return configured;
}

static int set_hostname(const char *hostname, struct failure *why)
{
    if (hostname[0] != 0 && !field_is_name(hostname, HOSTNAME_MAX)) {
        return failure_set(why, "invalid", "\"%s\" is not a host name", hostname);
    }
    if (hostname[0] != 0 && sethostname(hostname, strlen(hostname)) < 0) {
        return failure_set(why, "internal", "the host name cannot be set: %s", strerror(errno));
    }
    return 0;
}

static bool is_address(const char *text)
{
    uint8_t address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static int check_dns(const json_t *nameservers, const json_t *search, struct failure *why)
{
    for (size_t i = 0; i < json_array_size(nameservers); i++) {
        const char *text = json_string_value(json_array_get(nameservers, i));
        if (text == NULL || !is_address(text)) {
            return failure_set(why, "invalid", "item %zu of \"nameservers\" is not an address", i);
        }
    }
    for (size_t i = 0; i < json_array_size(search); i++) {
        const char *text = json_string_value(json_array_get(search, i));
        if (text == NULL || !field_is_name(text, 253)) {
            return failure_set(why, "invalid", "item %zu of \"search\" is not a domain", i);
        }
    }
    return 0;
}

/* The first address of the pod, without its prefix length; false when there is none. */
static bool first_address(const json_t *nics, char *address, size_t size)
{
    for (size_t i = 0; i < json_array_size(nics); i++) {
        const json_t *addresses = json_object_get(json_array_get(nics, i), "addresses");
        const char *text = json_string_value(json_array_get(addresses, 0));
        if (text != NULL) {
            snprintf(address, size, "%.*s", (int)strcspn(text, "/"), text);
            return true;
        }
    }
    return false;
}

static int write_files(const json_t *request, const char *hostname, const json_t *nics,
                       struct failure *why)
{
    const json_t *dns = json_object_get(request, "dns");
    const json_t *nameservers, *search;
    char address[INET6_ADDRSTRLEN];

    if (field_list(dns, "nameservers", MAX_NAMESERVERS, &nameservers, why) < 0 ||
        field_list(dns, "search", MAX_SEARCH, &search, why) < 0 ||
        check_dns(nameservers, search, why) < 0) {
        return -1;
    }
    bool addressed = first_address(nics, address, sizeof(address));
    if (podfiles_write(hostname, addressed ? address : NULL, nameservers, search) < 0) {
        return failure_set(why, "internal", "the files of /etc cannot be written: %s",
                           strerror(errno));
    }
    return 0;
}

enum outcome pod_configure(uint32_t id, const json_t *request, json_t **fields,
                           struct failure *why)
{
    const char *hostname;
    const json_t *nics;

    (void)id;
    (void)fields;
    if (field_string(request, "hostname", HOSTNAME_MAX, "", &hostname, why) < 0 ||
        field_list(request, "nics", MAX_NICS, &nics, why) < 0 ||
        (field_is_set(request, "time_ns") && wallclock_set(request, why) < 0) ||
        (field_is_set(request, "entropy") && entropy_take(request, why) < 0) ||
        set_hostname(hostname, why) < 0 || network_configure(nics, why) < 0 ||
        write_files(request, hostname, nics, why) < 0) {
        return OUTCOME_FAILED;
    }
    configured = true;
    return OUTCOME_DONE;
}
