/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The work of a setup: one function over remembered steps. A step whose finding stands returns at once, so that the same function serves
 * the first run, Retry, a new password and another server. Incoming and outgoing go their ways at the same time, each on a
 * fiber; they meet where the outgoing login waits for the incoming one, because both use the same secret and a wrong one
 * must not be tried twice. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "proto/sasl.h"

/* After so long a silence a server may have closed: the session is dialled anew before the password goes out. */
#define REDIAL_USEC (10 * USEC_PER_SEC)

static bool step_wanted(const Setup *setup, StepId step)
{
        return !setup->options.has_until || step <= setup->options.until;
}

/* --- address and discovery ------------------------------------------------------------------------------------- */

static int work_address(Setup *setup)
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

static const Endpoint *candidate_endpoint(const Candidate *candidate, Side side)
{
        return side == SIDE_INCOMING ? &candidate->incoming : &candidate->outgoing;
}

/* True when a wanted side has neither a server by hand nor a candidate. */
static bool side_missing(const Setup *setup, Side side)
{
        const SetupSide *s = &setup->sides[side];

        if (!s->wanted || s->by_hand.host)
                return false;
        for (size_t i = 0; setup->candidates && i < setup->candidates->n; i++)
                if (candidate_endpoint(&setup->candidates->list[i], side)->host)
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

/* @all: hear every source to its end. */
static DiscoveryContext discovery_context(const Setup *setup, bool all)
{
        const Config *config = setup->core->config;

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
                .wanted = { setup->sides[0].wanted && !setup->sides[0].by_hand.host,
                            setup->sides[1].wanted && !setup->sides[1].by_hand.host },
                .all = all,
                .policy = config->user ? ADDRESS_PRIVATE | ADDRESS_LOCAL : ADDRESS_PUBLIC,
        };
}

static int discovery_search(Setup *setup)
{
        /* Whoever only wants to know the servers wants to know all of them. */
        DiscoveryContext context = discovery_context(
                setup, setup->options.has_until && setup->options.until == STEP_DISCOVERY);
        Candidates *found = NULL;
        int r;

        r = discover(&found, &context);
        if (r < 0)
                return r;
        for (size_t i = 0; i < 2; i++)
                setup->sides[i].candidate = NULL;
        candidates_free(setup->candidates);
        setup->candidates = found;
        for (char **line = found->sources; line && *line; line++)
                transcript_note(setup->transcript, "discovery", "%s", *line);
        return setup_publish_candidates(setup);
}

/* Every server that was found has failed: the sources that were not waited for are heard now. Candidates stay where they are. Returns 1 when there
 * are new ones, 0, negative errno. */
static int discovery_search_on(Setup *setup)
{
        DiscoveryContext context = discovery_context(setup, true);
        _cleanup_(candidates_freep) Candidates *found = NULL;
        size_t before = setup->candidates->n;
        int r = 0;

        while (setup->searching && r == 0)
                r = fiber_queue_wait(&setup->input); /* the other side does it */
        if (r < 0)
                return r;
        if (setup->candidates->complete || setup->chosen[0])
                return setup->candidates->n > before;
        setup->searching = true;
        transcript_note(setup->transcript, "discovery", "on: the servers found so far have failed");
        r = discover(&found, &context);
        setup->searching = false;
        if (r == 0) {
                for (char **line = found->sources; line && *line; line++)
                        transcript_note(setup->transcript, "discovery", "%s", *line);
                r = candidates_merge(setup->candidates, found);
                setup->candidates->complete = true;
        }
        if (r == 0)
                r = setup_publish_candidates(setup);
        fiber_queue_wake_all(&setup->input);
        return r < 0 ? r : setup->candidates->n > before;
}

/* Why a search that found nothing found nothing. */
static const char *discovery_cause(const Candidates *found)
{
        if (found->suggestion)
                return "input.domain-typo";
        if (found->no_pop)
                return "discovery.no-client-access";
        if (found->null_mx)
                return "dns.null-mx";
        switch (found->domain) {
        case DNS_NXDOMAIN:
                return "dns.nxdomain";
        case DNS_SERVFAIL:
                return "dns.servfail";
        case DNS_TIMEOUT:
                return "dns.timeout";
        case DNS_NO_RESOLVER:
                return "dns.resolver-unavailable";
        case DNS_OK:
        case DNS_NO_DATA:
                return "discovery.nothing-found";
        }
        return "discovery.nothing-found";
}

