/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SRV records (RFC 6186, RFC 8314 section 5.1): all questions at once. Implicit-TLS labels come first whatever the priorities say;
 * a target of "." is a decided no for its label only. The answer is unsigned: a target outside the domain needs the user's word. */
#include <stdio.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

enum { SRV_PAIRS = 4 };

typedef struct SrvQuestion {
        const char *label;
        Protocol protocol;
        Security security;
        /* filled by its fiber */
        const DiscoveryContext *context;
        DnsRecords *records;
        DnsStatus status;
        Fiber *fiber;
} SrvQuestion;

static int srv_ask(void *arg)
{
        SrvQuestion *q = arg;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_free_ char *name = NULL;
        int r;

        r = text_format(&name, "%s.%s", q->label, q->context->address->domain);
        if (r < 0)
                return r;
        r = dns_query(&q->records, q->context->dns, name, DNS_SRV, &no);
        if (r > 0)
                q->status = no.dns;
        return r < 0 ? r : 0;
}

/* The @index-th usable target of the questions for one protocol: implicit TLS first. */
static const DnsSrv *srv_target(const SrvQuestion *questions, size_t n, Protocol protocol,
                                unsigned index, Security *ret)
{
        for (size_t i = 0; i < n; i++) {
                const SrvQuestion *q = &questions[i];

                for (unsigned k = 0; q->records && q->protocol == protocol && k < q->records->n_srv;
                     k++) {
                        const DnsSrv *srv = &q->records->srv[k];

                        if (!srv->target[0] || srv->port == 0 || index-- > 0)
                                continue;
                        *ret = q->security;
                        return srv;
                }
        }
        return NULL;
}

/* The @index-th server of @protocol, or the first where the list is shorter; none stays empty. Returns 1 when it was the @index-th. */
static int srv_endpoint(Endpoint *e, const SrvQuestion *questions, size_t n, Protocol protocol,
                        unsigned index)
{
        Security security;
        const DnsSrv *srv = srv_target(questions, n, protocol, index, &security);
        int more = srv != NULL, r;

        if (!srv)
                srv = srv_target(questions, n, protocol, 0, &security);
        if (!srv)
                return 0;
        *e = (Endpoint){ .protocol = protocol, .security = security, .port = srv->port };
        r = text_set(&e->user, questions[0].context->address->address);
        if (r == 0)
                r = host_normalize(&e->host, srv->target);
        if (r == -EINVAL)
                endpoint_deinit(e);
        return r == -ENOMEM ? r : more;
}

/* Pairs the i-th incoming with the i-th outgoing; a shorter list repeats its first. Returns 1, 0 behind the last, -ENOMEM. */
static int srv_candidate(Candidates *to, const SrvQuestion *questions, size_t n, Protocol protocol,
                         unsigned index)
{
        const char *domain = questions[0].context->address->domain;
        Candidate c = { .source = SOURCE_SRV };
        int in, out = 0;

        in = srv_endpoint(&c.incoming, questions, n, protocol, index);
        if (in >= 0)
                out = srv_endpoint(&c.outgoing, questions, n, PROTOCOL_SMTP, index);
        c.incoming_trust = c.incoming.host ? trust_of_host(c.incoming.host, domain) : TRUST_NONE;
        c.outgoing_trust = c.outgoing.host ? trust_of_host(c.outgoing.host, domain) : TRUST_NONE;
        if (in > 0 || out > 0)
                candidates_add(to, &c);
        endpoint_deinit(&c.incoming);
        endpoint_deinit(&c.outgoing);
        return in < 0 ? in : out < 0 ? out : in || out;
}

