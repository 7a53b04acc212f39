/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps address and discovery of a setup. The search runs on a fiber beside the sides, which begin with the best server known so far;
 * the step ends when nothing better can come. */
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/advice.h"
#include "probe/judge.h"

int work_address(Setup *setup)
{
        _cleanup_finding_ Finding finding = { .status = STEP_PASSED };
        int r;

        if (setup_step_stands(setup, STEP_ADDRESS))
                return 0;
        if (!setup->address) {
                setup_step_skip(setup, STEP_ADDRESS);
                return 0;
        }
        setup_step_begin(setup, STEP_ADDRESS);
        r = dict_set_text(&finding.evidence, KEY_ADDRESS, setup->address->address);
        if (r == 0)
                r = dict_set_text(&finding.evidence, KEY_DOMAIN, setup->address->domain_unicode);
        if (r < 0)
                return r;
        setup_step_end(setup, STEP_ADDRESS, &finding);
        return 0;
}

/* --- the search --------------------------------------------------------------------------------------------------- */

const Ranking *setup_ranking(const Setup *setup)
{
        return setup->discovery ? discovery_ranking(setup->discovery) : NULL;
}

/* True when a wanted side has neither a server by hand nor a candidate. */
static bool side_missing(const Setup *setup, Side side)
{
        const SetupSide *s = &setup->sides[side];
        const Ranking *ranking = setup_ranking(setup);

        if (!s->wanted || s->by_hand.host)
                return false;
        for (size_t i = 0; ranking && i < ranking->n; i++)
                if (ranking->list[i].endpoint[side])
                        return false;
        return true;
}

static bool by_hand_entirely(const Setup *setup)
{
        for (size_t i = 0; i < 2; i++)
                if (setup->sides[i].wanted && !setup->sides[i].by_hand.host)
                        return false;
        return true;
}

static void discovery_changed(void *userdata, bool list)
{
        Setup *setup = userdata;

        if (list && setup_publish_candidates(setup) < 0)
                log_warning("candidates are not published: out of memory");
        fiber_queue_wake_all(&setup->input);
}

static DiscoveryContext discovery_context(Setup *setup)
{
        const Config *config = setup->core->config;
        const Wish *wish = &setup->sides[SIDE_INCOMING].wish;

        return (DiscoveryContext){
                .address = setup->address,
                .providers = setup->core->providers,
                .dns = setup->core->dns,
                .http = setup->core->http,
                .tls = setup->core->tls,
                .table = config->table,
                .pacc = config->pacc,
                .srv = config->srv,
                .autoconfig = config->autoconfig,
                .ispdb = config->ispdb,
                .mx = config->mx,
                .plain_http = config->http,
                .certificate = config->certificate,
                .guess = config->guess,
                .autoconfig_directory = config->autoconfig_directory,
                .pop3 = wish->has_protocol ? wish->protocol == PROTOCOL_POP3 : setup->options.pop3,
                .imap = wish->has_protocol ? wish->protocol == PROTOCOL_IMAP : setup->options.imap,
                .wanted = { setup->sides[0].wanted && !setup->sides[0].by_hand.host,
                            setup->sides[1].wanted && !setup->sides[1].by_hand.host },
                .wishes = { wish, &setup->sides[SIDE_OUTGOING].wish },
                /* Whoever only wants to know the servers wants to know all of them. */
                .all = setup->options.has_until && setup->options.until == STEP_DISCOVERY,
                .policy = config->user ? ADDRESS_PRIVATE | ADDRESS_LOCAL : ADDRESS_PUBLIC,
                .patience_usec = config->patience_usec,
                .changed = discovery_changed,
                .userdata = setup,
        };
}

bool setup_search_open(const Setup *setup)
{
        return setup->discovery && !setup_ranking(setup)->complete;
}

int setup_search_on(Setup *setup)
{
        int r, result = 0;

        if (setup->search && !fiber_ended(setup->search))
                return 0;
        if (setup->search) {
                r = fiber_join(&setup->search, &result);
                r = r < 0 ? r : result;
                if (r < 0)
                        return r;
        }
        return setup_search_open(setup)
                       ? fiber_start(&setup->search, "discovery", discovery_run, setup->discovery)
                       : 0;
}

void setup_search_end(Setup *setup)
{
        setup->search = fiber_cancel(setup->search);
}