/* Answers that are worth having besides servers, or instead of them. */
static int discovery_answers(const Candidates *found, Dict *evidence)
{
        _cleanup_list_ char **hints = NULL;
        int r = 0;

        if (found->n > 0)
                r = candidate_hints(&found->list[0], &hints);
        if (r < 0 || (r = dict_set_list(evidence, KEY_HINTS, hints)) < 0 ||
            (r = dict_set_list(evidence, KEY_DISCLOSED, found->disclosed)) < 0 ||
            (r = dict_set_text(evidence, KEY_SUGGESTION, found->suggestion)) < 0 ||
            (r = dict_set_text(evidence, KEY_FILTER, found->filter)) < 0 ||
            (r = dict_set_text(evidence, KEY_ALTERNATIVE, found->alternative)) < 0 ||
            (r = dict_set_text(evidence, KEY_PROVIDER,
                               found->no_pop_provider ? found->no_pop_provider
                               : found->n > 0         ? found->list[0].provider
                                                      : NULL)) < 0)
                return r;
        return dict_set_text(evidence, KEY_HINT_URL,
                             found->alternative_url ? found->alternative_url
                             : found->n > 0         ? found->list[0].hint_url
                                                    : NULL);
}

static int discovery_evidence(const Setup *setup, Dict *evidence)
{
        const Candidates *found = setup->candidates;
        int r;

        if (by_hand_entirely(setup))
                return dict_set_text(
                        evidence, KEY_SOURCE,
                        source_name(setup->kind == SETUP_ADD ? SOURCE_BY_HAND : SOURCE_ACCOUNT));
        r = dict_set_list(evidence, KEY_SOURCES, found->sources);
        if (r == 0)
                r = dict_set_number(evidence, KEY_CANDIDATES, found->n);
        if (r == 0 && found->n > 0)
                r = dict_set_text(evidence, KEY_SOURCE, source_name(found->list[0].source));
        if (r == 0 && setup->address)
                r = dict_set_text(evidence, KEY_DOMAIN, setup->address->domain_unicode);
        return r < 0 ? r : discovery_answers(found, evidence);
}

static bool servers_known(Setup *setup, Side side, const Need *need)
{
        return !side_missing(setup, side);
}

/* The domain answers, but nothing says where its mail is: whoever owns the address may know. */
static int discovery_ask(Setup *setup, Side side)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        int r;

        if (!details)
                return -ENOMEM;
        r = dict_set_text(details, KEY_DOMAIN, setup->address->domain_unicode);
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, "discovery.nothing-found");
        if (r == 0)
                r = dict_set_text(details, KEY_FILTER, setup->candidates->filter);
        return r < 0 ? r
                     : setup_ask(setup, STEP_DISCOVERY, NEED_SERVERS, side, details,
                                 "discovery.nothing-found", servers_known);
}

/* DNS has failed for the domain: is it the domain's fault, or ours? */
static int discovery_look_closer(Setup *setup, Finding *finding)
{
        Endpoint endpoint = { .host = setup->address->domain };
        _cleanup_session_ Session with = { .endpoint = &endpoint,
                                           .dns = setup->core->dns,
                                           .tls = setup->core->tls,
                                           .means = &setup->core->means };

        with.no.dns = setup->candidates ? setup->candidates->domain : DNS_OK;
        if (with.no.dns == DNS_OK || with.no.dns == DNS_NO_DATA)
                return 0;
        outcome_set(&with.no, OUTCOME_DNS, PHASE_RESOLVE);
        return session_diagnose(&with, STEP_DISCOVERY, finding);
}

static int work_discovery(Setup *setup)
{
        _cleanup_finding_ Finding finding = { .status = STEP_PASSED };
        int r = 0;

        if (setup_step_stands(setup, STEP_DISCOVERY))
                return 0;
        if (!step_wanted(setup, STEP_DISCOVERY) || setup->kind == SETUP_PROBE) {
                setup_step_skip(setup, STEP_DISCOVERY);
                return 0;
        }
        setup_step_begin(setup, STEP_DISCOVERY);
        if (!by_hand_entirely(setup))
                r = discovery_search(setup);
        for (size_t i = 0; i < 2 && r == 0; i++) {
                const char *cause;

                if (!side_missing(setup, (Side) i))
                        continue;
                cause = discovery_cause(setup->candidates);
                if (strcmp(cause, "discovery.nothing-found") == 0 && setup->candidates->n == 0) {
                        r = discovery_ask(setup, (Side) i);
                        continue;
                }
                finding.status = STEP_FAILED;
                finding.cause = setup->candidates->n ? "discovery.no-client-access" : cause;
        }
        if (r == 0 && finding.status == STEP_FAILED)
                r = discovery_look_closer(setup, &finding);
        if (r == 0)
                r = discovery_evidence(setup, &finding.evidence);
        if (r < 0)
                return r;
        setup_step_end(setup, STEP_DISCOVERY, &finding);
        return 0;
}

/* --- reaching a server ------------------------------------------------------------------------------------------ */

