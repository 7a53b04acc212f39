/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See address.h. The special-purpose registries of RFC 6890 as tables; what is in none of them and not global
 * unicast is refused: a new kind of address has to be allowed on purpose. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "wire/address.h"

typedef enum Reach {
        REACH_PUBLIC,
        REACH_PRIVATE,
        REACH_LOCAL,
        REACH_NEVER,
} Reach;

static const struct Range4 {
        uint32_t prefix;
        unsigned len;
        Reach reach;
} ranges4[] = {
        { 0x00000000, 8, REACH_NEVER },    /* "this network": connects to ourselves */
        { 0x0a000000, 8, REACH_PRIVATE },  /* 10/8, RFC 1918 */
        { 0x64400000, 10, REACH_PRIVATE }, /* 100.64/10, RFC 6598 */
        { 0x7f000000, 8, REACH_LOCAL },    /* loopback */
        { 0xa9fe0000, 16, REACH_LOCAL },   /* 169.254/16, link-local */
        { 0xac100000, 12, REACH_PRIVATE }, /* 172.16/12, RFC 1918 */
        { 0xc0000000, 24, REACH_PRIVATE }, /* 192.0.0/24, RFC 6890, DS-Lite and the like */
        { 0xc0a80000, 16, REACH_PRIVATE }, /* 192.168/16, RFC 1918 */
        { 0xc6120000, 15, REACH_PRIVATE }, /* 198.18/15, benchmarks, RFC 2544 */
        { 0xe0000000, 4, REACH_NEVER },    /* multicast */
        { 0xf0000000, 4, REACH_NEVER },    /* reserved, and broadcast */
};

/* First match; the ranges that hold an IPv4 address are taken out before. */
static const struct Range6 {
        uint8_t prefix[4];
        unsigned len;
        Reach reach;
} ranges6[] = {
        { { 0xfc }, 7, REACH_PRIVATE },                    /* unique local, RFC 4193 */
        { { 0xfe, 0x80 }, 10, REACH_LOCAL },               /* link-local */
        { { 0xfe, 0xc0 }, 10, REACH_PRIVATE },             /* site-local, retired by RFC 3879 */
        { { 0x20, 0x01, 0x00, 0x00 }, 32, REACH_NEVER },   /* Teredo: hides an IPv4 address */
        { { 0x20, 0x01, 0x00, 0x10 }, 28, REACH_NEVER },   /* ORCHID, RFC 4843 */
        { { 0x20, 0x01, 0x00, 0x20 }, 28, REACH_NEVER },   /* ORCHIDv2, RFC 7343 */
        { { 0x20, 0x01, 0x00, 0x02 }, 32, REACH_PRIVATE }, /* benchmarks, RFC 5180 (really /48) */
        { { 0x00, 0x64, 0xff, 0x9b }, 32, REACH_PRIVATE }, /* local NAT64, RFC 8215 (really /48) */
        { { 0x20 }, 3, REACH_PUBLIC },                     /* global unicast */
};

static Reach reach4(uint32_t address)
{
        for (size_t i = 0; i < ELEMENTS(ranges4); i++)
                if ((address ^ ranges4[i].prefix) >> (32 - ranges4[i].len) == 0)
                        return ranges4[i].reach;
        return REACH_PUBLIC;
}

static bool prefix_matches(const uint8_t *address, const uint8_t *prefix, unsigned len)
{
        unsigned whole = len / 8, rest = len % 8;

        if (memcmp(address, prefix, whole) != 0)
                return false;
        return rest == 0 || (uint8_t) (address[whole] ^ prefix[whole]) >> (8 - rest) == 0;
}

static uint32_t word(const uint8_t *p)
{
        return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16 | (uint32_t) p[2] << 8 | p[3];
}

/* Where an IPv6 address carries an IPv4 address, which is where the packets end up. */
static bool inside6(const uint8_t *a, uint32_t *ret)
{
        static const uint8_t zero[12] = {}, mapped[12] = { [10] = 0xff, [11] = 0xff },
                             nat64[12] = { 0x00, 0x64, 0xff, 0x9b },
                             six_to_four[2] = { 0x20, 0x02 };

        if (memcmp(a, mapped, 12) == 0 || memcmp(a, nat64, 12) == 0 ||
            (memcmp(a, zero, 12) == 0 && word(a + 12) > 1)) {
                *ret = word(a + 12);
                return true;
        }
        if (memcmp(a, six_to_four, 2) == 0) { /* RFC 3056 section 2 */
                *ret = word(a + 2);
                return true;
        }
        return false;
}

static Reach reach6(const struct in6_addr *address)
{
        const uint8_t *a = address->s6_addr;
        uint32_t inside;

        if (IN6_IS_ADDR_LOOPBACK(address))
                return REACH_LOCAL;
        if (IN6_IS_ADDR_UNSPECIFIED(address))
                return REACH_NEVER;
        if (inside6(a, &inside))
                return reach4(inside);
        for (size_t i = 0; i < ELEMENTS(ranges6); i++)
                if (prefix_matches(a, ranges6[i].prefix, ranges6[i].len))
                        return ranges6[i].reach;
        return REACH_NEVER;
}

bool address_allowed(const struct sockaddr *address, unsigned policy)
{
        Reach reach = REACH_NEVER;

        if (address->sa_family == AF_INET) {
                struct sockaddr_in in;

                memcpy(&in, address, sizeof(in));
                reach = reach4(ntohl(in.sin_addr.s_addr));
        } else if (address->sa_family == AF_INET6) {
                struct sockaddr_in6 in6;

                memcpy(&in6, address, sizeof(in6));
                reach = reach6(&in6.sin6_addr);
        }
        switch (reach) {
        case REACH_PUBLIC:
                return true;
        case REACH_PRIVATE:
                return policy & ADDRESS_PRIVATE;
        case REACH_LOCAL:
                return policy & ADDRESS_LOCAL;
        case REACH_NEVER:
                return false;
        }
        return false;
}

void address_text(const struct sockaddr *address, char ret[48])
{
        const void *in = NULL;

        ret[0] = 0;
        if (address->sa_family == AF_INET)
                in = (const char *) address + offsetof(struct sockaddr_in, sin_addr);
        else if (address->sa_family == AF_INET6)
                in = (const char *) address + offsetof(struct sockaddr_in6, sin6_addr);
        if (in && !inet_ntop(address->sa_family, in, ret, 48))
                ret[0] = 0;
}
