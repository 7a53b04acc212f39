/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A candidate: a pair of servers that one source of discovery names for an address, and what it knows of them. Candidates are
 * hypotheses: verification decides. */
#pragma once

#include "base/limits.h"
#include "probe/endpoint.h"
#include "probe/provider.h"
#include "wire/outcome.h"

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

/* Fields of a server that the user gave; the rest is found. */
typedef struct Wish {
        char *host;    /* normalized; NULL: any */
        char *user;    /* NULL: as found */
        uint16_t port; /* 0: as found */
        bool has_security, has_protocol;
        Security security;
        Protocol protocol;
} Wish;

typedef struct Candidate {
        char id[9];                  /* the same for the same servers, whoever names them */
        Endpoint incoming, outgoing; /* host NULL: this side was not found */
        Source source;
        Trust incoming_trust, outgoing_trust;
        const Wish *wishes[2]; /* by Side: fields that are the user's; NULL none. Borrowed */
        char **methods;        /* "password", "app-password", "oauth2", best first; NULL unknown */
        uint64_t poll_minimum_usec;
        char *provider, *provider_name;
        Access access;      /* of the incoming protocol */
        char *hint_url;     /* page where access is switched on */
        char *password_url; /* page where app passwords are made */
        bool app_password;  /* the account's own password is known not to work here */
        bool two_factor;    /* nor with two-factor authentication */
        bool oauth_only;    /* no password is */
        char *oauth_issuer; /* from the table, PACC or the provider's own HTTPS document only */
        char *plan;         /* who has access at all */
} Candidate;

/* What one source says. */
typedef struct Candidates {
        Candidate list[LIMIT_CANDIDATES];
        size_t n;
        char **disclosed; /* who was told what */
        DnsStatus domain; /* what DNS said about the mail domain itself, by the MX question */
        bool domain_known, null_mx, takes_mail;
        char *filter; /* the service that mail to this domain passes through; NULL none seen */
        /* This provider has not the one, not the other, and somebody who knows says so. */
        bool no_pop, no_imap;
        bool port_forbidden; /* a server was named at a port that is none of mail's, and was dropped */
        char *provider, *alternative, *alternative_url; /* then; may be NULL */
} Candidates;

void wish_deinit(Wish *wish);
void candidates_clear(Candidates *candidates);
Candidates *candidates_free(Candidates *candidates);
DEFINE_CLEANUP(Candidates, candidates_free);
/* Moves @candidate in; a full list, an unknown port, and the same servers a second time drop it. Gives it its id. */
void candidates_add(Candidates *candidates, Candidate *candidate);
/* Puts what the user gave in the place of what was found; a host that is another one drops its side. Returns 0, -ENOMEM. */
int candidates_wish(Candidates *candidates, const Wish *const wishes[2]);
/* The same servers on both sides. */
bool candidate_same(const Candidate *a, const Candidate *b);
const Endpoint *candidate_endpoint(const Candidate *candidate, Side side);
Trust candidate_trust(const Candidate *candidate, Side side);
/* The contract's dictionary; a side that @sides has not is left out. Returns 0, -ENOMEM. */
int candidate_to_dict(const Candidate *candidate, const bool sides[2], Dict *to);
/* What the user should know before the first failure, as sentences; @to is appended to. Returns 0, -ENOMEM. */
int candidate_hints(const Candidate *candidate, char ***to);
const char *source_name(Source source);
const char *trust_name(Trust trust);
/* TRUST_DOMAIN when @host lies under @domain's registrable domain, else TRUST_NONE. */
Trust trust_of_host(const char *host, const char *domain);
/* The security of a port that is well known, implicit TLS for any other. */
Security port_security(uint16_t port);