/* What a step waits for, so that whoever watches knows why it takes its time. */
static int side_waits_for(const SetupSide *s, StepId incoming_step, Dict *to, uint64_t *ret_budget)
{
        static const uint64_t budgets[] = { LIMIT_DNS_USEC, LIMIT_CONNECT_USEC, LIMIT_HANDSHAKE_USEC,
                                            LIMIT_GREETING_USEC };
        int r = dict_set_text(to, KEY_HOST, s->endpoint.host);

        *ret_budget = budgets[incoming_step - STEP_INCOMING_DNS];
        if (r == 0 && incoming_step > STEP_INCOMING_DNS)
                r = dict_set_number(to, KEY_PORT, s->endpoint.port);
        if (r == 0 && incoming_step == STEP_INCOMING_PORT && s->session.addresses)
                r = evidence_addresses(to, s->session.addresses);
        if (r == 0 && incoming_step > STEP_INCOMING_PORT && s->session.stream)
                r = dict_set_text(to, KEY_PEER, stream_peer(s->session.stream));
        return r;
}

/* A failure is held back, and its step goes on to show as running: is another server tried, or is it looked at closer first? */
static int side_step(SetupSide *s, StepId incoming_step, int (*probe)(Session *, Finding *))
{
        _cleanup_finding_ Finding finding = {};
        Dict waits_for = {};
        StepId step = session_step(s->side, incoming_step);
        uint64_t budget;
        int r;

        r = side_waits_for(s, incoming_step, &waits_for, &budget);
        if (r < 0) {
                dict_clear(&waits_for);
                return r;
        }
        setup_step_begin_with(s->setup, step, &waits_for, budget);
        r = probe(&s->session, &finding);
        if (r < 0)
                return r;
        if (finding.status == STEP_FAILED) {
                finding_move(&s->held, &finding);
                s->held_step = step;
                return 0;
        }
        setup_step_end(s->setup, step, &finding);
        return 0;
}

static const char *side_held_cause(const SetupSide *s)
{
        return s->held.status == STEP_FAILED ? s->held.cause : NULL;
}

/* Tells the failure that was held back, if there is one. */
static void side_tell_held(SetupSide *s)
{
        if (s->held.status == STEP_FAILED)
                setup_step_end(s->setup, s->held_step, &s->held);
}

static int side_look_closer(SetupSide *s)
{
        if (s->held.status != STEP_FAILED)
                return 0;
        return session_diagnose(&s->session, s->held_step, &s->held);
}

static bool side_passed(const SetupSide *s, StepId incoming_step)
{
        return setup_step_passed(s->setup, session_step(s->side, incoming_step));
}

static const Finding *side_finding(const SetupSide *s, StepId incoming_step)
{
        return &s->setup->findings[session_step(s->side, incoming_step)];
}

static bool approval_given(Setup *setup, Side side, const Need *need)
{
        return need && need->answered;
}

static int need_hosts(SetupSide *s, Dict *details)
{
        _cleanup_free_ char *domain = NULL;
        int r;

        r = host_registrable(&domain, s->endpoint.host);
        if (r == 0)
                r = dict_add_to_list(details, KEY_HOSTS, s->endpoint.host);
        if (r == 0)
                r = dict_add_to_list(details, KEY_DOMAINS, domain);
        if (r == 0)
                r = dict_set_text(details, KEY_HOST, s->endpoint.host);
        if (r == 0)
                r = dict_set_number(details, KEY_PORT, s->endpoint.port);
        if (r == 0)
                r = dict_set_text(details, KEY_SECURITY, security_name(s->endpoint.security));
        return r < 0 ? r
                     : dict_set_text(
                               details, KEY_SOURCE,
                               source_name(s->candidate ? s->candidate->source : SOURCE_BY_HAND));
}

static int ask_server_approval(SetupSide *s, StepId step, const char *cause)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        int r;

        if (!details)
                return -ENOMEM;
        r = need_hosts(s, details);
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, cause);
        if (r == 0 && s->session.addresses)
                r = evidence_addresses(details, s->session.addresses);
        if (r == 0)
                r = setup_ask(s->setup, step, NEED_SERVER_APPROVAL, s->side, details, cause,
                              approval_given);
        if (r == 0) {
                s->approved = true;
                s->trust = TRUST_USER;
        }
        return r;
}

/* Would the private network's addresses of this name be fine, had the user approved them? */
static bool private_only(const SetupSide *s)
{
        const DnsAddresses *a = s->session.addresses;

        for (unsigned i = 0; a && i < a->n_addresses; i++)
                if (address_allowed((const struct sockaddr *) &a->addresses[i], ADDRESS_PRIVATE))
                        return true;
        return false;
}

static int side_connect(SetupSide *s)
{
        StepId step = session_step(s->side, STEP_INCOMING_PORT);
        int r;

        s->session.policy = core_policy(s->setup->core, s->approved);
        r = side_step(s, STEP_INCOMING_PORT, session_connect);
        if (r < 0 || !text_equal(side_held_cause(s), "policy.address-forbidden") || s->approved ||
            !s->by_hand.host || !private_only(s))
                return r;
        r = side_look_closer(s);
        if (r < 0 || !text_equal(side_held_cause(s), "policy.address-forbidden"))
                return r;
        side_tell_held(s);
        r = ask_server_approval(s, step, "policy.address-forbidden");
        if (r < 0)
                return r;
        s->session.policy = core_policy(s->setup->core, true);
        return side_step(s, STEP_INCOMING_PORT, session_connect);
}

