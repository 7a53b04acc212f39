/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A hosted domain often has mail.DOMAIN as an alias of its hoster's server. When nothing but the name is wrong with that server's certificate, the
 * names in it are the ones the server goes by: better than any guess, though somebody else's, so they need approval. */
#include <stdio.h>
#include <string.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"
#include "wire/dial.h"

enum { NAMES_MAX = 4 };

#define CERTIFICATE_USEC (4 * USEC_PER_SEC)

static int names_candidate(Candidates *to, const char *name, Protocol protocol,
                           const DiscoveryContext *context)
{
        Candidate c = { .source = SOURCE_CERTIFICATE };
        _cleanup_free_ char *host = NULL;
        int r;

        r = host_normalize(&host, name);
        if (r < 0)
                return r == -EINVAL ? 0 : r;
        r = endpoint_default(&c.incoming, protocol, host, SECURITY_TLS, context->address);
        if (r == 0)
                r = endpoint_default(&c.outgoing, PROTOCOL_SMTP, host, SECURITY_TLS,
                                     context->address);
        c.incoming_trust = c.outgoing_trust = trust_of_host(host, context->address->domain);
        candidates_add(to, &c);
        return r;
}

/* Names that are patterns or addresses name no server. */
static int names_use(Candidates *to, const Certificate *certificate, Protocol protocol,
                     const DiscoveryContext *context)
{
        int r = 0;

        for (char **name = certificate->names; name && *name && to->n < NAMES_MAX && r == 0; name++)
                if (!strchr(*name, '*') && strchr(*name, '.') && !host_is_literal(*name))
                        r = names_candidate(to, *name, protocol, context);
        return r;
}

/* Returns 0 when the server was seen, 1 when it was not, negative errno. */
static int names_look(Candidates *to, const DiscoveryContext *context, const char *host,
                      const DnsAddresses *addresses, Protocol protocol, SourceNote *note)
{
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        TlsRequest request = { .host = host };
        int r;

        r = dial(&stream, addresses, protocol_default_port(protocol, SECURITY_TLS), context->policy,
                 NULL, &no);
        if (r == 0)
                r = disclose(to, "TLS", host, "the domain");
        if (r == 0)
                r = stream_start_tls(stream, context->tls, &request, NULL, &no);
        snprintf(note->text, sizeof(note->text), "%s",
                 r == 0 ? "mail.DOMAIN has a good certificate" : outcome_kind_name(no.kind));
        if (r <= 0 || no.kind != OUTCOME_CERTIFICATE)
                return r;
        if (no.certificate->faults == CERTIFICATE_WRONG_NAME) {
                r = names_use(to, no.certificate, protocol, context);
                snprintf(note->text, sizeof(note->text), "%zu names", to->n);
        }
        return MIN(r, 0);
}

int source_certificate(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        _cleanup_free_ char *host = NULL;
        _cleanup_outcome_ Outcome no = {};
        Protocol protocols[2];
        size_t n = incoming_protocols(context, protocols);
        int r;

        FIBER_DEADLINE(CERTIFICATE_USEC);
        r = text_format(&host, "mail.%s", context->address->domain);
        if (r == 0)
                r = dns_addresses(&addresses, context->dns, host, &no);
        if (r > 0)
                snprintf(note->text, sizeof(note->text), "%s", dns_status_name(no.dns));
        if (r != 0)
                return MIN(r, 0);
        r = 1;
        for (size_t i = 0; i < n && r > 0; i++)
                r = names_look(to, context, host, addresses, protocols[i], note);
        return MIN(r, 0);
}
