/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the servers for an address. Each source is a file of its own (sources.h); this one runs them at the same time and ranks what they
 * have said so far. The ranking is a function of what has been heard, never of who was first: it grows while the search runs, and whoever
 * wants to begin early may, as long as nothing secret goes out before it is decided. */
#pragma once

#include "probe/candidate.h"
#include "proto/address.h"
#include "wire/dns.h"
#include "wire/http.h"
#include "wire/tls.h"

typedef struct DiscoveryContext {
        const MailAddress *address;
        const Providers *providers;
        Dns *dns;
        Http *http;
        Tls *tls;
        bool table, pacc, srv, autoconfig, mx, plain_http, certificate,
                guess;                    /* sources that are on */
        const char *ispdb;                /* base URL, ends in '/'; NULL: off */
        const char *autoconfig_directory; /* the administrator's; NULL: none */
        bool pop3, imap;                  /* what fetches the mail; with both, POP3 is preferred */
        bool wanted[2];                   /* by Side: servers that are looked for */
        const Wish *wishes[2];            /* by Side: what the user gave; never NULL */
        bool all;                         /* ask every source, also when nothing better can come */
        unsigned policy;                  /* of the HTTPS fetches */
        uint64_t patience_usec;           /* how long a trusted answer waits for better ones */
        void (*changed)(void *userdata, bool list); /* the ranking is another one: also its list? */
        void *userdata;
} DiscoveryContext;

typedef struct Ranked {
        const Candidate *candidate;
        const Endpoint *endpoint[2]; /* by Side; NULL: not this one's */
} Ranked;

/* All of it lives as long as the discovery, and only the list changes. */
typedef struct Ranking {
        Ranked list[LIMIT_CANDIDATES]; /* best first */
        size_t n;
        DnsStatus domain;
        bool domain_known, null_mx, takes_mail;
        bool port_forbidden; /* a source named a port that is none of mail's */
        bool no_access; /* the provider has no protocol that was asked for, and somebody who knows says so */
        const char *filter, *provider, *alternative, *alternative_url; /* NULL none */
        const char *suggestion; /* a provider's domain that may have been meant; NULL none */
        bool decided; /* nothing that ranks above what was found can come any more, or it had its time */
        bool complete; /* nothing can come at all */
} Ranking;

typedef struct Discovery Discovery;

/* What @context points to must outlive it. Returns 0, -ENOMEM. */
int discovery_new(Discovery **ret, const DiscoveryContext *context);
Discovery *discovery_free(Discovery *discovery);
DEFINE_CLEANUP(Discovery, discovery_free);
/* The search, for a fiber of its own: @arg is the discovery. Files and table first, which need no network; where they answer for every wanted
 * side it is decided and over, and nobody was asked. Else all others at the same moment. Decided when every source that ranks
 * above what was found has answered, or a trusted answer has waited for it long enough; goes on until all have, at most
 * LIMIT_DISCOVERY_USEC. Run a second time it asks whoever has not answered yet. Suspends. Returns 0, negative errno. */
int discovery_run(void *arg);
/* Can no source that ranks above @candidate answer any more, or has this one, which is trusted for @side, waited for them long enough?
 * Else @ret_due is when it will have. */
bool discovery_final(const Discovery *discovery, const Candidate *candidate, Side side,
                     uint64_t *ret_due);
const Ranking *discovery_ranking(const Discovery *discovery);
/* Appends what each source said and after which time, in order of rank; who was told what. Return 0, -ENOMEM. */
int discovery_sources(const Discovery *discovery, char ***to);
int discovery_disclosed(const Discovery *discovery, char ***to);