static int ask_certificate_approval(SetupSide *s, StepId step)
{
        _cleanup_(dict_freep) Dict *details = NULL;
        const char *cause = s->setup->findings[step].cause;
        int r;

        r = dict_copy(&details, &s->setup->findings[step].evidence);
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, cause);
        return r < 0 ? r
                     : setup_ask(s->setup, step, NEED_CERTIFICATE_APPROVAL, s->side, details, cause,
                                 approval_given);
}

/* May its owner say yes to what this certificate is? Not where somebody else stands between. */
static bool certificate_askable(const SetupSide *s)
{
        const char *cause = side_held_cause(s);

        return (text_equal(cause, "tls.cert-self-signed") ||
                text_equal(cause, "tls.cert-untrusted-ca")) &&
               !dict_text(&s->held.evidence, KEY_INTERCEPTED);
}

static int side_secure(SetupSide *s)
{
        StepId step = session_step(s->side, STEP_INCOMING_TLS);
        _cleanup_free_ char *spki = NULL;
        _cleanup_finding_ Finding unseen = {};
        int r;

        r = side_step(s, STEP_INCOMING_TLS, session_secure);
        if (r < 0 || side_passed(s, STEP_INCOMING_TLS) || !certificate_askable(s))
                return r;
        r = side_look_closer(s);
        if (r < 0 || !certificate_askable(s))
                return r;
        side_tell_held(s);
        r = text_set(&spki, dict_text(&side_finding(s, STEP_INCOMING_TLS)->evidence, KEY_SPKI));
        if (r == 0)
                r = ask_certificate_approval(s, step);
        if (r < 0)
                return r;
        free(s->endpoint.approved_spki);
        s->endpoint.approved_spki = TAKE(spki);
        /* The connection ended with the refusal: dialled anew, and only this very key will do. */
        session_close(&s->session);
        r = session_resolve(&s->session, &unseen);
        if (r == 0 && unseen.status == STEP_PASSED) {
                finding_clear(&unseen);
                r = session_connect(&s->session, &unseen);
        }
        if (r < 0)
                return r;
        if (unseen.status != STEP_PASSED) {
                setup_step_end(s->setup, step, &unseen);
                return 0;
        }
        return side_step(s, STEP_INCOMING_TLS, session_secure);
}

static int side_resolve(SetupSide *s)
{
        return side_step(s, STEP_INCOMING_DNS, session_resolve);
}

static int side_service(SetupSide *s)
{
        return side_step(s, STEP_INCOMING_SERVICE, session_service);
}

/* dns, port, tls, service of the endpoint at hand. Returns how many of the four passed, or negative errno. */
static int side_probe(SetupSide *s)
{
        static int (*const probes[])(SetupSide *) = { side_resolve, side_connect, side_secure,
                                                      side_service };

        session_close(&s->session);
        finding_clear(&s->held);
        /* Whoever only wants to know wants to know of both families. */
        s->session.thorough = s->setup->options.dry_run;
        for (int i = 0; i < (int) ELEMENTS(probes); i++) {
                StepId step = (StepId) (STEP_INCOMING_DNS + i);
                int r;

                if (!step_wanted(s->setup, session_step(s->side, step)))
                        return i;
                r = probes[i](s);
                if (r < 0)
                        return r;
                if (!side_passed(s, step))
                        return i;
        }
        return ELEMENTS(probes);
}

/* --- which server ------------------------------------------------------------------------------------------------ */

static bool endpoint_tried(const SetupSide *s, size_t index)
{
        const Candidates *c = s->setup->candidates;

        for (size_t i = 0; i < index; i++)
                if (endpoint_same(candidate_endpoint(&c->list[i], s->side),
                                  candidate_endpoint(&c->list[index], s->side)))
                        return true;
        return false;
}

static int side_take_endpoint(SetupSide *s, const Endpoint *endpoint, const Candidate *candidate)
{
        int r;

        endpoint_deinit(&s->endpoint);
        r = endpoint_copy(&s->endpoint, endpoint);
        if (r == 0 && s->user_wish)
                r = text_set(&s->endpoint.user, s->user_wish);
        if (s->port_wish)
                s->endpoint.port = s->port_wish;
        if (s->has_security_wish || s->port_wish)
                s->endpoint.security = s->security_wish;
        if (s->has_security_wish && !s->port_wish)
                s->endpoint.port = protocol_default_port(s->endpoint.protocol, s->security_wish);
        s->candidate = candidate;
        s->trust = !candidate                 ? TRUST_USER
                   : s->side == SIDE_INCOMING ? candidate->incoming_trust
                                              : candidate->outgoing_trust;
        return r;
}

