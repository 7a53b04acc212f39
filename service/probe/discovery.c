/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See discovery.h. All sources start at the same moment, each on a fiber; rank is a place in one table. The surprising thing: when a source has
 * answered, the question is not who was first but who may still overrule it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/sources.h"

/* How long a trusted answer waits for those that rank above it. */
#define DISCOVERY_GRACE_USEC USEC_PER_SEC

typedef struct Search Search;

typedef struct SourceRun {
        Source source;
        int (*ask)(Candidates *, const DiscoveryContext *, SourceNote *);
        Search *search;
        Candidates *found;
        SourceNote note;
        uint64_t usec;
        int result;
        bool ended;
        Fiber *fiber;
} SourceRun;

struct Search {
        const DiscoveryContext *context;
        SourceRun runs[N_SOURCES];
        size_t n_runs;
        FiberQueue news;
        uint64_t begun;
        uint64_t covered_since; /* by trusted answers; 0 not yet */
};

/* --- candidates -------------------------------------------------------------------------------------------------- */

static void candidate_deinit(Candidate *candidate)
{
        endpoint_deinit(&candidate->incoming);
        endpoint_deinit(&candidate->outgoing);
        free(candidate->provider);
        free(candidate->provider_name);
        free(candidate->hint_url);
        free(candidate->password_url);
        free(candidate->oauth_issuer);
        free(candidate->plan);
        *candidate = (Candidate){};
}

