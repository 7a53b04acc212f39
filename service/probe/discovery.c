/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See discovery.h. Rank is a place in one table, and each run of a source has its own list; the ranking is made anew from the lists of those that
 * have ended, so that no order of arrival can show in it. The surprising thing: when a source has answered, the question is not who was
 * first but who may still overrule it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "probe/sources.h"

typedef struct SourceRun {
        Source source;
        int (*ask)(Candidates *, const DiscoveryContext *, SourceNote *);
        bool network, on;
        Discovery *discovery;
        Candidates *found;
        SourceNote note;
        uint64_t usec;
        int result;
        bool asked, ended;
        bool heard; /* it has ended, and the ranking knows */
        Fiber *fiber;
} SourceRun;

struct Discovery {
        DiscoveryContext context;
        SourceRun runs[N_SOURCES]; /* in order of rank */
        size_t n_runs;
        Ranking ranking;
        FiberQueue news;
        uint64_t begun;
        bool again; /* what was found did not do: whoever has not been asked is asked */
};

/* --- the ranking ------------------------------------------------------------------------------------------------------ */

static void first(const char **to, const char *text)
{
        if (!*to)
                *to = text;
}

static void rank_facts(Discovery *d, bool *no_pop, bool *no_imap)
{
        Ranking *r = &d->ranking;

        for (size_t i = 0; i < d->n_runs; i++) {
                const Candidates *said = d->runs[i].found;

                if (!d->runs[i].heard)
                        continue;
                if (said->domain_known) {
                        r->domain_known = true;
                        r->domain = said->domain;
                        r->null_mx = said->null_mx;
                        r->takes_mail = said->takes_mail;
                }
                r->port_forbidden |= said->port_forbidden;
                *no_pop |= said->no_pop;
                *no_imap |= said->no_imap;
                first(&r->filter, said->filter);
                first(&r->provider, said->provider);
                first(&r->alternative, said->alternative);
                first(&r->alternative_url, said->alternative_url);
        }
}

static bool side_found(const Ranking *ranking, Side side)
{
        for (size_t i = 0; i < ranking->n; i++)
                if (ranking->list[i].endpoint[side])
                        return true;
        return false;
}

static bool rank_known(const Ranking *ranking, const Ranked *ranked)
{
        for (size_t i = 0; i < ranking->n; i++) {
                const Ranked *other = &ranking->list[i];
                bool same = true;

                for (size_t side = 0; side < 2; side++) {
                        const Endpoint *a = ranked->endpoint[side], *b = other->endpoint[side];

                        same &= a && b ? endpoint_same(a, b) : a == b;
                }
                if (same)
                        return true;
        }
        return false;
}

/* A domain that does not exist, takes no mail, or whose name servers fail has no hosts to guess. */
static bool guess_allowed(const Ranking *r)
{
        return !r->no_access && !r->null_mx &&
               (!r->domain_known || r->domain == DNS_OK || r->domain == DNS_NO_DATA);
}

static void rank_run(Discovery *d, const SourceRun *run)
{
        Ranking *r = &d->ranking;
        bool wanted[2] = { d->context.wanted[0], d->context.wanted[1] };

        /* A guess is for the side that nobody knows, and no second opinion about the other one. */
        for (size_t side = 0; run->source == SOURCE_GUESS && side < 2; side++)
                wanted[side] &= guess_allowed(r) && !side_found(r, (Side) side);
        for (size_t i = 0; i < run->found->n && r->n < LIMIT_CANDIDATES; i++) {
                Ranked ranked = { .candidate = &run->found->list[i] };

                for (size_t side = 0; side < 2; side++) {
                        const Endpoint *e = candidate_endpoint(ranked.candidate, (Side) side);

                        ranked.endpoint[side] = wanted[side] && e->host ? e : NULL;
                }
                if ((ranked.endpoint[0] || ranked.endpoint[1]) && !rank_known(r, &ranked))
                        r->list[r->n++] = ranked;
        }
}