void setup_forget_discovery(Setup *setup)
{
        setup_search_end(setup);
        for (size_t i = 0; i < 2; i++) {
                setup->sides[i].candidate = NULL;
                attempt_clear(&setup->sides[i].now);
                attempt_clear(&setup->sides[i].best);
                setup->sides[i].n_tried = 0;
        }
        setup->discovery = discovery_free(setup->discovery);
}

int discovery_begin(Setup *setup)
{
        DiscoveryContext context;
        int r;

        if (setup_step_stands(setup, STEP_DISCOVERY))
                return 0;
        if (!setup_step_wanted(setup, STEP_DISCOVERY) || setup->kind == SETUP_PROBE) {
                setup_step_skip(setup, STEP_DISCOVERY);
                return 0;
        }
        setup_step_begin(setup, STEP_DISCOVERY);
        setup_forget_discovery(setup);
        r = setup_publish_candidates(setup);
        if (r < 0 || by_hand_entirely(setup))
                return r;
        context = discovery_context(setup);
        r = discovery_new(&setup->discovery, &context);
        return r < 0 ? r : setup_search_on(setup);
}

/* --- its end ------------------------------------------------------------------------------------------------------- */

/* Nothing, or nothing that may be used. */
static const char *nothing_usable(const Ranking *found)
{
        return found->port_forbidden ? "policy.port-forbidden" : "discovery.nothing-found";
}

/* Why a search that found nothing found nothing. */
static const char *nothing_cause(const Ranking *found)
{
        if (found->suggestion)
                return "input.domain-typo";
        if (found->no_access)
                return "discovery.no-client-access";
        if (found->null_mx)
                return "dns.null-mx";
        return found->domain == DNS_OK || found->domain == DNS_NO_DATA ? nothing_usable(found)
                                                                       : judge_dns(found->domain);
}

/* Why a side has no server although the other one may. */
static const char *missing_cause(const Setup *setup, Side side)
{
        const Ranking *found = setup_ranking(setup);

        if (found->n == 0)
                return nothing_cause(found);
        return side == SIDE_INCOMING && found->no_access ? "discovery.no-client-access"
                                                         : nothing_usable(found);
}

/* Answers that are worth having besides servers, or instead of them. */
static int discovery_answers(const Setup *setup, Dict *evidence)
{
        const Ranking *found = setup_ranking(setup);
        const Candidate *best = found->n > 0 ? found->list[0].candidate : NULL;
        _cleanup_list_ char **hints = NULL, **disclosed = NULL;
        const char *advice;
        Protocol better;
        int r = 0;

        if (best)
                r = candidate_hints(best, &hints);
        advice = advice_protocol(found, &better);
        if (r == 0 && advice)
                r = list_append(&hints, advice, LIMIT_REPLY_LINES);
        if (r == 0 && advice)
                r = dict_set_text(evidence, KEY_BETTER, protocol_name(better));
        if (r == 0)
                r = discovery_disclosed(setup->discovery, &disclosed);
        if (r < 0 || (r = dict_set_list(evidence, KEY_HINTS, hints)) < 0 ||
            (r = dict_set_list(evidence, KEY_DISCLOSED, disclosed)) < 0 ||
            (r = dict_set_text(evidence, KEY_SUGGESTION, found->suggestion)) < 0 ||
            (r = dict_set_text(evidence, KEY_FILTER, found->filter)) < 0 ||
            (r = dict_set_text(evidence, KEY_ALTERNATIVE, found->alternative)) < 0 ||
            (r = dict_set_text(evidence, KEY_PROVIDER,
                               found->provider ? found->provider
                               : best          ? best->provider
                                               : NULL)) < 0)
                return r;
        return dict_set_text(evidence, KEY_HINT_URL,
                             found->alternative_url ? found->alternative_url
                             : best                 ? best->hint_url
                                                    : NULL);
}

static int discovery_evidence(const Setup *setup, Dict *evidence)
{
        const Ranking *found = setup_ranking(setup);
        _cleanup_list_ char **sources = NULL;
        int r;

        if (!found)
                return dict_set_text(
                        evidence, KEY_SOURCE,
                        source_name(setup->kind == SETUP_ADD ? SOURCE_BY_HAND : SOURCE_ACCOUNT));
        r = discovery_sources(setup->discovery, &sources);
        for (char **line = sources; line && *line; line++)
                transcript_note(setup->transcript, "discovery", "%s", *line);
        if (r == 0)
                r = dict_set_list(evidence, KEY_SOURCES, sources);
        if (r == 0)
                r = dict_set_number(evidence, KEY_CANDIDATES, found->n);
        if (r == 0 && found->n > 0)
                r = dict_set_text(evidence, KEY_SOURCE,
                                  source_name(found->list[0].candidate->source));
        if (r == 0 && setup->address)
                r = dict_set_text(evidence, KEY_DOMAIN, setup->address->domain_unicode);
        return r < 0 ? r : discovery_answers(setup, evidence);
}

