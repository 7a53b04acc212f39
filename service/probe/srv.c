/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SRV records (RFC 6186, RFC 8314 section 5.1): all questions at once. Implicit-TLS labels come first whatever the priorities say;
 * a target of "." is a decided no for its label only. The answer is unsigned: a target outside the domain needs the user's word. */
#include <stdio.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

typedef struct SrvQuestion {
        const char *label;
        Protocol protocol;
        Security security;
        bool imap; /* only asked to be able to say what there is instead of POP3 */
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

static int srv_endpoint(Endpoint *e, const SrvQuestion *q, const DnsSrv *srv)
{
        e->protocol = q->protocol;
        e->security = q->security;
        e->port = srv->port;
        return text_set(&e->user, q->context->address->address) < 0
                       ? -ENOMEM
                       : host_normalize(&e->host, srv->target);
}

/* The first usable target of the questions for one protocol, from @from on (to walk them). */
static bool srv_next(const SrvQuestion *questions, size_t n, Protocol protocol, unsigned skip,
                     const SrvQuestion **ret_q, const DnsSrv **ret_srv)
{
        for (size_t i = 0; i < n; i++)
                for (unsigned k = 0;
                     !questions[i].imap && questions[i].records &&
                     questions[i].protocol == protocol && k < questions[i].records->n_srv;
                     k++) {
                        const DnsSrv *srv = &questions[i].records->srv[k];

                        if (!srv->target[0] || srv->port == 0)
                                continue;
                        if (skip-- == 0) {
                                *ret_q = &questions[i];
                                *ret_srv = srv;
                                return true;
                        }
                }
        return false;
}

/* Pairs the i-th incoming with the i-th outgoing; a shorter list repeats its first. */
static int srv_candidate(Candidates *to, const SrvQuestion *questions, size_t n, unsigned index,
                         bool *ret_more)
{
        const char *domain = questions[0].context->address->domain;
        Candidate candidate = { .source = SOURCE_SRV };
        const SrvQuestion *q;
        const DnsSrv *srv;
        bool more = false;
        int r;

        more |= srv_next(questions, n, PROTOCOL_POP3, index, &q, &srv);
        if (more || srv_next(questions, n, PROTOCOL_POP3, 0, &q, &srv)) {
                r = srv_endpoint(&candidate.incoming, q, srv);
                if (r == -ENOMEM)
                        return r;
                if (r == 0)
                        candidate.incoming_trust = trust_of_host(candidate.incoming.host, domain);
        }
        if (srv_next(questions, n, PROTOCOL_SMTP, index, &q, &srv))
                more = true;
        else if (!srv_next(questions, n, PROTOCOL_SMTP, 0, &q, &srv))
                q = NULL;
        if (q) {
                r = srv_endpoint(&candidate.outgoing, q, srv);
                if (r == -ENOMEM)
                        return r;
                if (r == 0)
                        candidate.outgoing_trust = trust_of_host(candidate.outgoing.host, domain);
        }
        if (more)
                candidates_add(to, &candidate);
        endpoint_deinit(&candidate.incoming);
        endpoint_deinit(&candidate.outgoing);
        *ret_more = more;
        return 0;
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

static int srv_denials(Candidates *to, const SrvQuestion *questions, size_t n)
{
        bool pop = false, no = false, imap = false;

        for (size_t i = 0; i < n; i++) {
                const SrvQuestion *q = &questions[i];

                imap |= q->imap && offered(q);
                pop |= !q->imap && q->protocol == PROTOCOL_POP3 && offered(q);
                no |= !q->imap && q->protocol == PROTOCOL_POP3 && denied(q);
        }
        if (pop || !no)
                return 0;
        to->no_pop = true;
        return imap ? text_set(&to->alternative,
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
                { "_imaps._tcp", PROTOCOL_POP3, SECURITY_TLS, true, .context = context },
        };
        bool more = true;
        int r = questions_ask(questions, ELEMENTS(questions));

        for (unsigned i = 0; r == 0 && more && i < 4; i++)
                r = srv_candidate(to, questions, ELEMENTS(questions), i, &more);
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
