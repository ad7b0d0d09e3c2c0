#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct message {
    struct nlmsghdr header;
    uint8_t body[256];
};

static size_t bytes_of(int family)
{
    return family == AF_INET ? sizeof(struct in_addr) : sizeof(struct in6_addr);
}

int network_address_parse(const char *text, struct network_address *address)
{
    char host[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    char *rest;

    if (length >= sizeof(host)) {
        return -1;
    }
    memcpy(host, text, length);
    host[length] = 0;
    memset(address, 0, sizeof(*address));
    address->family = strchr(host, ':') == NULL ? AF_INET : AF_INET6;
    if (inet_pton(address->family, host, address->bytes) != 1) {
        return -1;
    }
    unsigned long bits = bytes_of(address->family) * 8;
    address->prefix = (uint8_t)bits;
    if (text[length] == 0) {
        return 0;
    }
    const char *number = text + length + 1;
    if (*number < '0' || *number > '9') {
        return -1;
    }
    unsigned long prefix = strtoul(number, &rest, 10);
    if (*rest != 0 || prefix > bits) {
        return -1;
    }
    address->prefix = (uint8_t)prefix;
    return 0;
}

static void *begin(struct message *message, uint16_t type, uint16_t flags, size_t size)
{
    memset(message, 0, sizeof(*message));
    message->header.nlmsg_len = NLMSG_LENGTH((uint32_t)size);
    message->header.nlmsg_type = type;
    message->header.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    return message->body;
}

static void append(struct message *message, uint16_t type, const void *data, size_t size)
{
    struct rtattr *attribute =
        (struct rtattr *)((char *)message + NLMSG_ALIGN(message->header.nlmsg_len));

    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), data, size);
    message->header.nlmsg_len =
        NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
}

static int receive_answer(int fd)
{
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        uint8_t rest[512];
    } answer;
    ssize_t count = recv(fd, &answer, sizeof(answer), 0);

    if (count < (ssize_t)NLMSG_LENGTH(sizeof(answer.error)) ||
        answer.header.nlmsg_type != NLMSG_ERROR) {
        errno = EPROTO;
        return -1;
    }
    errno = -answer.error.error;
    return answer.error.error == 0 ? 0 : -1;
}

static int transact(const struct message *message)
{
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    if (fd < 0) {
        return -1;
    }
    int result = send(fd, message, message->header.nlmsg_len, 0) < 0 ? -1 : receive_answer(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

int netlink_link_up(int index, uint32_t mtu)
{
    struct message message;
    struct ifinfomsg *link = begin(&message, RTM_NEWLINK, 0, sizeof(*link));

    link->ifi_index = index;
    link->ifi_flags = IFF_UP;
    link->ifi_change = IFF_UP;
    if (mtu > 0) {
        append(&message, IFLA_MTU, &mtu, sizeof(mtu));
    }
    return transact(&message);
}

int netlink_add_address(int index, const struct network_address *address)
{
    struct message message;
    struct ifaddrmsg *body =
        begin(&message, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*body));
    size_t size = bytes_of(address->family);

    body->ifa_family = (uint8_t)address->family;
    body->ifa_prefixlen = address->prefix;
    body->ifa_index = (uint32_t)index;
    /* Neutron gives each address once; waiting for duplicates would delay every bind(). */
    body->ifa_flags = address->family == AF_INET6 ? IFA_F_NODAD : 0;
    append(&message, IFA_LOCAL, address->bytes, size);
    append(&message, IFA_ADDRESS, address->bytes, size);
    if (address->family == AF_INET && address->prefix < 31) {
        uint8_t broadcast[4];
        for (size_t i = 0; i < sizeof(broadcast); i++) {
            int fixed = address->prefix - (int)i * 8;
            uint8_t mask = (uint8_t)(fixed >= 8 ? 0 : fixed <= 0 ? 0xff : 0xff >> fixed);
            broadcast[i] = address->bytes[i] | mask;
        }
        append(&message, IFA_BROADCAST, broadcast, sizeof(broadcast));
    }
    return transact(&message);
}

int netlink_add_route(int index, const struct network_address *destination,
                      const struct network_address *gateway, uint32_t metric, bool onlink)
{
    struct message message;
    struct rtmsg *route = begin(&message, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                                sizeof(*route));
    size_t size = bytes_of(destination->family);
    uint32_t interface = (uint32_t)index;

    route->rtm_family = (uint8_t)destination->family;
    route->rtm_dst_len = destination->prefix;
    route->rtm_table = RT_TABLE_MAIN;
    route->rtm_protocol = RTPROT_STATIC;
    route->rtm_scope = gateway == NULL ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
    route->rtm_type = RTN_UNICAST;
    route->rtm_flags = onlink ? RTNH_F_ONLINK : 0;
    if (destination->prefix > 0) {
        append(&message, RTA_DST, destination->bytes, size);
    }
    if (gateway != NULL) {
        append(&message, RTA_GATEWAY, gateway->bytes, size);
    }
    append(&message, RTA_OIF, &interface, sizeof(interface));
    append(&message, RTA_PRIORITY, &metric, sizeof(metric));
    return transact(&message);
}
