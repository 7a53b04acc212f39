/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of one side to a server that speaks: which of the candidates, and its steps dns, port, tls, service. Nothing secret goes out here, so
 * it may begin before discovery has decided; and falling back to the next server happens here and nowhere later.
 *
 * What an attempt finds is its own until it counts: Steps show the first attempt while it goes well, then the one that got through, or when
 * none did the best one's story. So nobody sees a step fail that is about to pass. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"

/* --- attempts ------------------------------------------------------------------------------------------------------ */

void attempt_clear(Attempt *attempt)
{
        for (size_t i = 0; i < ELEMENTS(attempt->findings); i++)
                finding_clear(&attempt->findings[i]);
        outcome_deinit(&attempt->no);
        dns_addresses_free(attempt->addresses);
        *attempt = (Attempt){};
}

static bool finding_good(const Finding *finding)
{
        return finding->status == STEP_PASSED || finding->status == STEP_WARNED;
}

static StepId side_step_id(const SetupSide *s, size_t at)
{
        return session_step(s->side, (StepId) (STEP_INCOMING_DNS + at));
}

/* The last of the four that is wanted: what stops at TLS is reached when TLS stands. */
static StepId reach_goal(const SetupSide *s)
{
        StepId goal = side_step_id(s, REACH_STEPS - 1), first = side_step_id(s, 0);

        while (goal > first && !setup_step_wanted(s->setup, goal))
                goal = (StepId) (goal - 1);
        return goal;
}

bool side_reached(const SetupSide *s)
{
        return setup_step_passed(s->setup, reach_goal(s));
}

static int side_tell(SetupSide *s, size_t at, const Finding *finding)
{
        StepId step = side_step_id(s, at);

        if (s->setup->findings[step].status == STEP_SKIPPED)
                return 0;
        if (finding->status != STEP_PENDING)
                return setup_step_put(s->setup, step, finding);
        setup_step_forget(s->setup, step);
        return 0;
}

static int side_tell_all(SetupSide *s, const Attempt *attempt)
{
        int r = 0;

        for (size_t i = 0; i < REACH_STEPS && r == 0; i++)
                r = side_tell(s, i, &attempt->findings[i]);
        return r;
}

/* What a step waits for, so that whoever watches knows why it takes its time. */
static int side_begin_step(SetupSide *s, size_t at)
{
        static const uint64_t budgets[REACH_STEPS] = { LIMIT_DNS_USEC, LIMIT_CONNECT_USEC,
                                                       LIMIT_HANDSHAKE_USEC, LIMIT_GREETING_USEC };
        StepId incoming = (StepId) (STEP_INCOMING_DNS + at);
        _cleanup_(dict_clear) Dict waits_for = {};
        int r = dict_set_text(&waits_for, KEY_HOST, s->endpoint.host);

        if (r == 0 && incoming > STEP_INCOMING_DNS)
                r = dict_set_number(&waits_for, KEY_PORT, s->endpoint.port);
        if (r == 0 && incoming == STEP_INCOMING_PORT && s->session.addresses)
                r = evidence_addresses(&waits_for, s->session.addresses);
        if (r == 0 && incoming > STEP_INCOMING_PORT && s->session.stream)
                r = dict_set_text(&waits_for, KEY_PEER, stream_peer(s->session.stream));
        if (r == 0)
                setup_step_begin_with(s->setup, side_step_id(s, at), &waits_for, budgets[at]);
        return r;
}

/* A failure is not told here: is another server tried, or is it looked at closer? */
static int side_step(SetupSide *s, size_t at, int (*probe)(Session *, Finding *))
{
        Finding *finding = &s->now.findings[at];
        int r = s->live ? side_begin_step(s, at) : 0;

        if (r < 0)
                return r;
        s->now.at = at;
        s->now.step_begun = clock_now();
        finding_clear(finding);
        r = probe(&s->session, finding);
        if (r < 0)
                return r;
        finding->usec = clock_now() - s->now.step_begun;
        return s->live && finding_good(finding) ? side_tell(s, at, finding) : 0;
}

