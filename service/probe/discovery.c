/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See discovery.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/fiber.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/discovery.h"

typedef struct SourceRun {
        const char *name;
        int (*ask)(Candidates *, const DiscoveryContext *, SourceNote *);
        bool on;
        const DiscoveryContext *context;
        Candidates *found;
        SourceNote note;
        uint64_t usec;
        Fiber *fiber;
} SourceRun;

static void candidate_deinit(Candidate *candidate)
{
        endpoint_deinit(&candidate->incoming);
        endpoint_deinit(&candidate->outgoing);
        free(candidate->hint_url);
        *candidate = (Candidate){};
}

Candidates *candidates_free(Candidates *candidates)
{
        if (!candidates)
                return NULL;
        for (size_t i = 0; i < candidates->n; i++)
                candidate_deinit(&candidates->list[i]);
        list_free(candidates->sources);
        free(candidates);
        return NULL;
}

/* What was found and not named by the user goes to the ports of mail only: a document must not aim us at something else. */
static bool port_known(const Endpoint *endpoint)
{
        static const uint16_t known[] = { 110, 995, 25, 465, 587, 2525 };

        for (size_t i = 0; i < ELEMENTS(known); i++)
                if (endpoint->port == known[i])
                        return true;
        return false;
}

void candidates_add(Candidates *candidates, Candidate *candidate)
{
        Candidate *slot = &candidates->list[candidates->n];

        if (candidate->incoming.host && !port_known(&candidate->incoming))
                endpoint_deinit(&candidate->incoming);
        if (candidate->outgoing.host && !port_known(&candidate->outgoing))
                endpoint_deinit(&candidate->outgoing);
        if (candidates->n == LIMIT_CANDIDATES ||
            (!candidate->incoming.host && !candidate->outgoing.host)) {
                candidate_deinit(candidate);
                return;
        }
        *slot = *candidate;
        *candidate = (Candidate){};
        snprintf(slot->id, sizeof(slot->id), "c%zu", ++candidates->n);
}

const char *source_name(Source source)
{
        switch (source) {
        case SOURCE_BY_HAND:
                return "by-hand";
        case SOURCE_ACCOUNT:
                return "account";
        case SOURCE_AUTOCONFIG:
                return "autoconfig";
        case SOURCE_SRV:
                return "srv";
        case SOURCE_GUESS:
                return "guess";
        }
        return "unknown";
}

const char *trust_name(Trust trust)
{
        switch (trust) {
        case TRUST_USER:
                return "user";
        case TRUST_PROVIDER:
                return "provider";
        case TRUST_DOMAIN:
                return "domain";
        case TRUST_NONE:
                return "none";
        }
        return "none";
}

Trust trust_of_host(const char *host, const char *domain)
{
        return host_same_organisation(host, domain) ? TRUST_DOMAIN : TRUST_NONE;
}

static int candidate_side(Dict *to, const char *key, const Endpoint *endpoint, Trust trust)
{
        _cleanup_(dict_freep) Dict *side = NULL;
        int r;

        if (!endpoint->host)
                return 0;
        side = dict_new();
        if (!side)
                return -ENOMEM;
        r = endpoint_to_dict(endpoint, side);
        if (r == 0)
                r = dict_set_text(side, KEY_TRUST, trust_name(trust));
        return r < 0 ? r : dict_set_dict_take(to, key, TAKE(side));
}

int candidate_to_dict(const Candidate *candidate, Dict *to)
{
        int r;

        if ((r = dict_set_text(to, KEY_ID, candidate->id)) < 0 ||
            (r = dict_set_text(to, KEY_SOURCE, source_name(candidate->source))) < 0 ||
            (r = candidate_side(to, KEY_INCOMING, &candidate->incoming,
                                candidate->incoming_trust)) < 0 ||
            (r = candidate_side(to, KEY_OUTGOING, &candidate->outgoing,
                                candidate->outgoing_trust)) < 0)
                return r;
        return dict_set_text(to, KEY_HINT_URL, candidate->hint_url);
}

static int source_run(void *arg)
{
        SourceRun *run = arg;
        uint64_t begun = clock_now();
        int r;

        r = run->ask(run->found, run->context, &run->note);
        run->usec = clock_now() - begun;
        return r;
}