Candidates *candidates_free(Candidates *candidates)
{
        if (!candidates)
                return NULL;
        for (size_t i = 0; i < candidates->n; i++)
                candidate_deinit(&candidates->list[i]);
        list_free(candidates->sources);
        list_free(candidates->disclosed);
        free(candidates->filter);
        free(candidates->suggestion);
        free(candidates->no_pop_provider);
        free(candidates->alternative);
        free(candidates->alternative_url);
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

static bool candidate_known(const Candidates *candidates, const Candidate *candidate)
{
        for (size_t i = 0; i < candidates->n; i++)
                if (endpoint_same(&candidates->list[i].incoming, &candidate->incoming) &&
                    endpoint_same(&candidates->list[i].outgoing, &candidate->outgoing))
                        return true;
        return false;
}

void candidates_add(Candidates *candidates, Candidate *candidate)
{
        Candidate *slot;

        if (candidate->incoming.host && !port_known(&candidate->incoming))
                endpoint_deinit(&candidate->incoming);
        if (candidate->outgoing.host && !port_known(&candidate->outgoing))
                endpoint_deinit(&candidate->outgoing);
        if (candidates->n == LIMIT_CANDIDATES ||
            (!candidate->incoming.host && !candidate->outgoing.host) ||
            candidate_known(candidates, candidate)) {
                candidate_deinit(candidate);
                return;
        }
        slot = &candidates->list[candidates->n];
        *slot = *candidate;
        *candidate = (Candidate){};
        snprintf(slot->id, sizeof(slot->id), "c%zu", ++candidates->n);
}

static void move_text(char **to, char **from)
{
        if (!*to)
                *to = TAKE(*from);
}

static int move_list(char ***to, char ***from)
{
        int r = 0;

        for (char **p = *from; p && *p && r == 0; p++)
                if (!list_contains_nocase(*to, *p))
                        r = list_append(to, *p, LIMIT_DICTIONARY);
        return r == -ENOBUFS ? 0 : r;
}

int candidates_merge(Candidates *to, Candidates *from)
{
        int r;

        for (size_t i = 0; i < from->n; i++)
                candidates_add(to, &from->list[i]);
        from->n = 0;
        r = move_list(&to->sources, &from->sources);
        if (r == 0)
                r = move_list(&to->disclosed, &from->disclosed);
        if (from->domain_known) {
                to->domain_known = true;
                to->domain = from->domain;
                to->null_mx = from->null_mx;
                to->takes_mail = from->takes_mail;
        }
        to->no_pop |= from->no_pop;
        to->complete |= from->complete;
        move_text(&to->filter, &from->filter);
        move_text(&to->suggestion, &from->suggestion);
        move_text(&to->no_pop_provider, &from->no_pop_provider);
        move_text(&to->alternative, &from->alternative);
        move_text(&to->alternative_url, &from->alternative_url);
        return r;
}

const char *source_name(Source source)
{
        switch (source) {
        case SOURCE_BY_HAND:
                return "by-hand";
        case SOURCE_ACCOUNT:
                return "account";
        case SOURCE_ADMINISTRATOR:
                return "administrator";
        case SOURCE_TABLE:
                return "table";
        case SOURCE_PACC:
                return "pacc";
        case SOURCE_AUTOCONFIG:
                return "autoconfig";
        case SOURCE_ISPDB:
                return "ispdb";
        case SOURCE_SRV:
                return "srv";
        case SOURCE_MX:
                return "mx";
        case SOURCE_HTTP:
                return "http";
        case SOURCE_CERTIFICATE:
                return "certificate";
        case SOURCE_GUESS:
                return "guess";
        case N_SOURCES:
                break;
        }
        return "unknown";
}

const char *trust_name(Trust trust)
{
        switch (trust) {
        case TRUST_USER:
                return "user";
        case TRUST_ADMINISTRATOR:
                return "administrator";
        case TRUST_TABLE:
                return "table";
        case TRUST_PROVIDER:
                return "provider";
        case TRUST_ISPDB:
                return "ispdb";
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

int disclose(Candidates *to, const char *how, const char *whom, const char *what)
{
        _cleanup_free_ char *line = NULL;
        int r = text_format(&line, "%s %s: %s", how, whom, what);

        if (r == 0 && !list_contains_nocase(to->disclosed, line))
                r = list_append(&to->disclosed, line, LIMIT_DICTIONARY);
        return r == -ENOBUFS ? 0 : r;
}

/* --- candidates, told --------------------------------------------------------------------------------------------- */

static int candidate_side(Dict *to, const char *key, const Endpoint *endpoint, Trust trust,
                          Source source)
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
        if (r == 0)
                r = dict_set_text(side, KEY_SOURCE, source_name(source));
        return r < 0 ? r : dict_set_dict_take(to, key, TAKE(side));
}

/* A sentence, with the page behind it where there is one. */
static int hint(char ***to, const char *sentence, const char *page)
{
        _cleanup_free_ char *line = NULL;
        int r = text_format(&line, page ? "%s: %s" : "%s%s", sentence, page ? page : ".");

        return r < 0 ? r : list_append(to, line, LIMIT_DICTIONARY);
}

int candidate_hints(const Candidate *c, char ***to)
{
        _cleanup_free_ char *plan = NULL;
        int r = 0;

        if (c->incoming.host && c->pop == POP_OFF)
                r = hint(to, "POP must be switched on first", c->hint_url);
        if (r == 0 && c->oauth_only)
                r = hint(to, "No password opens this account, only a sign-in in the browser", NULL);
        else if (r == 0 && c->app_password)
                r = hint(to, "The account's own password does not work, an app password is needed",
                         c->password_url);
        else if (r == 0 && c->password_url)
                r = hint(to, "With two-factor authentication an app password is needed",
                         c->password_url);
        if (r == 0 && c->plan)
                r = text_format(&plan, "Access for mail programs: %s", c->plan);
        return r == 0 && plan ? hint(to, plan, NULL) : r;
}

int candidate_to_dict(const Candidate *candidate, Dict *to)
{
        _cleanup_list_ char **hints = NULL;
        int r;

        if ((r = dict_set_text(to, KEY_ID, candidate->id)) < 0 ||
            (r = dict_set_text(to, KEY_SOURCE, source_name(candidate->source))) < 0 ||
            (r = candidate_side(to, KEY_INCOMING, &candidate->incoming, candidate->incoming_trust,
                                candidate->source)) < 0 ||
            (r = candidate_side(to, KEY_OUTGOING, &candidate->outgoing, candidate->outgoing_trust,
                                candidate->source)) < 0 ||
            (r = dict_set_text(to, KEY_PROVIDER, candidate->provider)) < 0 ||
            (r = dict_set_text(to, KEY_HINT_URL,
                               candidate->pop == POP_OFF || !candidate->app_password
                                       ? candidate->hint_url
                                       : candidate->password_url)) < 0 ||
            (r = dict_set_text(to, KEY_PASSWORD_URL, candidate->password_url)) < 0 ||
            (r = dict_set_text(to, KEY_OAUTH_ISSUER, candidate->oauth_issuer)) < 0 ||
            (r = dict_set_text(to, KEY_SECRET_KIND,
                               candidate->oauth_only     ? "authorization"
                               : candidate->app_password ? "app-password"
                                                         : "password")) < 0 ||
            (r = candidate_hints(candidate, &hints)) < 0)
                return r;
        return dict_set_list(to, KEY_HINTS, hints);
}

/* --- running the sources -------------------------------------------------------------------------------------------- */

static int source_run(void *arg)
{
        SourceRun *run = arg;

        run->result = run->ask(run->found, run->search->context, &run->note);
        run->usec = clock_now() - run->search->begun;
        if (run->result == -ETIME) {
                run->result = 0;
                snprintf(run->note.text, sizeof(run->note.text), "no answer in time");
        }
        run->ended = true;
        fiber_queue_wake_all(&run->search->news);
        return run->result;
}

static int search_add(Search *search, Source source, bool on,
                      int (*ask)(Candidates *, const DiscoveryContext *, SourceNote *))
{
        SourceRun *run = &search->runs[search->n_runs];

        if (!on)
                return 0;
        *run = (SourceRun){ .source = source, .ask = ask, .search = search };
        run->found = calloc(1, sizeof(Candidates));
        if (!run->found)
                return -ENOMEM;
        search->n_runs++;
        return fiber_start(&run->fiber, source_name(source), source_run, run);
}

/* In order of rank. */
static int search_start(Search *search)
{
        const DiscoveryContext *c = search->context;
        int r;

        if ((r = search_add(search, SOURCE_ADMINISTRATOR, c->autoconfig_directory != NULL,
                            source_local)) < 0 ||
            (r = search_add(search, SOURCE_TABLE, c->table && c->providers, source_table)) < 0)
                return r;
        /* What needs no network has answered before anybody outside is asked anything. */
        for (size_t i = 0; i < search->n_runs; i++) {
                r = fiber_join(&search->runs[i].fiber, NULL);
                if (r == 0)
                        r = search->runs[i].result;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int search_start_network(Search *search)
{
        const DiscoveryContext *c = search->context;
        int r;

        if ((r = search_add(search, SOURCE_PACC, c->pacc, source_pacc)) < 0 ||
            (r = search_add(search, SOURCE_AUTOCONFIG, c->autoconfig, source_autoconfig)) < 0 ||
            (r = search_add(search, SOURCE_ISPDB, c->ispdb != NULL, source_ispdb)) < 0 ||
            (r = search_add(search, SOURCE_SRV, c->srv, source_srv)) < 0 ||
            (r = search_add(search, SOURCE_MX, true, source_mx)) < 0 ||
            (r = search_add(search, SOURCE_HTTP, c->plain_http, source_http)) < 0)
                return r;
        return search_add(search, SOURCE_CERTIFICATE, c->certificate, source_certificate);
}

/* Which wanted sides do the candidates of @found answer, and are the answers trusted? */
static void cover(const Candidates *found, bool covered[2], bool *trusted)
{
        covered[SIDE_INCOMING] |= found->no_pop;
        for (size_t i = 0; i < found->n; i++) {
                const Candidate *c = &found->list[i];

                if (c->incoming.host && !covered[SIDE_INCOMING]) {
                        covered[SIDE_INCOMING] = true;
                        *trusted &= c->incoming_trust != TRUST_NONE;
                }
                if (c->outgoing.host && !covered[SIDE_OUTGOING]) {
                        covered[SIDE_OUTGOING] = true;
                        *trusted &= c->outgoing_trust != TRUST_NONE;
                }
        }
}

/* Nothing under a name that does not exist can answer (RFC 8020). */
static bool domain_absent(const Search *search)
{
        for (size_t i = 0; i < search->n_runs; i++)
                if (search->runs[i].found->domain_known &&
                    search->runs[i].found->domain == DNS_NXDOMAIN)
                        return true;
        return false;
}

/* Have those that ended answered for every wanted side? */
static bool search_covered(const Search *search)
{
        bool covered[2] = { !search->context->wanted[0], !search->context->wanted[1] };
        bool trusted = true;

        for (size_t i = 0; i < search->n_runs; i++)
                if (search->runs[i].ended)
                        cover(search->runs[i].found, covered, &trusted);
        return covered[0] && covered[1];
}

/* Is there nothing left to wait for? Else @ret_due is when to look again without news. */
static bool search_done(Search *search, uint64_t *ret_due)
{
        const bool *wanted = search->context->wanted;
        bool covered[2] = { !wanted[0], !wanted[1] }, pending = false, trusted = true;

        *ret_due = USEC_INFINITY;
        if (domain_absent(search))
                return true;
        for (size_t i = 0; i < search->n_runs; i++) {
                if (!search->runs[i].ended) {
                        pending = true;
                        continue;
                }
                if (!covered[0] || !covered[1])
                        cover(search->runs[i].found, covered, &trusted);
                if (covered[0] && covered[1] && !pending && !search->context->all)
                        return true;
        }
        if (!pending)
                return true;
        if (search->context->all || !covered[0] || !covered[1] || !trusted)
                return false;
        if (search->covered_since == 0)
                search->covered_since = clock_now();
        *ret_due = search->covered_since + DISCOVERY_GRACE_USEC;
        return clock_now() >= *ret_due;
}

static int search_wait(Search *search, uint64_t due)
{
        uint64_t now = clock_now();

        FIBER_DEADLINE(due == USEC_INFINITY ? LIMIT_DISCOVERY_USEC : due > now ? due - now : 1);
        return fiber_queue_wait(&search->news);
}

static int search_run(Search *search)
{
        uint64_t due;
        int r;

        while (!search_done(search, &due)) {
                r = search_wait(search, due);
                if (r == -ETIME && clock_now() - search->begun < LIMIT_DISCOVERY_USEC)
                        continue;
                if (r == -ETIME)
                        return 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int run_collect(Candidates *to, SourceRun *run)
{
        _cleanup_free_ char *line = NULL;
        int r;

        if (run->ended && run->result < 0)
                return run->result;
        if (!run->ended)
                r = text_format(&line, "%s: not waited for", source_name(run->source));
        else
                r = text_format(&line, "%s: %s, %" PRIu64 " ms", source_name(run->source),
                                run->note.text, (run->usec + 500) / USEC_PER_MSEC);
        if (r == 0)
                r = list_append(&run->found->sources, line, LIMIT_CANDIDATES);
        /* Half an answer is none: what was not heard to its end has no candidates. */
        for (size_t i = 0; !run->ended && i < run->found->n; i++)
                candidate_deinit(&run->found->list[i]);
        if (!run->ended)
                run->found->n = 0;
        return r < 0 ? r : candidates_merge(to, run->found);
}

static int search_finish(Search *search, Candidates *to)
{
        int r = 0;

        to->complete = true;
        for (size_t i = 0; i < search->n_runs; i++) {
                SourceRun *run = &search->runs[i];

                run->fiber = fiber_cancel(run->fiber);
                if (run->ended && run->result == -ECANCELED)
                        run->ended = false;
                to->complete &= run->ended;
                if (r == 0)
                        r = run_collect(to, run);
        }
        return r;
}

static void search_deinit(Search *search)
{
        for (size_t i = 0; i < search->n_runs; i++) {
                search->runs[i].fiber = fiber_cancel(search->runs[i].fiber);
                search->runs[i].found = candidates_free(search->runs[i].found);
        }
}

/* --- what is left when nobody knows ------------------------------------------------------------------------------------ */

static bool side_found(const Candidates *found, Side side)
{
        for (size_t i = 0; i < found->n; i++)
                if (side == SIDE_INCOMING ? found->list[i].incoming.host
                                          : found->list[i].outgoing.host)
                        return true;
        return false;
}

/* A domain that does not exist, or whose name servers fail, has no hosts to guess. */
static bool domain_answers(const Candidates *found)
{
        return !found->domain_known || found->domain == DNS_OK || found->domain == DNS_NO_DATA;
}

static int discover_guess(Candidates *to, const DiscoveryContext *context)
{
        DiscoveryContext rest = *context;
        _cleanup_(candidates_freep) Candidates *found = NULL;
        _cleanup_free_ char *line = NULL;
        SourceNote note = {};
        int r;

        rest.wanted[SIDE_INCOMING] &= !side_found(to, SIDE_INCOMING) && !to->no_pop;
        rest.wanted[SIDE_OUTGOING] &= !side_found(to, SIDE_OUTGOING);
        if (!context->guess || !domain_answers(to) || to->null_mx ||
            (!rest.wanted[SIDE_INCOMING] && !rest.wanted[SIDE_OUTGOING]) ||
            (to->no_pop && context->wanted[SIDE_INCOMING]))
                return 0;
        found = calloc(1, sizeof(*found));
        if (!found)
                return -ENOMEM;
        r = source_guess(found, &rest, &note);
        if (r == 0)
                r = text_format(&line, "guess: %s", note.text);
        if (r == 0)
                r = list_append(&found->sources, line, LIMIT_CANDIDATES);
        return r < 0 ? r : candidates_merge(to, found);
}

/* Never from the distance alone: only for what does not exist or takes no mail. */
static int discover_suggest(Candidates *to, const DiscoveryContext *context)
{
        if (!context->providers || !to->domain_known || to->takes_mail || to->suggestion ||
            (to->domain != DNS_NXDOMAIN && !to->null_mx && to->domain != DNS_NO_DATA))
                return 0;
        return text_set(&to->suggestion,
                        provider_near(context->providers, context->address->domain));
}

int discover(Candidates **ret, const DiscoveryContext *context)
{
        _cleanup_(candidates_freep) Candidates *candidates = calloc(1, sizeof(*candidates));
        _cleanup_(search_deinit) Search search = { .context = context, .begun = clock_now() };
        bool network;
        int r;

        if (!candidates)
                return -ENOMEM;
        r = search_start(&search);
        network = context->all || !search_covered(&search);
        if (r == 0 && network)
                r = search_start_network(&search);
        if (r == 0)
                r = search_run(&search);
        if (r == 0)
                r = search_finish(&search, candidates);
        candidates->complete &= network;
        if (r == 0)
                r = discover_guess(candidates, context);
        if (r == 0)
                r = discover_suggest(candidates, context);
        if (r < 0)
                return r;
        *ret = TAKE(candidates);
        return 0;
}