/* Never from the distance alone: only for what does not exist or takes no mail. */
static void rank_suggestion(Discovery *d)
{
        Ranking *r = &d->ranking;

        if (r->n == 0 && d->context.providers && r->domain_known && !r->takes_mail &&
            (r->domain == DNS_NXDOMAIN || r->null_mx || r->domain == DNS_NO_DATA))
                r->suggestion = provider_near(d->context.providers, d->context.address->domain);
}

/* Returns whether the list is another one. */
static bool rank(Discovery *d)
{
        const Ranking before = d->ranking;
        bool no_pop = false, no_imap = false;

        d->ranking = (Ranking){ .decided = d->ranking.decided, .complete = d->ranking.complete };
        for (size_t i = 0; i < d->n_runs; i++)
                d->runs[i].heard = d->runs[i].ended;
        rank_facts(d, &no_pop, &no_imap);
        d->ranking.no_access = (no_pop || !d->context.pop3) && (no_imap || !d->context.imap);
        for (size_t i = 0; i < d->n_runs; i++)
                if (d->runs[i].heard)
                        rank_run(d, &d->runs[i]);
        rank_suggestion(d);
        return before.n != d->ranking.n ||
               memcmp(before.list, d->ranking.list, before.n * sizeof(Ranked)) != 0;
}

/* --- is there anything left to wait for? --------------------------------------------------------------------------------- */

/* Nothing under a name that does not exist can answer (RFC 8020); and who takes no mail (RFC 7505) has none to fetch. */
static bool domain_absent(const Discovery *d)
{
        const Ranking *r = &d->ranking;

        return r->domain_known && (r->domain == DNS_NXDOMAIN || r->null_mx);
}

static const SourceRun *run_of(const Discovery *d, const Candidate *candidate)
{
        for (size_t i = 0; i < d->n_runs; i++) {
                const Candidates *found = d->runs[i].found;

                if (candidate >= found->list && candidate < found->list + found->n)
                        return &d->runs[i];
        }
        return NULL;
}

/* The best for @side; NULL for none. */
static const Candidate *best_of(const Discovery *d, Side side)
{
        for (size_t i = 0; i < d->ranking.n; i++)
                if (d->ranking.list[i].endpoint[side])
                        return d->ranking.list[i].candidate;
        return NULL;
}

bool discovery_final(const Discovery *d, const Candidate *candidate, Side side, uint64_t *ret_due)
{
        const SourceRun *run = run_of(d, candidate);
        bool above = false;

        *ret_due = USEC_INFINITY;
        for (const SourceRun *other = d->runs; run && other < run; other++)
                above |= !other->heard;
        if (!above || d->ranking.complete)
                return true;
        /* A guess is no answer that others had better hurry to beat. */
        if (candidate->source == SOURCE_GUESS || candidate_trust(candidate, side) == TRUST_NONE)
                return false;
        *ret_due = d->begun + run->usec + d->context.patience_usec;
        return clock_now() >= *ret_due;
}

static bool all_heard(const Discovery *d)
{
        for (size_t i = 0; i < d->n_runs; i++)
                if (!d->runs[i].heard)
                        return false;
        return true;
}

/* Looks whether it is decided; @ret_due is when to look again without news. */
static void decide(Discovery *d, uint64_t *ret_due)
{
        Ranking *r = &d->ranking;
        bool final = !d->context.all;

        *ret_due = USEC_INFINITY;
        r->complete = all_heard(d) || domain_absent(d);
        for (size_t side = 0; side < 2 && final; side++) {
                const Candidate *best = best_of(d, (Side) side);

                if (!d->context.wanted[side] || (side == SIDE_INCOMING && r->no_access))
                        continue;
                final = best && discovery_final(d, best, (Side) side, ret_due);
        }
        r->decided |= r->complete || final;
}

/* --- running the sources --------------------------------------------------------------------------------------------------- */

static int source_run(void *arg)
{
        SourceRun *run = arg;
        Discovery *d = run->discovery;
        int r;

        r = run->ask(run->found, &d->context, &run->note);
        if (r == -ECANCELED)
                return r;
        if (r == -ETIME) {
                snprintf(run->note.text, sizeof(run->note.text), "no answer in time");
                r = 0;
        }
        if (r == 0)
                r = candidates_wish(run->found, d->context.wishes);
        run->usec = clock_now() - d->begun;
        run->result = r;
        run->ended = true;
        fiber_queue_wake_all(&d->news);
        return r;
}