static int run_join(SourceRun *run)
{
        int r, result = 0;

        r = fiber_join(&run->fiber, &result);
        if (r == -ETIME) {
                snprintf(run->note.text, sizeof(run->note.text), "no answer in time");
                run->fiber = fiber_cancel(run->fiber);
                return 0;
        }
        if (r < 0)
                return r;
        return result == -ETIME ? 0 : result;
}

static int run_collect(Candidates *to, SourceRun *run)
{
        char line[sizeof(run->note.text) + 64];

        for (size_t i = 0; i < run->found->n; i++)
                candidates_add(to, &run->found->list[i]);
        run->found->n = 0;
        snprintf(line, sizeof(line), "%s: %s, %" PRIu64 " ms", run->name, run->note.text,
                 (run->usec + 500) / 1000);
        return list_append(&to->sources, line, LIMIT_CANDIDATES);
}

/* Does the mail domain exist, and does it take mail? Asked beside the sources. */
typedef struct DomainQuestion {
        const DiscoveryContext *context;
        DnsStatus status;
        bool null_mx;
        Fiber *fiber;
} DomainQuestion;

static int domain_ask(void *arg)
{
        DomainQuestion *q = arg;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_(dns_records_freep) DnsRecords *records = NULL;
        int r;

        r = dns_query(&records, q->context->dns, q->context->address->domain, DNS_MX, &no);
        if (r > 0)
                q->status = no.dns;
        else if (r == 0)
                q->null_mx = records->n_mx == 1 && !records->mx[0].host[0]; /* RFC 7505 section 3 */
        return r < 0 ? r : 0;
}

static int runs_start(SourceRun *runs, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                runs[i].found = calloc(1, sizeof(Candidates));
                if (!runs[i].found)
                        return -ENOMEM;
                if (runs[i].on)
                        r = fiber_start(&runs[i].fiber, runs[i].name, source_run, &runs[i]);
        }
        return r;
}

static int runs_finish(Candidates *to, SourceRun *runs, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++)
                if (runs[i].fiber) {
                        r = run_join(&runs[i]);
                        if (r == 0)
                                r = run_collect(to, &runs[i]);
                }
        return r;
}

static int discover_guess(Candidates *to, const DiscoveryContext *context)
{
        SourceNote note = {};
        int r;

        /* A domain that does not exist, or about which nobody answers, has no hosts to guess: the same silence again would only
         * hide behind a made-up name that it is the whole domain. */
        if (!context->guess || to->n > 0 || to->null_mx ||
            (to->domain != DNS_OK && to->domain != DNS_NO_DATA))
                return 0;
        r = source_guess(to, context, &note);
        return r < 0 ? r : list_append(&to->sources, "guess: three pairs to try", LIMIT_CANDIDATES);
}

int discover(Candidates **ret, const DiscoveryContext *context)
{
        _cleanup_(candidates_freep) Candidates *candidates = calloc(1, sizeof(*candidates));
        /* In order of rank: what the provider itself says over HTTPS stands above unsigned DNS. */
        SourceRun runs[] = {
                { "autoconfig", source_autoconfig, context->autoconfig, context },
                { "srv", source_srv, context->srv, context },
        };
        DomainQuestion domain = { .context = context };
        int r, result;

        if (!candidates)
                return -ENOMEM;
        FIBER_DEADLINE(LIMIT_DISCOVERY_USEC);
        r = fiber_start(&domain.fiber, "mx", domain_ask, &domain);
        if (r == 0)
                r = runs_start(runs, ELEMENTS(runs));
        if (r == 0)
                r = fiber_join(&domain.fiber, &result);
        candidates->domain = domain.status;
        candidates->null_mx = domain.null_mx;
        /* Nothing under a name that does not exist can answer (RFC 8020). */
        if (r == 0 && domain.status != DNS_NXDOMAIN)
                r = runs_finish(candidates, runs, ELEMENTS(runs));
        domain.fiber = fiber_cancel(domain.fiber);
        for (size_t i = 0; i < ELEMENTS(runs); i++) {
                runs[i].fiber = fiber_cancel(runs[i].fiber);
                candidates_free(runs[i].found);
        }
        if (r == 0)
                r = discover_guess(candidates, context);
        if (r < 0)
                return r;
        *ret = TAKE(candidates);
        return 0;
}
