/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See network.h. Routes are asked for with connect() on a datagram socket: the kernel looks the way up, with all its rules, and sends
 * nothing. */
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "wire/address.h"
#include "wire/network.h"

/* IFF_LOWER_UP; <linux/if.h>, which has it, and <net/if.h> exclude one another. */
#define LOWER_UP (1U << 16)

/* Root name servers: addresses that stay where they are and that nobody has at home. */
#define WORLD4 "198.41.0.4"
#define WORLD6 "2001:503:ba3e::2:30"

static void ifaddrsp(struct ifaddrs **list)
{
        if (*list)
                freeifaddrs(*list);
}

static socklen_t address_size(const struct sockaddr *address)
{
        return address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                              : sizeof(struct sockaddr_in);
}

/* Connects a datagram socket. Returns it, or the negative errno. */
static int datagram_to(const struct sockaddr *address, uint16_t port)
{
        struct sockaddr_storage to = {};
        _cleanup_close_ int fd = -1;
        int r;

        memcpy(&to, address, address_size(address));
        if (address->sa_family == AF_INET6)
                ((struct sockaddr_in6 *) &to)->sin6_port = htons(port);
        else
                ((struct sockaddr_in *) &to)->sin_port = htons(port);
        fd = socket(address->sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *) &to, address_size(address)) < 0)
                return -errno;
        r = fd;
        fd = -1;
        return r;
}

int network_route(const struct sockaddr *address)
{
        _cleanup_close_ int fd = -1;

        if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
                return EAFNOSUPPORT;
        fd = datagram_to(address, 53);
        return fd < 0 ? -fd : 0;
}

static bool route_to_world(int family)
{
        struct sockaddr_in6 six = { .sin6_family = AF_INET6 };
        struct sockaddr_in four = { .sin_family = AF_INET };

        inet_pton(AF_INET, WORLD4, &four.sin_addr);
        inet_pton(AF_INET6, WORLD6, &six.sin6_addr);
        return network_route(family == AF_INET6 ? (struct sockaddr *) &six
                                                : (struct sockaddr *) &four) == 0;
}

static bool address_reaches(const struct ifaddrs *at)
{
        const struct sockaddr *a = at->ifa_addr;

        if (!a || (a->sa_family != AF_INET && a->sa_family != AF_INET6))
                return false;
        /* A cable that was pulled leaves everything but the carrier as it was. The kernel says "running" up to a second late. */
        if ((at->ifa_flags & IFF_LOOPBACK) || !(at->ifa_flags & IFF_UP) ||
            !(at->ifa_flags & (IFF_RUNNING | LOWER_UP)))
                return false;
        return address_allowed(a, ADDRESS_PRIVATE);
}

/* FNV-1a of the octets; sums of it do not depend on the order. */
static uint64_t address_mark(const struct sockaddr *address)
{
        const uint8_t *octets =
                address->sa_family == AF_INET6
                        ? ((const struct sockaddr_in6 *) address)->sin6_addr.s6_addr
                        : (const uint8_t *) &((const struct sockaddr_in *) address)->sin_addr;
        uint64_t hash = UINT64_C(14695981039346656037);

        for (size_t i = 0; i < (address->sa_family == AF_INET6 ? 16U : 4U); i++)
                hash = (hash ^ octets[i]) * UINT64_C(1099511628211);
        return hash;
}

int network_look(Network *ret)
{
        _cleanup_(ifaddrsp) struct ifaddrs *list = NULL;
        Network network = {};

        if (getifaddrs(&list) < 0)
                return -errno;
        for (const struct ifaddrs *at = list; at; at = at->ifa_next)
                if (address_reaches(at)) {
                        network.link = true;
                        network.addresses += address_mark(at->ifa_addr);
                }
        network.route4 = route_to_world(AF_INET);
        network.route6 = route_to_world(AF_INET6);
        *ret = network;
        return 0;
}

static bool address_equal(const struct sockaddr *a, const struct sockaddr *b)
{
        if (!a || a->sa_family != b->sa_family)
                return false;
        if (a->sa_family == AF_INET6)
                return memcmp(&((const struct sockaddr_in6 *) a)->sin6_addr,
                              &((const struct sockaddr_in6 *) b)->sin6_addr, 16) == 0;
        return a->sa_family == AF_INET && ((const struct sockaddr_in *) a)->sin_addr.s_addr ==
                                                  ((const struct sockaddr_in *) b)->sin_addr.s_addr;
}

bool network_is_own(const struct sockaddr *address)
{
        _cleanup_(ifaddrsp) struct ifaddrs *list = NULL;

        if (getifaddrs(&list) < 0)
                return false;
        for (const struct ifaddrs *at = list; at; at = at->ifa_next)
                if (address_equal(at->ifa_addr, address))
                        return true;
        return false;
}

int network_send_allowed(const struct sockaddr *address, uint16_t port)
{
        _cleanup_close_ int fd = datagram_to(address, port);

        if (fd < 0)
                return fd == -EACCES || fd == -EPERM ? -fd : 0;
        return send(fd, "", 0, MSG_NOSIGNAL) < 0 && (errno == EPERM || errno == EACCES) ? errno : 0;
}
