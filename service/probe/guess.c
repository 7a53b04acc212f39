/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guessing: the usual names under the mail domain, of those that exist, implicit TLS first (RFC 8314 section 3). The certificate must
 * verify for the guessed name, so a wrong guess costs time and no password. And the host that the user named, of which only the
 * ports are guessed. */
#include <stdio.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

typedef struct Name {
        const char *label;
        unsigned serves; /* 1 << Protocol */
        const DiscoveryContext *context;
        char *host;
        DnsStatus status;
        Fiber *fiber;
} Name;

enum { POP3 = 1 << PROTOCOL_POP3, IMAP = 1 << PROTOCOL_IMAP, SMTP = 1 << PROTOCOL_SMTP };

static const Security securities[] = { SECURITY_TLS, SECURITY_STARTTLS };

static int name_ask(void *arg)
{
        Name *name = arg;
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = text_format(&name->host, "%s.%s", name->label, name->context->address->domain);
        if (r < 0)
                return r;
        r = dns_addresses(&addresses, name->context->dns, name->host, &no);
        name->status = r == 0 ? DNS_OK : no.dns;
        return MIN(r, 0);
}

static int names_ask(Name *names, size_t n, unsigned wanted)
{
        int r = 0, result;

        for (size_t i = 0; i < n && r == 0; i++)
                if (names[i].serves & wanted)
                        r = fiber_start(&names[i].fiber, "guess", name_ask, &names[i]);
        for (size_t i = 0; i < n && r == 0; i++)
                if (names[i].fiber) {
                        r = fiber_join(&names[i].fiber, &result);
                        r = r < 0 ? r : result;
                }
        return r;
}

/* The @index-th host that exists and may serve @protocol; NULL behind the last. */
static const char *names_host(const Name *names, size_t n, Protocol protocol, size_t index)
{
        for (size_t i = 0; i < n; i++)
                if ((names[i].serves & 1U << protocol) && names[i].status == DNS_OK && index-- == 0)
                        return names[i].host;
        return NULL;
}

static int guess_pair(Candidates *to, const DiscoveryContext *context, Protocol protocol,
                      const char *in, const char *out, Security security)
{
        Candidate c = { .source = SOURCE_GUESS,
                        .incoming_trust = TRUST_DOMAIN,
                        .outgoing_trust = TRUST_DOMAIN };
        int r = 0;

        if (in)
                r = endpoint_default(&c.incoming, protocol, in, security, context->address);
        if (r == 0 && out)
                r = endpoint_default(&c.outgoing, PROTOCOL_SMTP, out, security, context->address);
        candidates_add(to, &c);
        return r;
}

/* The i-th incoming with the i-th outgoing name; a shorter list repeats its first. */
static int guess_pairs(Candidates *to, const DiscoveryContext *context, const Name *names, size_t n,
                       Protocol protocol, Security security)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const char *in = names_host(names, n, protocol, i),
                           *out = names_host(names, n, PROTOCOL_SMTP, i);

                if (!in && !out)
                        return 0;
                r = guess_pair(to, context, protocol, in ? in : names_host(names, n, protocol, 0),
                               out ? out : names_host(names, n, PROTOCOL_SMTP, 0), security);
        }
        return r;
}

int source_guess(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        Name names[] = { { "mail", POP3 | IMAP | SMTP },
                         { "pop", POP3 },
                         { "pop3", POP3 },
                         { "imap", IMAP },
                         { "smtp", SMTP } };
        unsigned wanted = SMTP | (context->pop3 ? POP3 : 0U) | (context->imap ? IMAP : 0U);
        Protocol protocols[2];
        size_t n = incoming_protocols(context, protocols);
        int r;

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                names[i].context = context;
                names[i].status = DNS_NO_DATA;
        }
        r = names_ask(names, ELEMENTS(names), wanted);
        for (size_t p = 0; p < n; p++)
                for (size_t s = 0; s < ELEMENTS(securities) && r == 0; s++)
                        r = guess_pairs(to, context, names, ELEMENTS(names), protocols[p],
                                        securities[s]);
        snprintf(note->text, sizeof(note->text), "%zu pairs of the usual names exist", to->n);
        for (size_t i = 0; i < ELEMENTS(names); i++) {
                names[i].fiber = fiber_cancel(names[i].fiber);
                free(names[i].host);
        }
        return r;
}

/* --- by hand --------------------------------------------------------------------------------------------------------- */

int source_by_hand(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        const char *in = context->wishes[SIDE_INCOMING]->host,
                   *out = context->wishes[SIDE_OUTGOING]->host;
        Protocol protocols[2];
        size_t n = incoming_protocols(context, protocols);
        int r = 0;

        for (size_t p = 0; p < n; p++)
                for (size_t s = 0; s < ELEMENTS(securities) && r == 0; s++) {
                        Candidate c = { .source = SOURCE_BY_HAND,
                                        .incoming_trust = TRUST_USER,
                                        .outgoing_trust = TRUST_USER };

                        if (in)
                                r = endpoint_default(&c.incoming, protocols[p], in, securities[s],
                                                     context->address);
                        if (r == 0 && out)
                                r = endpoint_default(&c.outgoing, PROTOCOL_SMTP, out, securities[s],
                                                     context->address);
                        candidates_add(to, &c);
                }
        snprintf(note->text, sizeof(note->text), "%s", in ? in : out ? out : "nothing");
        return r;
}