/* The endpoint at s->index, or the next one that was not tried. Returns 1, 0 when none is left, negative errno. */
static int side_select(SetupSide *s)
{
        const Candidates *c = s->setup->candidates;
        const char *chosen = s->setup->chosen;

        if (s->by_hand.host)
                return s->index > 0                                   ? 0
                       : side_take_endpoint(s, &s->by_hand, NULL) < 0 ? -ENOMEM
                                                                      : 1;
        for (; c && s->index < c->n; s->index++) {
                const Candidate *candidate = &c->list[s->index];
                const Endpoint *endpoint = candidate_endpoint(candidate, s->side);

                if (!endpoint->host || (chosen[0] && strcmp(chosen, candidate->id) != 0) ||
                    (!chosen[0] && endpoint_tried(s, s->index)))
                        continue;
                return side_take_endpoint(s, endpoint, candidate) < 0 ? -ENOMEM : 1;
        }
        return 0;
}

/* When none is left, what the faster sources made superfluous is asked for. */
static int side_select_or_search(SetupSide *s)
{
        int r = side_select(s);

        if (r != 0 || s->by_hand.host || !s->setup->candidates || s->setup->candidates->complete ||
            !s->setup->address)
                return r;
        r = discovery_search_on(s->setup);
        return r > 0 ? side_select(s) : r;
}

/* Keeps the story of the attempt that came furthest; of equals the one that ranks higher. */
static int side_remember_context(SetupSide *s)
{
        int r;

        s->best_addresses = dns_addresses_free(s->best_addresses);
        r = endpoint_copy(&s->best_endpoint, &s->endpoint);
        if (r == 0)
                r = outcome_copy(&s->best_no, &s->session.no);
        if (r < 0 || !s->session.addresses)
                return r;
        s->best_addresses = malloc(sizeof(*s->best_addresses));
        if (!s->best_addresses)
                return -ENOMEM;
        *s->best_addresses = *s->session.addresses;
        s->best_addresses->canonical = NULL;
        return 0;
}

/* The failure of the attempt that is told, looked at closer with whom it was. */
static int side_look_closer_at_best(SetupSide *s)
{
        _cleanup_session_ Session with = { .side = s->side,
                                           .endpoint = &s->best_endpoint,
                                           .dns = s->session.dns,
                                           .tls = s->session.tls,
                                           .means = s->session.means,
                                           .policy = s->session.policy,
                                           .addresses = TAKE(s->best_addresses) };
        int r = outcome_copy(&with.no, &s->best_no);

        for (size_t i = 0; i < ELEMENTS(s->best) && r == 0; i++)
                if (s->best[i].status == STEP_FAILED)
                        r = session_diagnose(&with, session_step(s->side, (StepId) (STEP_INCOMING_DNS + i)),
                                             &s->best[i]);
        return r;
}

static int side_remember(SetupSide *s, size_t reached)
{
        int r;

        if (s->best[0].status != STEP_PENDING && reached <= s->best_reached)
                return 0;
        s->best_reached = reached;
        r = side_remember_context(s);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTS(s->best); i++) {
                const Finding *from = side_finding(s, (StepId) (STEP_INCOMING_DNS + i));
                Dict *copy = NULL;

                if (session_step(s->side, (StepId) (STEP_INCOMING_DNS + i)) == s->held_step &&
                    s->held.status == STEP_FAILED)
                        from = &s->held;
                finding_clear(&s->best[i]);
                r = dict_copy(&copy, &from->evidence);
                if (r < 0)
                        return r;
                s->best[i] = (Finding){ from->status, from->cause, from->usec, *copy };
                free(copy);
        }
        return 0;
}

static void side_tell_best(SetupSide *s)
{
        for (size_t i = 0; i < ELEMENTS(s->best); i++) {
                StepId step = session_step(s->side, (StepId) (STEP_INCOMING_DNS + i));
                uint64_t usec = s->best[i].usec;

                if (s->best[i].status == STEP_SKIPPED)
                        continue;
                if (s->best[i].status == STEP_PENDING) {
                        setup_step_forget(s->setup, step);
                        continue;
                }
                setup_step_begin(s->setup, step);
                s->setup->step_begun[step] = clock_now() - usec;
                setup_step_end(s->setup, step, &s->best[i]);
        }
}

/* Guesses of which not even a name exists are no story to tell: nothing was found. */
static int side_guessed_nothing(SetupSide *s)
{
        Setup *setup = s->setup;
        _cleanup_finding_ Finding finding = { .status = STEP_FAILED,
                                              .cause = "discovery.nothing-found" };
        int r;

        if (s->best_reached > 0 || s->by_hand.host || !setup->candidates ||
            setup->candidates->n == 0 || setup->candidates->list[0].source != SOURCE_GUESS ||
            (!text_equal(s->best[0].cause, "dns.nxdomain") &&
             !text_equal(s->best[0].cause, "dns.no-records")))
                return 0;
        r = discovery_evidence(setup, &finding.evidence);
        if (r < 0)
                return r;
        setup_step_begin(setup, STEP_DISCOVERY);
        setup_step_end(setup, STEP_DISCOVERY, &finding);
        return 0;
}

