/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PACC: a document of the domain about its own servers, fetched over HTTPS while its digest is asked for in DNS. Without a
 * digest that fits, the document is not used. */
#include <stdio.h>
#include <string.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"
#include "proto/pacc.h"

typedef struct DigestQuestion {
        const DiscoveryContext *context;
        DnsRecords *records;
        DnsStatus status;
} DigestQuestion;

static int digest_ask(void *arg)
{
        DigestQuestion *q = arg;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_free_ char *name = NULL;
        int r;

        r = text_format(&name, "_ua-auto-config.%s", q->context->address->domain);
        if (r < 0)
                return r;
        r = dns_query(&q->records, q->context->dns, name, DNS_TXT, &no);
        q->status = no.dns;
        return r < 0 ? r : 0;
}

static int pacc_candidate(Candidates *to, const Pacc *pacc, Protocol protocol, const char *host,
                          const MailAddress *address)
{
        Candidate c = { .source = SOURCE_PACC,
                        .incoming_trust = TRUST_PROVIDER,
                        .outgoing_trust = TRUST_PROVIDER,
                        .oauth_only = pacc->no_password };
        int r = 0;

        if (host)
                r = endpoint_default(&c.incoming, protocol, host, SECURITY_TLS, address);
        if (r == 0 && pacc->submit)
                r = endpoint_default(&c.outgoing, PROTOCOL_SMTP, pacc->submit, SECURITY_TLS,
                                     address);
        if (r == 0 && !pacc->no_password)
                r = list_append(&c.methods, "password", 2);
        if (r == 0 && pacc->oauth_issuer)
                r = list_append(&c.methods, "oauth2", 2);
        if (r == 0)
                r = text_set(&c.provider_name, pacc->name);
        if (r == 0)
                r = text_set(&c.oauth_issuer, pacc->oauth_issuer);
        candidates_add(to, &c);
        return r;
}

static int pacc_candidates(Candidates *to, const Pacc *pacc, const DiscoveryContext *context)
{
        bool pop3 = context->pop3 && pacc->pop3, imap = context->imap && pacc->imap;
        int r = 0;

        if (pop3 || !imap)
                r = pacc_candidate(to, pacc, PROTOCOL_POP3, pop3 ? pacc->pop3 : NULL,
                                   context->address);
        if (r == 0 && imap)
                r = pacc_candidate(to, pacc, PROTOCOL_IMAP, pacc->imap, context->address);
        if (r == 0 && !pop3 && !imap && pacc->imap)
                r = text_set(&to->alternative,
                             "The servers published for this domain are for IMAP.");
        return r;
}

static int pacc_use(Candidates *to, const DiscoveryContext *context, const HttpResponse *response,
                    const DigestQuestion *digest, SourceNote *note)
{
        _cleanup_(pacc_freep) Pacc *pacc = NULL;
        int r;

        if (!digest->records ||
            !pacc_digest_matches(digest->records->txt, response->body, response->body_len)) {
                snprintf(note->text, sizeof(note->text),
                         "a document whose digest DNS does not confirm (%s)",
                         digest->records ? "another one" : dns_status_name(digest->status));
                return 0;
        }
        r = pacc_parse(&pacc, response->body, response->body_len);
        snprintf(note->text, sizeof(note->text), "%s", r == 0 ? "found" : "not a PACC document");
        if (r == 0)
                r = pacc_candidates(to, pacc, context);
        return r == -EBADMSG ? 0 : r;
}

int source_pacc(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        _cleanup_free_ char *url = NULL, *host = NULL;
        _cleanup_outcome_ Outcome no = {};
        DigestQuestion digest = { .context = context };
        Fiber *fiber = NULL;
        int r, result = 0;

        FIBER_DEADLINE(SOURCE_REQUEST_USEC);
        r = text_format(&host, "ua-auto-config.%s", context->address->domain);
        if (r == 0)
                r = text_format(&url, "https://%s/.well-known/user-agent-configuration.json", host);
        if (r == 0)
                r = fiber_start(&fiber, "pacc", digest_ask, &digest);
        if (r == 0)
                r = http_get(&response, context->http, url, context->policy, &no);
        if ((r >= 0 && no.kind != OUTCOME_DNS) || r == -ETIME || r == -ECANCELED)
                result = disclose(to, "HTTPS", host, "the domain");
        if (r == 1 || result < 0)
                snprintf(note->text, sizeof(note->text), "%s",
                         no.kind == OUTCOME_DNS ? dns_status_name(no.dns)
                                                : outcome_kind_name(no.kind));
        if (r == 0 && result == 0)
                r = fiber_join(&fiber, &result);
        if (r == 0 && result == 0)
                r = pacc_use(to, context, response, &digest, note);
        fiber = fiber_cancel(fiber);
        dns_records_free(digest.records);
        return r == -EINVAL ? 0 : r < 0 ? r : result;
}