static int srv_candidates(Candidates *to, const SrvQuestion *questions, size_t n,
                          const DiscoveryContext *context)
{
        Protocol protocols[2];
        size_t n_protocols = incoming_protocols(context, protocols);
        Security unused;
        bool any = false;
        int r = 1;

        for (size_t p = 0; p < n_protocols; p++)
                any |= srv_target(questions, n, protocols[p], 0, &unused) != NULL;
        for (size_t p = 0; p < n_protocols && r >= 0; p++) {
                /* With nothing incoming at all the outgoing servers are told once. */
                if (any ? !srv_target(questions, n, protocols[p], 0, &unused) : p > 0)
                        continue;
                r = 1;
                for (unsigned i = 0; r > 0 && i < SRV_PAIRS; i++)
                        r = srv_candidate(to, questions, n, protocols[p], i);
        }
        return MIN(r, 0);
}

static void questions_deinit(SrvQuestion *questions, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                questions[i].fiber = fiber_cancel(questions[i].fiber);
                dns_records_free(questions[i].records);
        }
}

/* The single target "." says: decidedly not here (RFC 2782). */
static bool denied(const SrvQuestion *q)
{
        return q->records && q->records->n_srv == 1 && !q->records->srv[0].target[0];
}

static bool offered(const SrvQuestion *q)
{
        return q->records && q->records->n_srv > 0 && q->records->srv[0].target[0];
}

/* Is @protocol denied, and under no label offered? */
static bool protocol_denied(const SrvQuestion *questions, size_t n, Protocol protocol)
{
        bool no = false;

        for (size_t i = 0; i < n; i++) {
                if (questions[i].protocol != protocol)
                        continue;
                if (offered(&questions[i]))
                        return false;
                no |= denied(&questions[i]);
        }
        return no;
}

static int srv_denials(Candidates *to, const SrvQuestion *questions, size_t n)
{
        bool imap = false;

        to->no_pop = protocol_denied(questions, n, PROTOCOL_POP3);
        to->no_imap = protocol_denied(questions, n, PROTOCOL_IMAP);
        for (size_t i = 0; i < n; i++)
                imap |= questions[i].protocol == PROTOCOL_IMAP && offered(&questions[i]);
        return to->no_pop && imap
                       ? text_set(&to->alternative,
                                  "This domain announces IMAP and says that it has no POP3.")
                       : 0;
}

static int questions_ask(SrvQuestion *questions, size_t n)
{
        int r = 0, result;

        for (size_t i = 0; i < n && r == 0; i++)
                r = fiber_start(&questions[i].fiber, "srv", srv_ask, &questions[i]);
        for (size_t i = 0; i < n && r == 0; i++) {
                r = fiber_join(&questions[i].fiber, &result);
                r = r < 0 ? r : result;
        }
        return r;
}

int source_srv(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        SrvQuestion questions[] = {
                { "_pop3s._tcp", PROTOCOL_POP3, SECURITY_TLS, .context = context },
                { "_pop3._tcp", PROTOCOL_POP3, SECURITY_STARTTLS, .context = context },
                { "_submissions._tcp", PROTOCOL_SMTP, SECURITY_TLS, .context = context },
                { "_submission._tcp", PROTOCOL_SMTP, SECURITY_STARTTLS, .context = context },
                { "_imaps._tcp", PROTOCOL_IMAP, SECURITY_TLS, .context = context },
                { "_imap._tcp", PROTOCOL_IMAP, SECURITY_STARTTLS, .context = context },
        };
        int r = questions_ask(questions, ELEMENTS(questions));

        if (r == 0)
                r = srv_candidates(to, questions, ELEMENTS(questions), context);
        if (r == 0)
                r = srv_denials(to, questions, ELEMENTS(questions));
        if (r == 0 && to->n == 0 && questions[0].status != DNS_OK)
                snprintf(note->text, sizeof(note->text), "%s",
                         dns_status_name(questions[0].status));
        else
                snprintf(note->text, sizeof(note->text), "%zu found%s", to->n,
                         to->no_pop ? ", and a word that there is no POP3" : "");
        questions_deinit(questions, ELEMENTS(questions));
        return r;
}