/* The last of the four that is wanted: what stops at TLS is reached when TLS stands. */
static StepId reach_goal(const SetupSide *s)
{
        StepId goal = session_step(s->side, STEP_INCOMING_SERVICE),
               first = session_step(s->side, STEP_INCOMING_DNS);

        while (goal > first && !step_wanted(s->setup, goal))
                goal = (StepId) (goal - 1);
        return goal;
}

/* Falling back to the next server is for failures before a login, and only here. */
static int side_reach(SetupSide *s)
{
        StepId goal = reach_goal(s);
        size_t tried = 0;
        int r, reached;

        if (setup_step_passed(s->setup, goal))
                return 0;
        for (size_t i = 0; i < ELEMENTS(s->best); i++)
                finding_clear(&s->best[i]);
        finding_clear(&s->held);
        s->best_reached = 0;
        for (s->index = 0; (r = side_select_or_search(s)) > 0; s->index++) {
                side_tell_held(s);
                reached = side_probe(s);
                if (reached < 0)
                        return reached;
                if (setup_step_passed(s->setup, goal))
                        return 0;
                r = side_remember(s, (size_t) reached);
                if (r < 0)
                        return r;
                tried++;
        }
        if (r < 0)
                return r;
        r = tried > 1 ? side_look_closer_at_best(s) : side_look_closer(s);
        if (r < 0)
                return r;
        side_tell_held(s);
        r = tried > 0 ? side_guessed_nothing(s) : 0;
        if (tried > 1)
                side_tell_best(s);
        return r;
}

/* --- signing in ---------------------------------------------------------------------------------------------------- */

/* The server closed while somebody thought: dialled anew without a word. A key that changed meanwhile is shown as a new finding
 * of the TLS step; it has been verified like the first. Returns 1 when the dialogue stands, 0 when it does not (told), negative errno. */
static int side_redial(SetupSide *s)
{
        StepId tls = session_step(s->side, STEP_INCOMING_TLS), step;
        _cleanup_finding_ Finding finding = {}, seen = {};
        int r;

        session_close(&s->session);
        s->session.policy = core_policy(s->setup->core, s->approved);
        transcript_note(s->setup->transcript, side_name(s->side), "dialled anew");
        r = session_open(&s->session, &finding, &step);
        if (r < 0)
                return r;
        if (finding.status == STEP_FAILED) {
                for (size_t i = step; i <= session_step(s->side, STEP_INCOMING_MAILBOX); i++)
                        setup_step_forget(s->setup, (StepId) i);
                setup_step_begin(s->setup, step);
                r = session_diagnose(&s->session, step, &finding);
                if (r < 0)
                        return r;
                setup_step_end(s->setup, step, &finding);
                return 0;
        }
        if (s->session.certificate &&
            !text_equal(s->session.certificate->spki_sha256,
                        dict_text(&s->setup->findings[tls].evidence, KEY_SPKI))) {
                seen.status = STEP_PASSED;
                r = evidence_certificate(&seen.evidence, s->session.certificate);
                if (r < 0)
                        return r;
                setup_step_begin(s->setup, tls);
                setup_step_end(s->setup, tls, &seen);
        }
        return 1;
}

static bool secret_given(Setup *setup, Side side, const Need *need)
{
        return setup_secret(setup, side) != NULL;
}

/* What the user should know before the first failure: which password it is, where it is made, what must be switched on. */
static int password_hints(const SetupSide *s, Dict *details)
{
        const Candidate *c = s->candidate;
        const Provider *p = setup_provider(s->setup, s->side);
        bool app = setup_wants_app_password(s->setup, s->side);
        _cleanup_list_ char **hints = NULL;
        int r;

        r = dict_set_text(details, KEY_SECRET_KIND, app ? "app-password" : "password");
        if (r == 0 && app && p)
                r = dict_set_text(details, KEY_SECRET_SHAPE, p->app_password_shape);
        if (r == 0 && app && p && !c)
                r = dict_set_text(details, KEY_HINT_URL, p->app_password_page);
        if (r < 0 || !c)
                return r;
        if ((r = dict_set_text(details, KEY_HINT_URL,
                               c->app_password && c->password_url ? c->password_url
                                                                  : c->hint_url)) < 0 ||
            (r = dict_set_text(details, KEY_PASSWORD_URL, c->password_url)) < 0 ||
            (r = dict_set_text(details, KEY_PROVIDER, c->provider)) < 0 ||
            (r = candidate_hints(c, &hints)) < 0)
                return r;
        return dict_set_list(details, KEY_HINTS, hints);
}

/* The provider is known to take no password, or the server offers no way to say one. */
static bool password_is_useless(const SetupSide *s)
{
        return (s->candidate && s->candidate->oauth_only) ||
               sasl_takes_token(dict_text(&side_finding(s, STEP_INCOMING_SERVICE)->evidence,
                                          KEY_METHOD));
}

