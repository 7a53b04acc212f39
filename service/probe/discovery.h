/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the servers for an address. Each source is a file of its own that appends candidates; this one runs them at the
 * same time and ranks what they found. Candidates are hypotheses: verification decides. */
#pragma once

#include "probe/endpoint.h"
#include "proto/address.h"
#include "wire/dns.h"
#include "wire/http.h"

typedef enum Source {
        SOURCE_BY_HAND,
        SOURCE_ACCOUNT,
        SOURCE_AUTOCONFIG,
        SOURCE_SRV,
        SOURCE_GUESS
} Source;

/* The ground on which a password may go to a host (knowledge: one of four); TRUST_NONE needs the user's approval. */
typedef enum Trust {
        TRUST_USER,     /* named or approved by the user */
        TRUST_PROVIDER, /* the mail domain's own HTTPS document */
        TRUST_DOMAIN, /* a host under the mail domain's registrable domain: good with a certificate that verifies */
        TRUST_NONE,
} Trust;

typedef struct Candidate {
        char id[9];
        Endpoint incoming, outgoing; /* host NULL: this side was not found */
        Source source;
        Trust incoming_trust, outgoing_trust;
        uint64_t poll_minimum_usec;
        char *hint_url; /* page where access must be switched on */
} Candidate;

typedef struct Candidates {
        Candidate list[LIMIT_CANDIDATES];
        size_t n;
        char **sources; /* as evidence: what each source said and how long it took */
        DnsStatus
                domain; /* what DNS said about the mail domain itself, by the SRV and MX questions */
        bool null_mx;
} Candidates;

typedef struct DiscoveryContext {
        const MailAddress *address;
        Dns *dns;
        Http *http;
        bool srv, autoconfig, guess;
        bool receive_only;
        unsigned policy; /* of the HTTPS fetches */
} DiscoveryContext;

Candidates *candidates_free(Candidates *candidates);
DEFINE_CLEANUP(Candidates, candidates_free);
/* Moves @candidate in; a full list drops it. Gives it its id. */
void candidates_add(Candidates *candidates, Candidate *candidate);
int candidate_to_dict(const Candidate *candidate, Dict *to);
const char *source_name(Source source);
const char *trust_name(Trust trust);
/* TRUST_DOMAIN when @host lies under @domain's registrable domain, else TRUST_NONE. */
Trust trust_of_host(const char *host, const char *domain);

/* Runs the sources, best first in the result. At most LIMIT_DISCOVERY_USEC. Suspends. Returns 0, also with nothing found. */
int discover(Candidates **ret, const DiscoveryContext *context);

/* The sources; each suspends, adds to @to and describes itself in @ret_note (static or stored in @note_buffer). Returns 0, negative errno. */
typedef struct SourceNote {
        char text[256];
} SourceNote;
int source_srv(Candidates *to, const DiscoveryContext *context, SourceNote *ret_note);
int source_autoconfig(Candidates *to, const DiscoveryContext *context, SourceNote *ret_note);
/* No network: three guesses, to be tried in order. */
int source_guess(Candidates *to, const DiscoveryContext *context, SourceNote *ret_note);