/* dns, port, tls, service of the endpoint at hand. Returns 1 when it got as far as is wanted, 0 when not, negative errno. */
static int side_probe(SetupSide *s)
{
        static int (*const probes[REACH_STEPS])(Session *,
                                                Finding *) = { session_resolve, session_connect,
                                                               session_secure, session_service };
        int r;

        session_close(&s->session);
        s->session.policy = core_policy(s->setup->core, s->approved);
        s->session.unlisted = core_unlisted_mechanism(s->setup->core, s->endpoint.host);
        /* Whoever only wants to know wants to know of both families. */
        s->session.thorough = s->setup->options.dry_run;
        for (size_t i = 0; i < REACH_STEPS; i++) {
                if (!setup_step_wanted(s->setup, side_step_id(s, i)))
                        return 1;
                s->now.reached = i;
                r = side_step(s, i, probes[i]);
                if (r < 0)
                        return r;
                if (!finding_good(&s->now.findings[i]))
                        return 0;
        }
        return 1;
}

/* --- which server ------------------------------------------------------------------------------------------------- */

static bool side_tried(const SetupSide *s, const Endpoint *endpoint)
{
        for (size_t i = 0; i < s->n_tried; i++)
                if (endpoint_same(s->tried[i], endpoint))
                        return true;
        return false;
}

/* The best server known so far that was not tried; NULL for none. */
static const Endpoint *side_leader(const SetupSide *s, const Candidate **ret_candidate)
{
        const Ranking *ranking = setup_ranking(s->setup);
        const char *chosen = s->setup->chosen;

        *ret_candidate = NULL;
        if (s->by_hand.host)
                return side_tried(s, &s->by_hand) ? NULL : &s->by_hand;
        for (size_t i = 0; ranking && i < ranking->n; i++) {
                const Candidate *candidate = ranking->list[i].candidate;
                const Endpoint *endpoint = ranking->list[i].endpoint[s->side];

                if (!endpoint || (chosen[0] && strcmp(chosen, candidate->id) != 0) ||
                    side_tried(s, endpoint))
                        continue;
                *ret_candidate = candidate;
                return endpoint;
        }
        return NULL;
}

static int side_take(SetupSide *s, const Endpoint *endpoint, const Candidate *candidate)
{
        s->candidate = candidate;
        s->trust = candidate ? candidate_trust(candidate, s->side) : TRUST_USER;
        return endpoint_copy(&s->endpoint, endpoint);
}

/* The next server; waits for it while one may still be found. Returns 1, 0 when none is left, negative errno. */
static int side_next(SetupSide *s)
{
        Setup *setup = s->setup;
        int r = 0;

        while (r == 0) {
                const Candidate *candidate;
                const Endpoint *leader = side_leader(s, &candidate);

                if (leader) {
                        s->now.endpoint = leader;
                        s->now.candidate = candidate;
                        r = side_take(s, leader, candidate);
                        return r < 0 ? r : 1;
                }
                if (s->by_hand.host || setup->chosen[0] || !setup_search_open(setup))
                        return 0;
                r = setup_search_on(setup);
                if (r == 0)
                        r = fiber_queue_wait(&setup->input);
        }
        return r;
}

/* The best candidate's story is the one that is told: the best source's; of one source's the one that came furthest. */
static bool story_better(const Attempt *a, const Attempt *than)
{
        Source source = a->candidate ? a->candidate->source : SOURCE_BY_HAND;
        Source other = than->candidate ? than->candidate->source : SOURCE_BY_HAND;

        if (!than->endpoint || source != other)
                return !than->endpoint || source < other;
        return a->reached > than->reached;
}

/* Keeps what a closer look needs. */
static int side_keep(SetupSide *s)
{
        dns_addresses_free(s->now.addresses);
        s->now.addresses = TAKE(s->session.addresses);
        return outcome_copy(&s->now.no, &s->session.no);
}

static int side_failed(SetupSide *s)
{
        int r = side_keep(s);

        if (r < 0)
                return r;
        if (s->n_tried < ELEMENTS(s->tried))
                s->tried[s->n_tried++] = s->now.endpoint;
        s->live = false;
        if (story_better(&s->now, &s->best)) {
                attempt_clear(&s->best);
                s->best = s->now;
                s->now = (Attempt){};
        }
        attempt_clear(&s->now);
        return 0;
}