/* No password opens this account: none is asked for, and none is tried. */
static int password_useless(const SetupSide *s, Finding *finding)
{
        int r;

        finding->status = STEP_FAILED;
        finding->cause = "auth.oauth-required";
        r = dict_set_text(&finding->evidence, KEY_HOST, s->endpoint.host);
        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_USER, s->endpoint.user);
        if (r < 0 || !s->candidate)
                return r;
        r = dict_set_text(&finding->evidence, KEY_SOURCE, source_name(s->candidate->source));
        return r < 0 ? r
                     : dict_set_text(&finding->evidence, KEY_OAUTH_ISSUER,
                                     s->candidate->oauth_issuer);
}

static int ask_password(SetupSide *s, StepId step)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        const char *method = dict_text(&side_finding(s, STEP_INCOMING_SERVICE)->evidence,
                                       KEY_METHOD);
        int r;

        if (!details)
                return -ENOMEM;
        r = dict_set_text(details, KEY_USER, s->endpoint.user);
        if (r == 0)
                r = need_hosts(s, details);
        if (r == 0)
                r = dict_add_to_list(details, KEY_METHODS, method ? method : "PLAIN");
        if (r == 0)
                r = password_hints(s, details);
        return r < 0 ? r
                     : setup_ask(s->setup, step, NEED_PASSWORD, s->side, details, NULL,
                                 secret_given);
}

static bool incoming_login_over(const Setup *setup)
{
        const SetupSide *incoming = &setup->sides[SIDE_INCOMING];

        return !incoming->wanted || setup->findings[STEP_INCOMING_LOGIN].status == STEP_FAILED ||
               setup_step_stands(setup, STEP_INCOMING_LOGIN) || !incoming->fiber ||
               fiber_ended(incoming->fiber);
}

/* One secret, one try: the outgoing login waits for the incoming one to tell whether it is right. Returns 1 go on, 0 do not,
 * negative errno. */
static int side_wait_for_incoming(SetupSide *s)
{
        Setup *setup = s->setup;
        int r;

        while (!incoming_login_over(setup) && !setup->sides[SIDE_OUTGOING].secret) {
                r = fiber_queue_wait(&setup->input);
                if (r < 0)
                        return r;
        }
        return setup->sides[SIDE_OUTGOING].secret || !setup->sides[SIDE_INCOMING].wanted ||
               setup_step_stands(setup, STEP_INCOMING_LOGIN);
}

static int side_login(SetupSide *s)
{
        Setup *setup = s->setup;
        StepId step = session_step(s->side, STEP_INCOMING_LOGIN);
        _cleanup_finding_ Finding finding = {};
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        uint64_t begun = clock_now();
        int r = 0;

        if (setup_step_stands(setup, step))
                return 0;
        if (s->side == SIDE_OUTGOING) {
                r = side_wait_for_incoming(s);
                if (r <= 0)
                        return r;
        }
        setup_step_begin(setup, step);
        if (s->trust == TRUST_NONE && !s->approved)
                r = ask_server_approval(s, step, NULL);
        if (r == 0 && password_is_useless(s)) {
                r = password_useless(s, &finding);
                if (r == 0)
                        setup_step_end(setup, step, &finding);
                return r;
        }
        if (r == 0)
                r = ask_password(s, step);
        if (r < 0)
                return r;
        if (!session_is_open(&s->session) || clock_now() - begun > REDIAL_USEC) {
                r = side_redial(s);
                if (r < 0)
                        return r;
                if (r == 0) {
                        setup_step_forget(setup, step);
                        return 0;
                }
        }
        secret = secret_ref(setup_secret(setup, s->side));
        r = core_sign_in(setup->core, setup->uid, &s->session, secret, &finding);
        if (r < 0)
                return r;
        setup_step_end(setup, step, &finding);
        fiber_queue_wake_all(&setup->input);
        return 0;
}

/* POP3 may say only here that it is switched off. */
static int side_mailbox(SetupSide *s)
{
        _cleanup_finding_ Finding finding = {};
        uint64_t expire;
        int r;

        setup_step_begin(s->setup, STEP_INCOMING_MAILBOX);
        r = session_mailbox(&s->session, &finding);
        if (r < 0)
                return r;
        expire = dict_number(&finding.evidence, KEY_EXPIRE, UINT64_MAX);
        if (finding.status == STEP_PASSED && expire == 0 && s->setup->record.keep == KEEP_ON_SERVER)
                finding.status = STEP_WARNED; /* the evidence says why: expire 0 */
        s->setup->record.poll_minimum_usec = MAX(session_login_delay(&s->session),
                                                 s->candidate ? s->candidate->poll_minimum_usec
                                                              : 0);
        setup_step_end(s->setup, STEP_INCOMING_MAILBOX, &finding);
        return 0;
}

static int side_sender(SetupSide *s)
{
        _cleanup_finding_ Finding finding = {};
        int r;

        setup_step_begin(s->setup, STEP_OUTGOING_SENDER);
        r = session_sender(&s->session, s->setup->address->address, &finding);
        if (r < 0)
                return r;
        setup_step_end(s->setup, STEP_OUTGOING_SENDER, &finding);
        return 0;
}

