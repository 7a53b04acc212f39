/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding the servers for an address. Each source is a file of its own that appends candidates (sources.h); this one runs them at the
 * same time, ranks what they found and stops as soon as nothing better can come. Candidates are hypotheses: verification decides. */
#pragma once

#include "probe/endpoint.h"
#include "probe/provider.h"
#include "proto/address.h"
#include "wire/dns.h"
#include "wire/http.h"
#include "wire/tls.h"

/* In order of rank. */
typedef enum Source {
        SOURCE_BY_HAND,
        SOURCE_ACCOUNT,
        SOURCE_ADMINISTRATOR, /* files in /etc/waypost */
        SOURCE_TABLE,         /* compiled in, by domain */
        SOURCE_PACC,
        SOURCE_AUTOCONFIG, /* the provider's own, over HTTPS */
        SOURCE_ISPDB,
        SOURCE_SRV,
        SOURCE_MX,   /* table, autoconfig or ISPDB of the domain that the mail exchanger is in */
        SOURCE_HTTP, /* autoconfig over plain HTTP: anybody may have written it */
        SOURCE_CERTIFICATE, /* names in the certificate of mail.DOMAIN */
        SOURCE_GUESS,
        N_SOURCES,
} Source;

/* The ground on which a password may go to a host (knowledge: one of four); TRUST_NONE needs the user's approval. */
typedef enum Trust {
        TRUST_USER, /* named or approved by the user */
        TRUST_ADMINISTRATOR,
        TRUST_TABLE,    /* our own table has the host for this very domain */
        TRUST_PROVIDER, /* the mail domain's own HTTPS document */
        TRUST_ISPDB,    /* the database has the host for this very domain */
        TRUST_DOMAIN, /* a host under the mail domain's registrable domain: good with a certificate that verifies */
        TRUST_NONE,
} Trust;

typedef struct Candidate {
        char id[9];
        Endpoint incoming, outgoing; /* host NULL: this side was not found */
        Source source;
        Trust incoming_trust, outgoing_trust;
        uint64_t poll_minimum_usec;
        char *provider, *provider_name;
        PopAccess pop;
        char *hint_url;     /* page where access is switched on */
        char *password_url; /* page where app passwords are made */
        bool app_password;  /* the account's own password is known not to work here */
        bool oauth_only;    /* no password is */
        char *oauth_issuer; /* from the table, PACC or the provider's own HTTPS document only */
        char *plan;         /* who has access at all */
} Candidate;

typedef struct Candidates {
        Candidate list[LIMIT_CANDIDATES];
        size_t n;
        char **sources;   /* as evidence: what each source said and how long it took */
        char **disclosed; /* who was told what */
        DnsStatus domain; /* what DNS said about the mail domain itself, by the MX question */
        bool domain_known, null_mx, takes_mail;
        char *filter;     /* the service that mail to this domain passes through; NULL none seen */
        char *suggestion; /* a provider's domain that may have been meant; NULL none */
        /* This provider has no POP3, and somebody who knows says so. */
        bool no_pop;
        char *no_pop_provider, *alternative, *alternative_url; /* may be NULL */
        bool complete; /* every source was heard to its end */
} Candidates;

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
        bool wanted[2];                   /* by Side: servers that are still looked for */
        bool all;                         /* hear every source, also when nothing better can come */
        unsigned policy;                  /* of the HTTPS fetches */
} DiscoveryContext;

Candidates *candidates_free(Candidates *candidates);
DEFINE_CLEANUP(Candidates, candidates_free);
/* Moves @candidate in; a full list, an unknown port, and the same servers a second time drop it. Gives it its id. */
void candidates_add(Candidates *candidates, Candidate *candidate);
/* Moves what is new of @from behind the end of @to; ids and places of what is there stay. */
int candidates_merge(Candidates *to, Candidates *from);
int candidate_to_dict(const Candidate *candidate, Dict *to);
/* What the user should know before the first failure, as sentences; @to is appended to. Returns 0, -ENOMEM. */
int candidate_hints(const Candidate *candidate, char ***to);
const char *source_name(Source source);
const char *trust_name(Trust trust);
/* TRUST_DOMAIN when @host lies under @domain's registrable domain, else TRUST_NONE. */
Trust trust_of_host(const char *host, const char *domain);

/* Runs the sources, best first in the result. Returns when every source that ranks above what was found has answered (one that is
 * slower than a trusted answer by DISCOVERY_GRACE_USEC is not waited for), or all have with @context->all. At most
 * LIMIT_DISCOVERY_USEC. Suspends. Returns 0, also with nothing found. */
int discover(Candidates **ret, const DiscoveryContext *context);
