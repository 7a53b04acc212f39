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

static int names_endpoint(Endpoint *e, Protocol protocol, const char *host,
                          const MailAddress *address)
{
        int r;

        *e = (Endpoint){ .protocol = protocol, .security = SECURITY_TLS };
        e->port = protocol_default_port(protocol, SECURITY_TLS);
        r = text_set(&e->user, address->address);
        return r < 0 ? r : host_normalize(&e->host, host);
}

static int names_candidate(Candidates *to, const char *name, const DiscoveryContext *context)
{
        Candidate c = { .source = SOURCE_CERTIFICATE };
        int r;

        r = names_endpoint(&c.incoming, PROTOCOL_POP3, name, context->address);
        if (r == 0)
                r = names_endpoint(&c.outgoing, PROTOCOL_SMTP, name, context->address);
        if (r == 0) {
                c.incoming_trust = trust_of_host(c.incoming.host, context->address->domain);
                c.outgoing_trust = c.incoming_trust;
        }
        if (r == -EINVAL)
                endpoint_deinit(&c.incoming), endpoint_deinit(&c.outgoing);
        candidates_add(to, &c);
        return r == -EINVAL ? 0 : r;
}

/* Names that are patterns or addresses name no server. */
static int names_use(Candidates *to, const Certificate *certificate,
                     const DiscoveryContext *context)
{
        int r = 0;

        for (char **name = certificate->names; name && *name && to->n < NAMES_MAX && r == 0; name++)
                if (!strchr(*name, '*') && strchr(*name, '.') && !host_is_literal(*name))
                        r = names_candidate(to, *name, context);
        return r;
}

int source_certificate(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_free_ char *host = NULL;
        _cleanup_outcome_ Outcome no = {};
        TlsRequest request = {};
        int r;

        FIBER_DEADLINE(CERTIFICATE_USEC);
        r = text_format(&host, "mail.%s", context->address->domain);
        if (r < 0)
                return r;
        request.host = host;
        r = dns_addresses(&addresses, context->dns, host, &no);
        if (r == 0)
                r = dial(&stream, addresses, protocol_default_port(PROTOCOL_POP3, SECURITY_TLS),
                         context->policy, NULL, &no);
        if (r == 0)
                r = stream_start_tls(stream, context->tls, &request, NULL, &no);
        if (r == 0)
                snprintf(note->text, sizeof(note->text), "mail.DOMAIN has a good certificate");
        else if (r > 0)
                snprintf(note->text, sizeof(note->text), "%s", outcome_kind_name(no.kind));
        if (r > 0 && no.kind == OUTCOME_CERTIFICATE &&
            no.certificate->faults == CERTIFICATE_WRONG_NAME) {
                r = names_use(to, no.certificate, context);
                snprintf(note->text, sizeof(note->text), "%zu names", to->n);
        }
        return r < 0 ? r : 0;
}
