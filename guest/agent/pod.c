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
#include "sysctl.h"
#include "wallclock.h"

#define HOSTNAME_MAX 64
#define MAX_NICS 32
#define MAX_NAMESERVERS 16
#define MAX_SEARCH 32
#define MAX_HOSTS 256
#define MAX_HOST_NAMES 64

static bool configured;
static char address_of_pod[INET6_ADDRSTRLEN];

bool pod_is_configured(void)
{
    return configured;
}

const char *pod_address(void)
{
    return address_of_pod[0] == 0 ? NULL : address_of_pod;
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

static int check_hosts(const json_t *hosts, struct failure *why)
{
    for (size_t i = 0; i < json_array_size(hosts); i++) {
        const json_t *host = json_array_get(hosts, i);
        const char *ip;
        const json_t *names;
        if (field_string(host, "ip", INET6_ADDRSTRLEN, NULL, &ip, why) < 0 ||
            field_list(host, "names", MAX_HOST_NAMES, &names, why) < 0) {
            return -1;
        }
        if (!is_address(ip) || json_array_size(names) == 0) {
            return failure_set(why, "invalid", "item %zu of \"hosts\" has no address or name", i);
        }
        for (size_t j = 0; j < json_array_size(names); j++) {
            const char *name = json_string_value(json_array_get(names, j));
            if (name == NULL || !field_is_name(name, 253)) {
                return failure_set(why, "invalid", "a name in item %zu of \"hosts\" is not one", i);
            }
        }
    }
    return 0;
}

/* Empty when there is none. */
static void remember_address(const json_t *nics)
{
    address_of_pod[0] = 0;
    for (size_t i = 0; i < json_array_size(nics); i++) {
        const json_t *addresses = json_object_get(json_array_get(nics, i), "addresses");
        const char *text = json_string_value(json_array_get(addresses, 0));
        if (text != NULL) {
            snprintf(address_of_pod, sizeof(address_of_pod), "%.*s", (int)strcspn(text, "/"), text);
            return;
        }
    }
}

static int write_files(const json_t *request, const char *hostname, const json_t *nics,
                       struct failure *why)
{
    const json_t *dns = json_object_get(request, "dns");
    const json_t *nameservers, *search, *hosts;

    if (field_list(dns, "nameservers", MAX_NAMESERVERS, &nameservers, why) < 0 ||
        field_list(dns, "search", MAX_SEARCH, &search, why) < 0 ||
        check_dns(nameservers, search, why) < 0 ||
        field_list(request, "hosts", MAX_HOSTS, &hosts, why) < 0 || check_hosts(hosts, why) < 0) {
        return -1;
    }
    remember_address(nics);
    if (podfiles_write(hostname, pod_address(), hosts, nameservers, search) < 0) {
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
        write_files(request, hostname, nics, why) < 0 || sysctl_set_all(request, why) < 0) {
        return OUTCOME_FAILED;
    }
    configured = true;
    return OUTCOME_DONE;
}
