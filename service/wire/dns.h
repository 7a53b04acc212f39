/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* DNS by c-ares on the loop. One resolver for the process; it notices changes of resolv.conf before each question.
 * Of several servers the one that answers is asked first from then on. NXDOMAIN, no data, SERVFAIL, timeout and no resolver are five
 * different outcomes. Search domains are never used. */
#pragma once

#include <sys/socket.h>

#include "base/fiber.h"
#include "wire/outcome.h"

typedef struct Dns Dns;

typedef struct DnsAddresses {
        struct sockaddr_storage addresses
                [LIMIT_ADDRESSES]; /* ports 0, in the server's order; dial takes the families by turns, and a family without a route costs it nothing */
        unsigned n_addresses;
        char *canonical; /* the name at the end of the CNAME chain, NULL when it is the name that was asked for */
        DnsStatus a, aaaa; /* each family's own answer */
} DnsAddresses;

typedef struct DnsMx {
        uint16_t preference;
        char *host; /* "" is the null MX (RFC 7505) */
} DnsMx;

typedef struct DnsSrv {
        uint16_t priority, weight, port;
        char *target; /* "" means: decidedly not offered (RFC 2782) */
} DnsSrv;

typedef struct DnsRecords {
        DnsMx *mx;   /* sorted by preference, then name */
        DnsSrv *srv; /* sorted by priority, weight descending, target */
        char **txt;  /* character-strings of one record joined */
        unsigned n_mx, n_srv;
} DnsRecords;

typedef enum DnsType { DNS_MX, DNS_SRV, DNS_TXT } DnsType;

/* @resolv_conf NULL: /etc/resolv.conf. Its nameserver lines may carry a port, "127.0.0.1:5353" or "[::1]:5353", which
 * is for tests. Returns 0, -ENOMEM. */
int dns_new(Dns **ret, const char *resolv_conf);
Dns *dns_free(Dns *dns);
DEFINE_CLEANUP(Dns, dns_free);

/* A and AAAA at once; after the first has an answer the other is waited for 50 ms (RFC 8305 section 3). IP literals
 * and what the machine's own file of names (/etc/hosts) knows answer at once. @host must be ASCII (A-labels). At most LIMIT_DNS_USEC. Suspends.
 * Returns 0 with at least one address; 1, @no has kind OUTCOME_DNS and the status; negative errno. */
int dns_addresses(DnsAddresses **ret, Dns *dns, const char *host, Outcome *no);
/* Suspends. Returns 0 with at least one record, 1 with @no, negative errno. */
int dns_query(DnsRecords **ret, Dns *dns, const char *name, DnsType type, Outcome *no);

/* Why a question failed that should not have. Suspends. Each returns 0 with *@ret, negative errno. */
/* Does the resolver give an answer when it is told not to check signatures (RFC 4035 section 3.2.2)? Then it minds them. */
int dns_unchecked(Dns *dns, const char *name, bool *ret);
/* Does the chain of aliases from @name come back on itself, or does it not end? */
int dns_alias_loops(Dns *dns, const char *name, bool *ret);
/* Is anything at all answered: does the resolver live? */
int dns_lives(Dns *dns, bool *ret);
/* Has the kernel a way to one of the name servers? 0, or the errno. */
int dns_route(Dns *dns);
/* Are all of them on this computer, and so always in reach, whatever they know of the world? */
bool dns_is_local(Dns *dns);

DnsAddresses *dns_addresses_free(DnsAddresses *addresses);
DEFINE_CLEANUP(DnsAddresses, dns_addresses_free);
DnsRecords *dns_records_free(DnsRecords *records);
DEFINE_CLEANUP(DnsRecords, dns_records_free);
const char *dns_status_name(DnsStatus status);
