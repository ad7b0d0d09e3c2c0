#include "network.h"

#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "field.h"
#include "file.h"
#include "netlink.h"

#define INTERFACES "/sys/class/net"
#define WAIT_MS 2000
#define STEP_MS 5
#define MAX_ADDRESSES 64
#define MAX_ROUTES 256

/* The index of the interface with this MAC, 0 when there is none (now). */
static int look(const char *mac)
{
    int index = 0;
    DIR *interfaces = opendir(INTERFACES);

    if (interfaces == NULL) {
        return 0;
    }
    for (struct dirent *entry; index == 0 && (entry = readdir(interfaces)) != NULL;) {
        char path[sizeof(INTERFACES) + sizeof(entry->d_name) + 12];
        char line[32];
        snprintf(path, sizeof(path), INTERFACES "/%s/address", entry->d_name);
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "lo") != 0 &&
            file_read_line(path, line, sizeof(line)) == 0 && strcasecmp(line, mac) == 0) {
            index = (int)if_nametoindex(entry->d_name);
        }
    }
    closedir(interfaces);
    return index;
}

static int find(const char *mac)
{
    int index = look(mac);

    for (int waited = 0; index == 0 && waited < WAIT_MS; waited += STEP_MS) {
        usleep(STEP_MS * 1000);
        index = look(mac);
    }
    return index;
}

static int add_addresses(int index, const json_t *nic, struct failure *why)
{
    const json_t *list;
    struct network_address address;

    if (field_list(nic, "addresses", MAX_ADDRESSES, &list, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (text == NULL || network_address_parse(text, &address) < 0) {
            return failure_set(why, "invalid", "item %zu of \"addresses\" is not an address", i);
        }
        if (netlink_add_address(index, &address) < 0) {
            return failure_set(why, "network", "the address %s cannot be set: %s", text,
                               strerror(errno));
        }
    }
    return 0;
}

static int add_route(int index, const json_t *item, uint32_t metric, struct failure *why)
{
    const char *destination_text, *gateway_text;
    struct network_address destination, gateway;
    const struct network_address *through = NULL;

    if (field_string(item, "destination", 64, NULL, &destination_text, why) < 0 ||
        field_string(item, "gateway", 64, "", &gateway_text, why) < 0) {
        return -1;
    }
    if (network_address_parse(destination_text, &destination) < 0) {
        return failure_set(why, "invalid", "\"%s\" is not a route's destination",
                           destination_text);
    }
    if (gateway_text[0] != 0) {
        if (network_address_parse(gateway_text, &gateway) < 0 ||
            gateway.family != destination.family) {
            return failure_set(why, "invalid", "\"%s\" is not a gateway to %s", gateway_text,
                               destination_text);
        }
        through = &gateway;
    }
    int result = netlink_add_route(index, &destination, through, metric, false);
    if (result < 0 && through != NULL && (errno == ENETUNREACH || errno == EHOSTUNREACH)) {
        /* Some networks have their gateway outside the subnet. */
        result = netlink_add_route(index, &destination, through, metric, true);
    }
    if (result < 0 && errno != EEXIST) {
        return failure_set(why, "network", "the route to %s cannot be set: %s", destination_text,
                           strerror(errno));
    }
    return 0;
}

static int configure(const json_t *nic, size_t position, struct failure *why)
{
    const char *mac;
    const json_t *routes;
    int64_t mtu = 0;

    if (field_string(nic, "mac", 17, NULL, &mac, why) < 0 ||
        (field_is_set(nic, "mtu") && field_integer(nic, "mtu", 0, 65535, &mtu, why) < 0) ||
        field_list(nic, "routes", MAX_ROUTES, &routes, why) < 0) {
        return -1;
    }
    int index = find(mac);
    if (index == 0) {
        return failure_set(why, "network", "there is no network interface with MAC %s", mac);
    }
    if (netlink_link_up(index, (uint32_t)mtu) < 0) {
        return failure_set(why, "network", "the network interface %s cannot be brought up: %s",
                           mac, strerror(errno));
    }
    if (add_addresses(index, nic, why) < 0) {
        return -1;
    }
    for (size_t i = 0; i < json_array_size(routes); i++) {
        /* Default routes of several interfaces differ by their metric; the first one wins. */
        if (add_route(index, json_array_get(routes, i), 100 + (uint32_t)position, why) < 0) {
            return -1;
        }
    }
    return 0;
}

int network_configure(const json_t *nics, struct failure *why)
{
    if (netlink_link_up((int)if_nametoindex("lo"), 0) < 0) {
        return failure_set(why, "network", "lo cannot be brought up: %s", strerror(errno));
    }
    for (size_t i = 0; i < json_array_size(nics); i++) {
        if (configure(json_array_get(nics, i), i, why) < 0) {
            return -1;
        }
    }
    return 0;
}