/* Mail for this domain arrives somewhere, and nobody says where it can be read: whoever owns the address may know. */
static bool servers_askable(const Setup *setup, const char *cause)
{
        const Ranking *found = setup_ranking(setup);

        return strcmp(cause, nothing_usable(found)) == 0 && (found->takes_mail || found->n > 0);
}

/* SetServers, the only answer, runs the work anew. */
static bool servers_given(Setup *setup, Side side, const Need *need)
{
        return false;
}

static int servers_details(Setup *setup, Dict **ret)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        int r;

        if (!details)
                return -ENOMEM;
        r = dict_set_text(details, KEY_DOMAIN, setup->address->domain_unicode);
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, nothing_usable(setup_ranking(setup)));
        if (r == 0)
                r = dict_set_text(details, KEY_FILTER, setup_ranking(setup)->filter);
        if (r < 0)
                return r;
        *ret = TAKE(details);
        return 0;
}

/* Both sides are asked for at once, and what was found out is shown meanwhile. Ends only by -ECANCELED or a fault. */
static int discovery_ask(Setup *setup, const bool missing[2], Finding *finding)
{
        int r = 0;

        finding->status = STEP_RUNNING;
        finding_move(&setup->findings[STEP_DISCOVERY], finding);
        for (size_t i = 0; i < 2 && r == 0; i++) {
                _cleanup_(dict_freep) Dict *details = NULL;
                bool last = i == SIDE_OUTGOING || !missing[SIDE_OUTGOING];

                if (!missing[i])
                        continue;
                r = servers_details(setup, &details);
                if (r == 0)
                        r = last ? setup_ask(setup, STEP_DISCOVERY, NEED_SERVERS, (Side) i, details,
                                             nothing_usable(setup_ranking(setup)), servers_given)
                                 : setup_need_show(setup, NEED_SERVERS, (Side) i, details);
        }
        return r;
}

/* Meanwhile each side works on the best server that is known so far. */
static int discovery_decide(Setup *setup)
{
        int r = 0;

        while (r == 0 && !setup_ranking(setup)->decided) {
                r = setup_search_on(setup);
                if (r == 0)
                        r = sides_follow(setup);
                if (r == 0)
                        r = fiber_queue_wait(&setup->input);
        }
        return r < 0 ? r : sides_follow(setup);
}

/* DNS has failed for the domain: is it the domain's fault, or ours? */
static int discovery_look_closer(Setup *setup, Finding *finding)
{
        Endpoint endpoint = { .host = setup->address->domain };
        _cleanup_session_ Session with = { .endpoint = &endpoint,
                                           .dns = setup->core->dns,
                                           .tls = setup->core->tls,
                                           .means = &setup->core->means };

        with.no.dns = setup_ranking(setup)->domain;
        if (with.no.dns == DNS_OK || with.no.dns == DNS_NO_DATA)
                return 0;
        outcome_set(&with.no, OUTCOME_DNS, PHASE_RESOLVE);
        return session_diagnose(&with, STEP_DISCOVERY, finding);
}

int work_discovery(Setup *setup)
{
        _cleanup_finding_ Finding finding = { .status = STEP_PASSED };
        bool missing[2] = {};
        int r = 0;

        if (setup_step_stands(setup, STEP_DISCOVERY))
                return 0;
        if (setup->discovery)
                r = discovery_decide(setup);
        for (size_t i = 0; i < 2 && r == 0; i++) {
                const char *cause;

                missing[i] = side_missing(setup, (Side) i);
                cause = missing[i] ? missing_cause(setup, (Side) i) : NULL;
                if (!cause || finding.cause || servers_askable(setup, cause))
                        continue;
                finding.status = STEP_FAILED;
                finding.cause = cause;
        }
        if (r == 0 && finding.cause)
                r = discovery_look_closer(setup, &finding);
        if (r == 0)
                r = discovery_evidence(setup, &finding.evidence);
        if (r == 0 && !finding.cause && (missing[0] || missing[1]))
                return discovery_ask(setup, missing, &finding);
        if (r < 0)
                return r;
        setup_step_end(setup, STEP_DISCOVERY, &finding);
        return setup_step_passed(setup, STEP_DISCOVERY) ? sides_show(setup) : 0;
}