/* A login that stands but whose dialogue is gone (Retry of the last step only) is made again. */
static int side_last(SetupSide *s)
{
        StepId login = session_step(s->side, STEP_INCOMING_LOGIN),
               last = session_step(s->side, STEP_INCOMING_MAILBOX);
        int r;

        if (setup_step_stands(s->setup, last))
                return 0;
        if (!s->session.logged_in) {
                setup_step_forget(s->setup, login);
                r = side_login(s);
                if (r < 0 || !setup_step_passed(s->setup, login))
                        return r;
        }
        return s->side == SIDE_INCOMING ? side_mailbox(s) : side_sender(s);
}

static int side_work_steps(SetupSide *s)
{
        StepId service = session_step(s->side, STEP_INCOMING_SERVICE),
               login = session_step(s->side, STEP_INCOMING_LOGIN);
        StepId last = session_step(s->side, STEP_INCOMING_MAILBOX);
        int r;

        r = side_reach(s);
        if (r < 0 || !setup_step_passed(s->setup, service) || !step_wanted(s->setup, login))
                return r;
        r = side_login(s);
        if (r < 0 || !setup_step_passed(s->setup, login) || !step_wanted(s->setup, last))
                return r;
        return side_last(s);
}

static int side_work(void *arg)
{
        SetupSide *s = arg;
        int r;

        r = side_work_steps(s);
        session_quit(&s->session);
        fiber_queue_wake_all(
                &s->setup->input); /* the other side may wait for what this one found */
        return r;
}

/* --- both sides ---------------------------------------------------------------------------------------------------- */

static int work_sides(Setup *setup)
{
        int r = 0, result;

        for (size_t i = 0; i < 2 && r == 0; i++)
                if (setup->sides[i].wanted &&
                    step_wanted(setup, session_step((Side) i, STEP_INCOMING_DNS)))
                        r = fiber_start(&setup->sides[i].fiber, side_name((Side) i), side_work,
                                        &setup->sides[i]);
        for (size_t i = 0; i < 2 && r == 0; i++)
                if (setup->sides[i].fiber) {
                        r = fiber_join(&setup->sides[i].fiber, &result);
                        r = r < 0 ? r : result;
                }
        for (size_t i = 0; i < 2; i++)
                setup->sides[i].fiber = fiber_cancel(setup->sides[i].fiber);
        return r;
}

static void skip_unwanted(Setup *setup)
{
        for (size_t i = STEP_DISCOVERY; i < N_STEPS; i++) {
                StepId step = (StepId) i;
                bool incoming = step >= STEP_INCOMING_DNS && step <= STEP_INCOMING_MAILBOX;
                bool outgoing = step >= STEP_OUTGOING_DNS && step <= STEP_OUTGOING_SENDER;

                if (!step_wanted(setup, step) ||
                    (incoming && !setup->sides[SIDE_INCOMING].wanted) ||
                    (outgoing && !setup->sides[SIDE_OUTGOING].wanted) ||
                    (step >= STEP_HANDOVER && setup->options.dry_run) ||
                    (step == STEP_VERIFICATION && !setup->sides[SIDE_OUTGOING].wanted))
                        setup_step_skip(setup, step);
        }
}

static bool all_stand(const Setup *setup)
{
        for (size_t i = 0; i < STEP_HANDOVER; i++)
                if (!setup_step_stands(setup, (StepId) i))
                        return false;
        return true;
}

/* A new password that was accepted takes the old one's place. */
static int password_accepted(Setup *setup)
{
        Account *account = core_account(setup->core, setup->account_id);
        Secret *outgoing = setup->sides[SIDE_OUTGOING].secret;
        int r;

        if (!account)
                return -ENOENT;
        account->record.same_secret = setup_same_secret(setup);
        r = account_store_secrets(account, setup->sides[SIDE_INCOMING].secret,
                                  account->record.same_secret ? NULL : outgoing);
        if (r < 0)
                return r;
        account = core_account(setup->core, setup->account_id);
        return account ? account_resume(account) : -ENOENT;
}

static int work_steps(Setup *setup)
{
        int r;

        skip_unwanted(setup);
        r = work_address(setup);
        if (r == 0)
                r = work_discovery(setup);
        if (r < 0 || !setup_step_stands(setup, STEP_DISCOVERY))
                return r;
        r = work_sides(setup);
        if (r == 0 && setup->kind == SETUP_PASSWORD && all_stand(setup))
                r = password_accepted(setup);
        return r;
}

int setup_work(void *arg)
{
        Setup *setup = arg;
        int r;

        r = work_steps(setup);
        if (r == -ECANCELED)
                return r; /* whoever cancelled sets the state */
        if (r < 0)
                log_fault(r, "setup of %s", setup->address_text);
        setup_update_cause(setup);
        setup_set_state(setup, r < 0 || !all_stand(setup)      ? SETUP_STATE_FAILED
                               : setup->kind == SETUP_PASSWORD ? SETUP_STATE_SUCCEEDED
                                                               : SETUP_STATE_READY);
        return r;
}