/* Discovery has its result, and nothing better than what is at hand is known or may still come. What is shown stays. */
static bool side_settled(const SetupSide *s, uint64_t *ret_due)
{
        const Candidate *candidate;

        *ret_due = USEC_INFINITY;
        if (!setup_step_stands(s->setup, STEP_DISCOVERY))
                return false;
        if (s->live || s->setup->chosen[0] || !s->now.candidate)
                return true;
        return side_leader(s, &candidate) == s->now.endpoint &&
               discovery_final(s->setup->discovery, s->now.candidate, s->side, ret_due);
}

static int side_settle(SetupSide *s)
{
        uint64_t due, now;
        int r = 0;

        while (r == 0 && !side_settled(s, &due)) {
                now = clock_now();
                FIBER_DEADLINE(due == USEC_INFINITY ? due : due > now ? due - now : 1);
                r = fiber_queue_wait(&s->setup->input);
                r = r == -ETIME ? 0 : r;
        }
        return r;
}

void side_begin(SetupSide *s)
{
        if (side_reached(s))
                return;
        attempt_clear(&s->now);
        attempt_clear(&s->best);
        s->n_tried = 0;
        s->live = s->told = s->probing = s->given_up = false;
}

/* --- a better one ------------------------------------------------------------------------------------------------ */

/* A better server than the one at hand is known: that attempt is dropped, and nobody has seen it. The same server by a better source
 * is only believed more. */
static int side_follow(SetupSide *s)
{
        const Candidate *candidate;
        const Endpoint *leader = side_leader(s, &candidate);
        uint64_t due;

        if (!s->fiber || !s->now.endpoint || s->given_up || leader == s->now.endpoint ||
            side_settled(s, &due))
                return 0;
        if (leader && endpoint_same(leader, s->now.endpoint)) {
                s->now.endpoint = leader;
                s->now.candidate = s->candidate = candidate;
                s->trust = candidate_trust(candidate, s->side);
                fiber_queue_wake_all(&s->setup->input);
                return text_set(&s->endpoint.user, leader->user);
        }
        s->fiber = fiber_cancel(s->fiber);
        session_close(&s->session);
        attempt_clear(&s->now);
        return side_start(s);
}

int sides_follow(Setup *setup)
{
        int r = 0;

        for (size_t i = 0; i < 2 && r == 0; i++)
                if (!side_reached(&setup->sides[i]))
                        r = side_follow(&setup->sides[i]);
        return r;
}

/* Is a side still looking for its server? */
static bool sides_reaching(const Setup *setup)
{
        for (size_t i = 0; i < 2; i++) {
                const SetupSide *s = &setup->sides[i];

                if (s->fiber && !fiber_ended(s->fiber) && !side_reached(s) && !s->given_up)
                        return true;
        }
        return false;
}

int sides_watch(Setup *setup)
{
        int r = 0;

        while (r == 0 && sides_reaching(setup)) {
                r = sides_follow(setup);
                if (r == 0)
                        r = fiber_queue_wait(&setup->input);
        }
        return r;
}

/* It is decided: what the attempts at hand have found until now is shown, and what they do from now on. */
int sides_show(Setup *setup)
{
        int r = 0;

        for (size_t i = 0; i < 2 && r == 0; i++) {
                SetupSide *s = &setup->sides[i];

                if (!s->probing)
                        continue;
                s->live = s->told = true;
                for (size_t k = 0; k < s->now.at && r == 0; k++)
                        r = side_tell(s, k, &s->now.findings[k]);
                if (r == 0)
                        r = side_begin_step(s, s->now.at);
        }
        fiber_queue_wake_all(&setup->input);
        return r;
}

/* --- what only its owner can decide ---------------------------------------------------------------------------------- */

static bool approval_given(Setup *setup, Side side, const Need *need)
{
        return need && need->answered;
}

int need_hosts(SetupSide *s, Dict *details)
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

int ask_server_approval(SetupSide *s, StepId step, const char *cause)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        int r;

        if (!details)
                return -ENOMEM;
        r = need_hosts(s, details);
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, cause);
        if (r == 0 && (s->session.addresses || s->now.addresses))
                r = evidence_addresses(details, s->session.addresses ? s->session.addresses
                                                                     : s->now.addresses);
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
        const DnsAddresses *a = s->now.addresses;

        for (unsigned i = 0; a && i < a->n_addresses; i++)
                if (address_allowed((const struct sockaddr *) &a->addresses[i], ADDRESS_PRIVATE))
                        return true;
        return false;
}

