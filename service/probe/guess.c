/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guessing: a few pairs of hosts under the mail domain, implicit TLS first (RFC 8314 section 3). The certificate must verify for
 * the guessed name, so a wrong guess costs time and no password. */
#include <stdio.h>

#include "base/text.h"
#include "probe/sources.h"

static int guess_endpoint(Endpoint *e, Protocol protocol, const char *prefix, Security security,
                          const DiscoveryContext *context)
{
        int r = text_format(&e->host, "%s.%s", prefix, context->address->domain);

        if (r < 0)
                return r;
        e->protocol = protocol;
        e->security = security;
        e->port = protocol_default_port(protocol, security);
        return text_set(&e->user, context->address->address);
}

int source_guess(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        static const struct {
                const char *incoming, *outgoing;
                Security security;
        } guesses[] = {
                { "mail", "mail", SECURITY_TLS },     { "pop", "smtp", SECURITY_TLS },
                { "pop3", "smtp", SECURITY_TLS },     { "mail", "mail", SECURITY_STARTTLS },
                { "pop", "smtp", SECURITY_STARTTLS },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTS(guesses) && r == 0; i++) {
                Candidate candidate = { .source = SOURCE_GUESS,
                                        .incoming_trust = TRUST_DOMAIN,
                                        .outgoing_trust = TRUST_DOMAIN };

                if (context->wanted[SIDE_INCOMING])
                        r = guess_endpoint(&candidate.incoming, PROTOCOL_POP3, guesses[i].incoming,
                                           guesses[i].security, context);
                if (r == 0 && context->wanted[SIDE_OUTGOING])
                        r = guess_endpoint(&candidate.outgoing, PROTOCOL_SMTP, guesses[i].outgoing,
                                           guesses[i].security, context);
                candidates_add(to, &candidate);
        }
        snprintf(note->text, sizeof(note->text), "%zu pairs to try", to->n);
        return r;
}