/* Half an answer is none: what a cancelled source had is forgotten, but not whom it had told what. */
static int run_start(SourceRun *run)
{
        char **disclosed = TAKE(run->found->disclosed);

        candidates_clear(run->found);
        run->found->disclosed = disclosed;
        run->asked = true;
        run->fiber = fiber_cancel(run->fiber);
        return fiber_start(&run->fiber, source_name(run->source), source_run, run);
}

static int runs_start(Discovery *d, bool network)
{
        int r = 0;

        for (size_t i = 0; i < d->n_runs && r == 0; i++)
                if (d->runs[i].network == network && !d->runs[i].ended)
                        r = run_start(&d->runs[i]);
        return r;
}

static void runs_cancel(Discovery *d)
{
        for (size_t i = 0; i < d->n_runs; i++)
                d->runs[i].fiber = fiber_cancel(d->runs[i].fiber);
}

static void runs_cancelp(Discovery **d)
{
        runs_cancel(*d);
}

static int runs_result(const Discovery *d)
{
        for (size_t i = 0; i < d->n_runs; i++)
                if (d->runs[i].ended && d->runs[i].result < 0)
                        return d->runs[i].result;
        return 0;
}

/* Files and table: they have answered before anybody outside is asked anything. */
static int search_local(Discovery *d)
{
        int r = runs_start(d, false);

        for (size_t i = 0; i < d->n_runs && r == 0; i++)
                if (d->runs[i].fiber)
                        r = fiber_join(&d->runs[i].fiber, NULL);
        return r < 0 ? r : runs_result(d);
}

/* Do they answer for every side that is wanted, without anybody outside being asked? The usual ports of a host by hand are no answer. */
static bool local_answer(const Discovery *d)
{
        if (d->context.all || d->again)
                return false;
        for (size_t side = 0; side < 2; side++) {
                const Candidate *best = best_of(d, (Side) side);

                if (d->context.wanted[side] && (!best || best->source == SOURCE_BY_HAND) &&
                    !(side == SIDE_INCOMING && d->ranking.no_access))
                        return false;
        }
        return true;
}

static int search_wait(Discovery *d, uint64_t due)
{
        uint64_t now = clock_now();

        FIBER_DEADLINE(due == USEC_INFINITY ? LIMIT_DISCOVERY_USEC : due > now ? due - now : 1);
        return fiber_queue_wait(&d->news);
}

static void tell(Discovery *d, bool list)
{
        if (d->context.changed)
                d->context.changed(d->context.userdata, list);
}

/* Until everybody has answered, or the time is over. */
static int search_network(Discovery *d)
{
        uint64_t due, end = d->begun + LIMIT_DISCOVERY_USEC;
        bool changed;
        int r;

        r = runs_start(d, true);
        while (r == 0) {
                changed = rank(d);
                decide(d, &due);
                tell(d, changed);
                if (d->ranking.complete)
                        break;
                r = search_wait(d, MIN(due, end));
                if (r == -ETIME && clock_now() >= end)
                        break;
                if (r == 0 || r == -ETIME)
                        r = runs_result(d);
        }
        return r == -ETIME ? 0 : r;
}

int discovery_run(void *arg)
{
        Discovery *d = arg;
        _cleanup_(runs_cancelp) _unused_ Discovery *cleanup = d;
        const bool was_enough = d->again;
        bool changed;
        int r;

        d->begun = clock_now();
        r = search_local(d);
        if (r < 0)
                return r;
        changed = rank(d);
        if (local_answer(d))
                d->again = d->ranking.decided = true;
        tell(d, changed);
        if (d->again && !was_enough)
                return 0;
        r = search_network(d);
        if (r < 0)
                return r;
        runs_cancel(d);
        d->ranking.decided = d->ranking.complete = true;
        tell(d, false);
        return 0;
}

/* --- the search as a thing --------------------------------------------------------------------------------------------------- */

static int discovery_add(Discovery *d, SourceRun run)
{
        if (!run.on)
                return 0;
        run.discovery = d;
        run.found = calloc(1, sizeof(Candidates));
        if (!run.found)
                return -ENOMEM;
        d->runs[d->n_runs++] = run;
        return 0;
}