static int ask_certificate_approval(SetupSide *s, StepId step, const Finding *finding)
{
        _cleanup_(dict_freep) Dict *details = NULL;
        _cleanup_free_ char *spki = NULL;
        int r;

        r = dict_copy(&details, &finding->evidence);
        if (r == 0)
                r = text_set(&spki, dict_text(&finding->evidence, KEY_SPKI));
        if (r == 0)
                r = dict_set_text(details, KEY_CAUSE, finding->cause);
        if (r == 0)
                r = setup_ask(s->setup, step, NEED_CERTIFICATE_APPROVAL, s->side, details,
                              finding->cause, approval_given);
        if (r < 0)
                return r;
        free(s->endpoint.approved_spki);
        s->endpoint.approved_spki = TAKE(spki);
        s->endpoint.approved_until_usec = 0; /* from now on, whatever there was before */
        return 0;
}

/* May its owner say yes to what stopped the attempt at hand? Not where somebody else stands between. Asks, where so. Returns 1 when the
 * answer was yes, 0 when there is nothing to ask. */
static int side_ask(SetupSide *s)
{
        const Finding *finding = &s->now.findings[s->now.reached];
        StepId step = side_step_id(s, s->now.reached);
        int r;

        if (text_equal(finding->cause, "policy.address-forbidden")) {
                if (s->approved || s->trust != TRUST_USER || !private_only(s))
                        return 0;
                r = ask_server_approval(s, step, finding->cause);
        } else if ((text_equal(finding->cause, "tls.cert-self-signed") ||
                    text_equal(finding->cause, "tls.cert-untrusted-ca")) &&
                   !dict_text(&finding->evidence, KEY_INTERCEPTED)) {
                r = ask_certificate_approval(s, step, finding);
        } else {
                return 0;
        }
        return r < 0 ? r : 1;
}

/* The failure that is told, looked at closer with whom it was. */
static int side_look_closer(SetupSide *s)
{
        _cleanup_session_ Session with = { .side = s->side,
                                           .endpoint = &s->endpoint,
                                           .dns = s->session.dns,
                                           .tls = s->session.tls,
                                           .means = s->session.means,
                                           .policy = s->session.policy };
        int r = outcome_copy(&with.no, &s->now.no);

        with.addresses = s->now.addresses;
        if (r == 0)
                r = session_diagnose(&with, side_step_id(s, s->now.reached),
                                     &s->now.findings[s->now.reached]);
        with.addresses = NULL;
        return r;
}

/* No server is left to try: its owner is asked about the best one, if that may help; else its story is told. */
static int side_give_up(SetupSide *s)
{
        int r;

        s->given_up = true;
        if (!s->best.endpoint)
                return 0; /* none was known: discovery has its say */
        attempt_clear(&s->now);
        s->now = s->best;
        s->best = (Attempt){};
        r = side_take(s, s->now.endpoint, s->now.candidate);
        while (r == 0) {
                r = side_look_closer(s);
                if (r == 0)
                        r = side_tell_all(s, &s->now);
                if (r == 0)
                        r = side_ask(s);
                if (r <= 0)
                        return r;
                r = side_probe(s);
                if (r > 0)
                        return side_tell_all(s, &s->now);
                if (r == 0)
                        r = side_keep(s);
        }
        return r;
}

int side_reach(SetupSide *s)
{
        int r, passed;

        if (side_reached(s))
                return 0;
        while ((r = side_next(s)) > 0) {
                s->live = setup_step_stands(s->setup, STEP_DISCOVERY) && !s->told;
                s->told |= s->live;
                s->probing = true;
                passed = side_probe(s);
                s->probing = false;
                if (passed < 0)
                        return passed;
                if (passed == 0) {
                        r = side_failed(s);
                        if (r < 0)
                                return r;
                        continue;
                }
                r = side_settle(s);
                return r < 0 || s->live ? r : side_tell_all(s, &s->now);
        }
        if (r == 0)
                r = side_settle(s);
        return r < 0 ? r : side_give_up(s);
}
