#ifndef AGENT_NETLINK_H
#define AGENT_NETLINK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* An address or a network; *family* is AF_INET or AF_INET6. */
struct network_address {
    int family;
    uint8_t bytes[sizeof(struct in6_addr)];
    uint8_t prefix; /* length in bits */
};

/* Parse "10.0.0.5/24", "fd00::1/64" or an address alone (a host prefix); -1 when it is neither. */
int network_address_parse(const char *text, struct network_address *address);

/* rtnetlink, one request at a time; each returns 0 or -1 with errno. */
int netlink_link_up(int index, uint32_t mtu);
int netlink_add_address(int index, const struct network_address *address);

/* *gateway* NULL: the destination is on the link.  *onlink*: the gateway is, whatever the
 * addresses say. */
int netlink_add_route(int index, const struct network_address *destination,
                      const struct network_address *gateway, uint32_t metric, bool onlink);

#endif