int discovery_new(Discovery **ret, const DiscoveryContext *c)
{
        _cleanup_(discovery_freep) Discovery *d = calloc(1, sizeof(*d));
        const SourceRun runs[] = {
                { SOURCE_ADMINISTRATOR, source_local, false, c->autoconfig_directory != NULL },
                { SOURCE_TABLE, source_table, false, c->table && c->providers },
                { SOURCE_PACC, source_pacc, true, c->pacc },
                { SOURCE_AUTOCONFIG, source_autoconfig, true, c->autoconfig },
                { SOURCE_ISPDB, source_ispdb, true, c->ispdb != NULL },
                { SOURCE_SRV, source_srv, true, c->srv },
                { SOURCE_MX, source_mx, true, true },
                { SOURCE_HTTP, source_http, true, c->plain_http },
                { SOURCE_CERTIFICATE, source_certificate, true, c->certificate },
                /* The user's own host, with the ports that are usual, where nobody knows better ones. */
                { SOURCE_BY_HAND, source_by_hand, false, c->wishes[0]->host || c->wishes[1]->host },
                { SOURCE_GUESS, source_guess, true, c->guess },
        };
        int r = 0;

        if (!d)
                return -ENOMEM;
        d->context = *c;
        for (size_t i = 0; i < ELEMENTS(runs) && r == 0; i++)
                r = discovery_add(d, runs[i]);
        if (r < 0)
                return r;
        *ret = TAKE(d);
        return 0;
}

Discovery *discovery_free(Discovery *d)
{
        if (!d)
                return NULL;
        runs_cancel(d);
        for (size_t i = 0; i < d->n_runs; i++)
                candidates_free(d->runs[i].found);
        free(d);
        return NULL;
}

const Ranking *discovery_ranking(const Discovery *d)
{
        return &d->ranking;
}

int discovery_sources(const Discovery *d, char ***to)
{
        int r = 0;

        for (size_t i = 0; i < d->n_runs && r == 0; i++) {
                const SourceRun *run = &d->runs[i];
                _cleanup_free_ char *line = NULL;

                if (!run->asked)
                        continue;
                r = run->ended
                            ? text_format(&line, "%s: %s, %" PRIu64 " ms", source_name(run->source),
                                          run->note.text, (run->usec + 500) / USEC_PER_MSEC)
                            : text_format(&line, "%s: not waited for", source_name(run->source));
                if (r == 0)
                        r = list_append(to, line, LIMIT_DICTIONARY);
        }
        return r;
}

int discovery_disclosed(const Discovery *d, char ***to)
{
        int r = 0;

        for (size_t i = 0; i < d->n_runs; i++)
                for (char **line = d->runs[i].found->disclosed; line && *line && r == 0; line++)
                        if (!list_contains_nocase(*to, *line))
                                r = list_append(to, *line, LIMIT_DICTIONARY);
        return r == -ENOBUFS ? 0 : r;
}

/* --- shared by the sources ------------------------------------------------------------------------------------------------------ */

size_t incoming_protocols(const DiscoveryContext *context, Protocol ret[2])
{
        size_t n = 0;

        if (context->pop3)
                ret[n++] = PROTOCOL_POP3;
        if (context->imap)
                ret[n++] = PROTOCOL_IMAP;
        return n;
}

int endpoint_default(Endpoint *to, Protocol protocol, const char *host, Security security,
                     const MailAddress *address)
{
        int r;

        endpoint_deinit(to);
        *to = (Endpoint){ .protocol = protocol,
                          .security = security,
                          .port = protocol_default_port(protocol, security) };
        r = text_set(&to->host, host);
        return r < 0 ? r : text_set(&to->user, address->address);
}

int disclose(Candidates *to, const char *how, const char *whom, const char *what)
{
        _cleanup_free_ char *line = NULL;
        int r = text_format(&line, "%s %s: %s", how, whom, what);

        if (r == 0 && !list_contains_nocase(to->disclosed, line))
                r = list_append(&to->disclosed, line, LIMIT_DICTIONARY);
        return r == -ENOBUFS ? 0 : r;
}
