/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sources of discovery and what they share; only discovery.c and they see this. Each source suspends (unless it says not), appends to @to and
 * says in a few words what it met. Returns 0, also with nothing found; -ETIME counts as no answer; negative errno. */
#pragma once

#include "probe/discovery.h"
#include "proto/autoconfig.h"

typedef struct SourceNote {
        char text[256];
} SourceNote;

#define SOURCE_REQUEST_USEC (6 * USEC_PER_SEC) /* one document, second try included */

int source_local(Candidates *to, const DiscoveryContext *context,
                 SourceNote *note); /* no network */
int source_table(Candidates *to, const DiscoveryContext *context,
                 SourceNote *note); /* no network */
int source_pacc(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_autoconfig(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_ispdb(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_srv(Candidates *to, const DiscoveryContext *context, SourceNote *note);
/* Also tells what DNS says about the domain itself. */
int source_mx(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_http(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_certificate(Candidates *to, const DiscoveryContext *context, SourceNote *note);
int source_guess(Candidates *to, const DiscoveryContext *context, SourceNote *note);
/* The host that the user named, with the ports that the protocol has. No network. */
int source_by_hand(Candidates *to, const DiscoveryContext *context, SourceNote *note);

/* --- shared ----------------------------------------------------------------------------------------------------- */

/* The protocols that fetch mail and are asked for, in order of preference; returns how many. */
size_t incoming_protocols(const DiscoveryContext *context, Protocol ret[2]);
/* @host with the protocol's own port for @security, and the address as user name. */
int endpoint_default(Endpoint *to, Protocol protocol, const char *host, Security security,
                     const MailAddress *address);
/* The candidates of a provider of the table. */
int candidates_add_provider(Candidates *to, const Provider *provider,
                            const DiscoveryContext *context, Source source);
/* The candidates of an autoconfig document. */
int candidates_add_document(Candidates *to, const Autoconfig *document,
                            const DiscoveryContext *context, Source source);
/* Remembers that @whom was told @what. */
int disclose(Candidates *to, const char *how, const char *whom, const char *what);
/* Fetches and reads an autoconfig document; @note gets a few words. Returns 0, also without one (*ret NULL): then the status of an HTTP refusal is in
 * @ret_status; negative errno. Suspends. */
int document_fetch(Autoconfig **ret, Candidates *to, const DiscoveryContext *context,
                   unsigned flags, const char *host, const char *path, const char *what,
                   char note[64], unsigned *ret_status);
/* The database's document for @domain. Like document_fetch(). */
int ispdb_fetch(Autoconfig **ret, Candidates *to, const DiscoveryContext *context,
                const char *domain, char note[64]);
