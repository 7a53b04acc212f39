/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See setup.h. The object: its life, what callers may do, what the observer is told. The work itself is in setup_work.c; the two meet
 * in the fiber, which is started from the loop and ended by fiber_cancel(). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/authorization.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/secret_shape.h"

/* --- telling --------------------------------------------------------------------------------------------------- */

static void setup_changed(Setup *setup, unsigned what)
{
        const Observer *o = &setup->core->observer;

        setup->serial++;
        if (o->setup_changed)
                o->setup_changed(o->userdata, setup, what);
}

const char *setup_state_name(SetupState state)
{
        switch (state) {
        case SETUP_STATE_RUNNING:
                return SETUP_RUNNING;
        case SETUP_STATE_WAITING:
                return SETUP_WAITING;
        case SETUP_STATE_READY:
                return SETUP_READY;
        case SETUP_STATE_FAILED:
                return SETUP_FAILED;
        case SETUP_STATE_SUCCEEDED:
                return SETUP_SUCCEEDED;
        case SETUP_STATE_CANCELLED:
                return SETUP_CANCELLED;
        }
        return SETUP_FAILED;
}

static bool state_final(SetupState state)
{
        return state == SETUP_STATE_SUCCEEDED || state == SETUP_STATE_CANCELLED;
}

void setup_account_changed(Setup *setup)
{
        setup_changed(setup, SETUP_CHANGED_ACCOUNT);
}

void setup_set_state(Setup *setup, SetupState state)
{
        if (setup->state == state)
                return;
        setup->state = state;
        if (state_final(state)) {
                setup->ended_usec = clock_now();
                core_setup_ended(setup->core, setup->uid);
        }
        log_write(LOG_INFO, (LogField[]){ { "WAYPOST_SETUP", setup->id }, {} },
                  "setup of %s is %s%s%s", setup->address_text, setup_state_name(state),
                  setup->cause ? ": " : "", setup->cause ? setup->cause : "");
        setup_changed(setup, SETUP_CHANGED_STATE);
}

/* The first failing step in order names the cause; a step that waits for an answer with a cause comes before none at all. */
void setup_update_cause(Setup *setup)
{
        const char *cause = NULL;

        for (size_t i = 0; i < N_STEPS && !cause; i++)
                if (setup->findings[i].status == STEP_FAILED)
                        cause = setup->findings[i].cause;
        for (size_t i = 0; i < N_STEPS && !cause; i++)
                if (setup->findings[i].status == STEP_WAITING)
                        cause = setup->findings[i].cause;
        if (text_equal(cause, setup->cause))
                return;
        setup->cause = cause;
        setup_changed(setup, SETUP_CHANGED_CAUSE);
}

static void setup_step_tell(Setup *setup, StepId step)
{
        const Observer *o = &setup->core->observer;
        const Finding *f = &setup->findings[step];

        setup->serial++;
        log_write(LOG_DEBUG, (LogField[]){ { "WAYPOST_SETUP", setup->id }, {} }, "step %s %s%s%s",
                  step_name(step), step_status_name(f->status), f->cause ? " " : "",
                  f->cause ? f->cause : "");
        if (o->setup_step)
                o->setup_step(o->userdata, setup, step);
        setup_update_cause(setup);
}

void setup_step_begin(Setup *setup, StepId step)
{
        setup_step_begin_with(setup, step, &(Dict){}, 0);
}

void setup_step_begin_with(Setup *setup, StepId step, Dict *waits_for, uint64_t budget_usec)
{
        Finding *finding = &setup->findings[step];

        finding_clear(finding);
        finding->status = STEP_RUNNING;
        finding->evidence = *waits_for;
        *waits_for = (Dict){};
        /* Without memory it waits all the same. */
        if (budget_usec) {
                (void) dict_set_number(&finding->evidence, KEY_SINCE, clock_real());
                (void) dict_set_number(&finding->evidence, KEY_BUDGET, budget_usec);
        }
        setup->step_begun[step] = clock_now();
        setup->step_waited[step] = 0;
        setup_step_tell(setup, step);
}

void setup_step_say(Setup *setup, StepId step, const char *cause)
{
        if (text_equal(setup->findings[step].cause, cause))
                return;
        setup->findings[step].cause = cause;
        setup_step_tell(setup, step);
}

void setup_step_end(Setup *setup, StepId step, Finding *finding)
{
        finding->usec = clock_now() - setup->step_begun[step] - setup->step_waited[step];
        finding_move(&setup->findings[step], finding);
        setup_step_tell(setup, step);
}

int setup_step_put(Setup *setup, StepId step, const Finding *finding)
{
        Finding *to = &setup->findings[step];
        Dict *evidence = NULL;
        int r = dict_copy(&evidence, &finding->evidence);

        if (r < 0)
                return r;
        finding_clear(to);
        *to = (Finding){ finding->status, finding->cause, finding->usec, *evidence };
        free(evidence);
        setup_step_tell(setup, step);
        return 0;
}

void setup_step_skip(Setup *setup, StepId step)
{
        if (setup->findings[step].status == STEP_SKIPPED)
                return;
        finding_clear(&setup->findings[step]);
        setup->findings[step].status = STEP_SKIPPED;
        setup_step_tell(setup, step);
}

void setup_step_forget(Setup *setup, StepId step)
{
        if (setup->findings[step].status == STEP_PENDING)
                return;
        finding_clear(&setup->findings[step]);
        setup_step_tell(setup, step);
}

bool setup_step_passed(const Setup *setup, StepId step)
{
        StepStatus status = setup->findings[step].status;

        return status == STEP_PASSED || status == STEP_WARNED;
}

bool setup_step_stands(const Setup *setup, StepId step)
{
        return setup_step_passed(setup, step) || setup->findings[step].status == STEP_SKIPPED;
}

int setup_publish_candidates(Setup *setup)
{
        const Ranking *ranking = setup_ranking(setup);
        size_t n = ranking ? ranking->n : 0;
        int r = 0;

        if (n == 0 && setup_n_candidates(setup) == 0)
                return 0;
        for (Dict **d = setup->candidate_dicts; d && *d; d++)
                dict_free(*d);
        free(setup->candidate_dicts);
        setup->candidate_dicts = calloc(n + 1, sizeof(Dict *));
        if (!setup->candidate_dicts)
                return -ENOMEM;
        for (size_t i = 0; i < n && r == 0; i++) {
                const Ranked *ranked = &ranking->list[i];
                bool sides[2] = { ranked->endpoint[0] != NULL, ranked->endpoint[1] != NULL };

                setup->candidate_dicts[i] = dict_new();
                r = setup->candidate_dicts[i]
                            ? candidate_to_dict(ranked->candidate, sides, setup->candidate_dicts[i])
                            : -ENOMEM;
        }
        setup_changed(setup, SETUP_CHANGED_CANDIDATES);
        return r;
}

/* --- needs ----------------------------------------------------------------------------------------------------- */

static Need *need_find(Setup *setup, const char *kind, Side side)
{
        for (size_t i = 0; i < setup->n_needs; i++)
                if (strcmp(setup->needs[i].kind, kind) == 0 && setup->needs[i].side == side)
                        return &setup->needs[i];
        return NULL;
}

static void needs_tell(Setup *setup)
{
        size_t n_open = setup_n_needs(setup);

        setup_changed(setup, SETUP_CHANGED_NEEDS);
        if (setup->state == SETUP_STATE_RUNNING && n_open > 0)
                setup_set_state(setup, SETUP_STATE_WAITING);
        else if (setup->state == SETUP_STATE_WAITING && n_open == 0)
                setup_set_state(setup, SETUP_STATE_RUNNING);
}

/* An answered need is no longer shown, at once: who answers and then waits must not see the state of before. */
static void need_answer(Setup *setup, Need *need)
{
        need->answered = true;
        needs_tell(setup);
        fiber_queue_wake_all(&setup->input);
}

void setup_need_hide(Setup *setup, const char *kind, Side side)
{
        Need *need = need_find(setup, kind, side);

        if (!need)
                return;
        dict_clear(&need->details);
        *need = setup->needs[--setup->n_needs];
        setup->needs[setup->n_needs] = (Need){};
        needs_tell(setup);
}

static void needs_clear(Setup *setup)
{
        while (setup->n_needs > 0)
                dict_clear(&setup->needs[--setup->n_needs].details);
}

/* The token is a digest of exactly what is shown: whoever approves has seen this and nothing else. */
int setup_need_show(Setup *setup, const char *kind, Side side, Dict *details)
{
        char token[SHA256_HEX];
        int r;

        if (setup->n_needs == NEEDS_MAX)
                return -ENOBUFS;
        r = dict_set_text(details, KEY_SIDE, side_name(side));
        if (r == 0)
                r = dict_digest(details, token);
        if (r == 0)
                r = dict_set_text(details, KEY_TOKEN, token);
        if (r < 0)
                return r;
        setup->needs[setup->n_needs++] = (Need){ .kind = kind, .side = side, .details = *details };
        *details = (Dict){};
        needs_tell(setup);
        return 0;
}

int setup_ask(Setup *setup, StepId step, const char *kind, Side side, Dict *details,
              const char *cause, bool (*satisfied)(Setup *setup, Side side, const Need *need))
{
        uint64_t begun = clock_now();
        Finding *finding = &setup->findings[step];
        int r;

        if (satisfied(setup, side, NULL))
                return 0;
        finding->status = STEP_WAITING;
        finding->cause = cause;
        setup_step_tell(setup, step);
        r = setup_need_show(setup, kind, side, details);
        while (r == 0 && !satisfied(setup, side, need_find(setup, kind, side)))
                r = fiber_queue_wait(&setup->input);
        if (r == -ECANCELED)
                return r; /* whoever cancelled clears the needs */
        setup_need_hide(setup, kind, side);
        finding->status = STEP_RUNNING;
        finding->cause = NULL;
        setup->step_waited[step] += clock_now() - begun;
        setup_step_tell(setup, step);
        return r;
}

/* --- life ------------------------------------------------------------------------------------------------------ */

void setup_close_sessions(Setup *setup)
{
        for (size_t i = 0; i < 2; i++)
                session_close(&setup->sides[i].session);
}

static void setup_stop(Setup *setup)
{
        setup->fiber = fiber_cancel(setup->fiber);
        needs_clear(setup);
        setup_close_sessions(setup);
}

Setup *setup_free(Setup *setup)
{
        if (!setup)
                return NULL;
        setup_stop(setup);
        for (size_t i = 0; i < 2; i++) {
                SetupSide *s = &setup->sides[i];

                endpoint_deinit(&s->by_hand);
                endpoint_deinit(&s->endpoint);
                wish_deinit(&s->wish);
                attempt_clear(&s->now);
                attempt_clear(&s->best);
                secret_unref(s->secret);
        }
        for (size_t i = 0; i < N_STEPS; i++)
                finding_clear(&setup->findings[i]);
        for (Dict **d = setup->candidate_dicts; d && *d; d++)
                dict_free(*d);
        free(setup->candidate_dicts);
        discovery_free(setup->discovery);
        secret_unref(setup->doubted);
        authorization_free(setup->authorization);
        /* What was granted for an account that did not come about is given back. */
        if (setup->kind == SETUP_ADD && !setup->handed_over)
                grant_revoke_unref(setup->grant);
        else
                grant_unref(setup->grant);
        transcript_unref(setup->transcript);
        account_record_deinit(&setup->record);
        mail_address_free(setup->address);
        free(setup->creator);
        free(setup->address_text);
        explicit_bzero(setup->token, sizeof(setup->token));
        free(setup);
        return NULL;
}

static int setup_new(Setup **ret, Core *core, uid_t uid, SetupKind kind)
{
        _cleanup_(setup_freep) Setup *setup = calloc(1, sizeof(*setup));
        int r;

        if (!setup)
                return -ENOMEM;
        setup->core = core;
        setup->uid = uid;
        setup->kind = kind;
        setup->touched_usec = clock_now();
        r = random_hex(setup->id, ID_LEN);
        if (r == 0)
                r = transcript_new(&setup->transcript);
        if (r < 0)
                return r;
        for (size_t i = 0; i < 2; i++) {
                SetupSide *s = &setup->sides[i];

                *s = (SetupSide){ .setup = setup, .side = (Side) i, .wanted = true };
                s->session = (Session){ .side = (Side) i,
                                        .endpoint = &s->endpoint,
                                        .dns = core->dns,
                                        .tls = core->tls,
                                        .means = &core->means,
                                        .transcript = setup->transcript };
        }
        *ret = TAKE(setup);
        return 0;
}

static int setup_run(Setup *setup, int (*work)(void *))
{
        setup->fiber = fiber_cancel(setup->fiber);
        setup_set_state(setup, SETUP_STATE_RUNNING);
        return fiber_start(&setup->fiber, "setup", work, setup);
}

/* Announces a new setup and starts its fiber, which runs from the loop: after the caller's reply has been sent. */
static int setup_launch(Setup **setup, Setup **ret)
{
        Setup *s = *setup;
        const Observer *o = &s->core->observer;
        int r;

        r = core_add_setup(s->core, s);
        if (r < 0)
                return r;
        r = fiber_start(&s->fiber, "setup", setup_work, s);
        if (r < 0) {
                core_remove_setup(s->core, s);
                return r;
        }
        if (o->setup_added)
                o->setup_added(o->userdata, s);
        core_wake_janitor(s->core);
        *ret = TAKE(*setup);
        return 0;
}

static int setup_quota(Core *core, uid_t uid, const char **ret_why)
{
        if (core_count_setups(core, uid) >= core->config->setups_per_uid)
                return core_why(core, ret_why, SETUP_QUOTA, "at most %u setups at the same time",
                                (unsigned) core->config->setups_per_uid);
        return 0;
}

/* What makes connections to names that a caller chose is counted, also when a setup does it anew. */
static int search_quota(Core *core, uid_t uid, const char **ret_why)
{
        int r = core_search_allowed(core, uid);

        if (r == 0)
                return core_why(core, ret_why, SETUP_QUOTA, "at most %u searches in a minute",
                                (unsigned) core->config->searches_per_minute);
        return r < 0 ? r : 0;
}

int setup_start(Setup **ret, Core *core, uid_t uid, const char *address, const Dict *options,
                const char **ret_why)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        const char *why = NULL;
        int r;

        r = setup_quota(core, uid, ret_why);
        if (r == 0)
                r = search_quota(core, uid, ret_why);
        if (r != 0)
                return r;
        r = setup_new(&setup, core, uid, SETUP_ADD);
        if (r < 0)
                return r;
        r = mail_address_parse(&setup->address, address, &why);
        if (r == -EINVAL)
                return core_why(core, ret_why, SETUP_INVALID_ADDRESS, "not a mail address: %s",
                                why ? why : "syntax");
        if (r == 0)
                r = text_set(&setup->address_text, setup->address->address);
        setup->record.interval_usec = core->config->interval_usec;
        if (r == 0)
                r = setup_read_options(setup, options, ret_why);
        if (r != 0)
                return r;
        setup->sides[SIDE_OUTGOING].wanted = !setup->options.receive_only;
        return setup_launch(&setup, ret);
}

int setup_start_probe(Setup **ret, Core *core, uid_t uid, const char *host, uint16_t port,
                      const Dict *options, const char **ret_why)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        _cleanup_(dict_freep) Dict *server = NULL;
        const char *protocol = dict_text(options, KEY_PROTOCOL);
        Side side;
        int r;

        r = setup_quota(core, uid, ret_why);
        if (r == 0)
                r = search_quota(core, uid, ret_why);
        if (r != 0)
                return r;
        r = setup_new(&setup, core, uid, SETUP_PROBE);
        if (r < 0)
                return r;
        side = protocol ? strcmp(protocol, "smtp") == 0 ? SIDE_OUTGOING : SIDE_INCOMING
               : port == 25 || port == 465 || port == 587 ? SIDE_OUTGOING
                                                          : SIDE_INCOMING;
        r = dict_copy(&server, options);
        if (r == 0)
                r = dict_set_text(server, KEY_HOST, host);
        if (r == 0)
                r = dict_set_number(server, KEY_PORT, port);
        if (r == 0)
                r = text_format(&setup->address_text, "%s:%u", host, port);
        if (r == 0)
                r = setup_read_server(setup, side, server, ret_why);
        if (r != 0)
                return r;
        setup->options = (SetupOptions){ .dry_run = true,
                                         .has_until = true,
                                         .until = session_step(side, STEP_INCOMING_SERVICE) };
        setup->sides[side == SIDE_INCOMING ? SIDE_OUTGOING : SIDE_INCOMING].wanted = false;
        return setup_launch(&setup, ret);
}

static int setup_for_account(Setup **ret, Account *account, SetupKind kind)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        const AccountRecord *record = &account->record;
        int r;

        if (!account_check_owner(account))
                return SETUP_INVALID_STATE;
        r = setup_quota(account->core, record->uid, NULL);
        if (r == 0)
                r = search_quota(account->core, record->uid, NULL);
        if (r != 0)
                return r;
        r = setup_new(&setup, account->core, record->uid, kind);
        if (r == 0)
                r = mail_address_parse(&setup->address, record->address, NULL);
        if (r == 0)
                r = text_set(&setup->address_text, record->address);
        if (r == 0)
                r = endpoint_copy(&setup->sides[SIDE_INCOMING].by_hand, &record->incoming);
        if (r == 0 && record->outgoing.host)
                r = endpoint_copy(&setup->sides[SIDE_OUTGOING].by_hand, &record->outgoing);
        if (r < 0)
                return r;
        setup->sides[SIDE_OUTGOING].wanted = record->outgoing.host != NULL;
        setup->options.dry_run = true;
        for (size_t i = 0; i < 2; i++) {
                setup->sides[i].approved = true;
                if (setup->sides[i].wanted && (i == SIDE_INCOMING || !record->same_secret))
                        (void) account_secret(account, (Side) i, &setup->sides[i].secret);
        }
        setup->grant = grant_ref(account->grant);
        memcpy(setup->account_id, record->id, ID_SIZE);
        *ret = TAKE(setup);
        return 0;
}

int setup_start_check(Setup **ret, Account *account)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        int r;

        r = setup_for_account(&setup, account, SETUP_CHECK);
        return r != 0 ? r : setup_launch(&setup, ret);
}

int setup_start_password(Setup **ret, Account *account, const char *side, Secret *secret,
                         const char **ret_why)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        int r;

        r = setup_for_account(&setup, account, SETUP_PASSWORD);
        if (r == 0)
                r = setup_set_password(setup, side, secret, ret_why);
        return r != 0 ? r : setup_launch(&setup, ret);
}

/* What is to be replaced is taken away, so that it is asked for: the incoming side's, and the outgoing one's where it has none of its own.
 * A side whose own password still stands is not looked at again. */
int setup_start_repair(Setup **ret, Account *account, const Dict *options, const char **ret_why)
{
        _cleanup_(setup_freep) Setup *setup = NULL;
        const char *method = dict_text(options, KEY_METHOD);
        int r;

        for (size_t i = 0; i < options->n_entries; i++)
                if (strcmp(options->entries[i].key, KEY_METHOD) != 0)
                        return core_why(account->core, ret_why, SETUP_INVALID_KEY,
                                        "'%s' is not known", options->entries[i].key);
        if (method && !text_equal(method, "password") && !text_equal(method, "authorization"))
                return core_why(account->core, ret_why, SETUP_INVALID_KEY,
                                "'%s' is password or authorization", KEY_METHOD);
        r = setup_for_account(&setup, account, SETUP_REPAIR);
        if (r != 0)
                return r;
        setup->repair_password = text_equal(method, "password");
        setup->repair_authorization = text_equal(method, "authorization");
        /* A certificate that is to be approved says nothing against the password. */
        if (account->state == ACCOUNT_STATE_NEEDS_APPROVAL && !method)
                return setup_launch(&setup, ret);
        setup->sides[SIDE_INCOMING].secret = secret_unref(setup->sides[SIDE_INCOMING].secret);
        setup->sides[SIDE_OUTGOING].wanted = setup->sides[SIDE_OUTGOING].wanted &&
                                             !setup->sides[SIDE_OUTGOING].secret;
        setup->grant = grant_unref(setup->grant);
        return setup_launch(&setup, ret);
}

uint64_t setup_ended(const Setup *setup)
{
        return setup->dropped ? 0 : setup->ended_usec;
}

void setup_drop(Setup *setup)
{
        setup->dropped = true;
}

uint64_t setup_due(const Setup *setup)
{
        if (setup->dropped)
                return 0;
        return setup->ended_usec ? setup->ended_usec + LIMIT_SETUP_KEPT_USEC
                                 : setup->touched_usec + LIMIT_SETUP_IDLE_USEC;
}

bool setup_expire(Setup *setup)
{
        if (clock_now() < setup_due(setup) || setup->committing || setup->n_held)
                return false;
        if (!setup->ended_usec) {
                (void) setup_cancel(setup);
                return false;
        }
        core_remove_setup(setup->core, setup);
        setup_free(setup);
        return true;
}

/* --- reading --------------------------------------------------------------------------------------------------- */

const char *setup_id(const Setup *setup)
{
        return setup->id;
}

uid_t setup_uid(const Setup *setup)
{
        return setup->uid;
}

const char *setup_address(const Setup *setup)
{
        return setup->address_text;
}

SetupState setup_state(const Setup *setup)
{
        return setup->state;
}

const Finding *setup_finding(const Setup *setup, StepId step)
{
        return &setup->findings[step];
}

size_t setup_n_needs(const Setup *setup)
{
        size_t n = 0;

        for (size_t i = 0; i < setup->n_needs; i++)
                n += !setup->needs[i].answered;
        return n;
}

const char *setup_need(const Setup *setup, size_t index, const Dict **ret_details)
{
        for (size_t i = 0; i < setup->n_needs; i++)
                if (!setup->needs[i].answered && index-- == 0) {
                        *ret_details = &setup->needs[i].details;
                        return setup->needs[i].kind;
                }
        return NULL;
}

size_t setup_n_candidates(const Setup *setup)
{
        size_t n = 0;

        while (setup->candidate_dicts && setup->candidate_dicts[n])
                n++;
        return n;
}

const Dict *setup_candidate(const Setup *setup, size_t index)
{
        return setup->candidate_dicts[index];
}

const char *setup_cause(const Setup *setup)
{
        return setup->cause;
}

const char *setup_account_id(const Setup *setup)
{
        return setup->account_id[0] && core_account(setup->core, setup->account_id)
                       ? setup->account_id
                       : NULL;
}

uint64_t setup_serial(const Setup *setup)
{
        return setup->serial;
}

bool setup_detached(const Setup *setup)
{
        return setup->options.detached;
}

int setup_set_creator(Setup *setup, const char *unique_name)
{
        return text_set(&setup->creator, unique_name);
}

const char *setup_creator(const Setup *setup)
{
        return setup->creator;
}

void setup_touch(Setup *setup)
{
        setup->touched_usec = clock_now();
}

Secret *setup_secret(Setup *setup, Side side)
{
        return setup->sides[side].secret ? setup->sides[side].secret
                                         : setup->sides[SIDE_INCOMING].secret;
}

bool setup_same_secret(const Setup *setup)
{
        const Secret *outgoing = setup->sides[SIDE_OUTGOING].secret;

        return !outgoing || secret_equal(outgoing, setup->sides[SIDE_INCOMING].secret);
}

bool setup_uses_grant(const Setup *setup, Side side)
{
        const char *host = setup->sides[side].endpoint.host;

        return setup->grant && host && grant_covers(setup->grant, host) &&
               !setup->sides[side].secret && !setup->sides[SIDE_INCOMING].secret;
}

/* --- what callers may do --------------------------------------------------------------------------------------- */

static bool setup_may_change(const Setup *setup)
{
        return !state_final(setup->state) && !setup->committing && !setup->handed_over;
}

/* Forgets @from and what depends on it, ends what runs, and runs the function again. */
static int setup_restart(Setup *setup, const bool forget[N_STEPS])
{
        setup_stop(setup);
        for (size_t i = 0; i < N_STEPS; i++) {
                StepStatus status = setup->findings[i].status;

                if (forget[i] || status == STEP_RUNNING || status == STEP_WAITING)
                        setup_step_forget(setup, (StepId) i);
        }
        setup_changed(setup, SETUP_CHANGED_NEEDS | SETUP_CHANGED_STEPS);
        setup_update_cause(setup);
        return setup_run(setup, setup_work);
}

static void forget_side(bool forget[N_STEPS], Side side, StepId incoming_from)
{
        for (size_t i = incoming_from; i <= STEP_INCOMING_MAILBOX; i++)
                forget[session_step(side, (StepId) i)] = true;
}

/* What a finding's end means for the others. */
static void forget_from(bool forget[N_STEPS], StepId step)
{
        forget[step] = true;
        if (step <= STEP_DISCOVERY)
                for (size_t i = step; i < N_STEPS; i++)
                        forget[i] = true;
        else if (step <= STEP_INCOMING_MAILBOX)
                forget_side(forget, SIDE_INCOMING, step);
        else if (step <= STEP_OUTGOING_SENDER)
                forget_side(forget, SIDE_OUTGOING,
                            (StepId) (step - STEP_OUTGOING_DNS + STEP_INCOMING_DNS));
}

int setup_choose(Setup *setup, const char *candidate)
{
        const Ranking *ranking = setup_ranking(setup);
        bool forget[N_STEPS] = {}, found = false;
        int r;

        setup_touch(setup);
        if (!setup_may_change(setup))
                return SETUP_INVALID_STATE;
        for (size_t i = 0; ranking && i < ranking->n; i++)
                found |= strcmp(ranking->list[i].candidate->id, candidate) == 0;
        if (!found)
                return SETUP_NOT_FOUND;
        r = search_quota(setup->core, setup->uid, NULL);
        if (r != 0)
                return r;
        snprintf(setup->chosen, sizeof(setup->chosen), "%s", candidate);
        for (size_t i = 0; i < 2; i++) {
                endpoint_deinit(&setup->sides[i].by_hand);
                setup->sides[i].approved = false;
        }
        forget_side(forget, SIDE_INCOMING, STEP_INCOMING_DNS);
        forget_side(forget, SIDE_OUTGOING, STEP_INCOMING_DNS);
        return setup_restart(setup, forget);
}

int setup_set_servers(Setup *setup, const Dict *servers, const char **ret_why)
{
        static const DictKey known[] = { { KEY_INCOMING, DICT_DICT }, { KEY_OUTGOING, DICT_DICT } };
        _cleanup_(wish_deinit) Wish incoming = {}, outgoing = {};
        Wish *wishes[2] = { &incoming, &outgoing };
        bool forget[N_STEPS] = {};
        int r;

        setup_touch(setup);
        if (!setup_may_change(setup) || setup->kind != SETUP_ADD)
                return SETUP_INVALID_STATE;
        r = core_check_keys(setup->core, servers, known, ELEMENTS(known), ret_why);
        for (size_t i = 0; i < 2 && r == 0; i++)
                if (dict_dict(servers, known[i].key))
                        r = setup_parse_server(setup, (Side) i, dict_dict(servers, known[i].key),
                                               wishes[i], ret_why);
        if (r == 0)
                r = search_quota(setup->core, setup->uid, ret_why);
        if (r != 0)
                return r;
        for (size_t i = 0; i < 2; i++)
                if (dict_dict(servers, known[i].key)) {
                        setup_apply_server_take(setup, (Side) i, wishes[i]);
                        setup->sides[i].approved = false;
                        forget_side(forget, (Side) i, STEP_INCOMING_DNS);
                        /* What was not given is looked for anew, with what was. */
                        if (!setup->sides[i].by_hand.host)
                                forget_from(forget, STEP_DISCOVERY);
                }
        /* Discovery that found nothing is answered by naming the servers. */
        if (setup->findings[STEP_DISCOVERY].status != STEP_PASSED)
                forget[STEP_DISCOVERY] = true;
        setup->chosen[0] = 0;
        return setup_restart(setup, forget);
}

int setup_approve(Setup *setup, const char *token)
{
        setup_touch(setup);
        if (state_final(setup->state))
                return SETUP_INVALID_STATE;
        for (size_t i = 0; i < setup->n_needs; i++) {
                Need *need = &setup->needs[i];

                if (need->answered || !text_equal(dict_text(&need->details, KEY_TOKEN), token))
                        continue;
                if (strcmp(need->kind, NEED_SERVER_APPROVAL) != 0 &&
                    strcmp(need->kind, NEED_CERTIFICATE_APPROVAL) != 0 &&
                    strcmp(need->kind, NEED_USER_ACTION) != 0)
                        return SETUP_INVALID_STATE;
                need_answer(setup, need);
                return 0;
        }
        return SETUP_STALE;
}

/* A login that failed runs again with the new secret; one that waits for it goes on. */
static int setup_secret_changed(Setup *setup, bool incoming, bool outgoing)
{
        bool forget[N_STEPS] = {}, again = false;

        if (incoming)
                forget_side(forget, SIDE_INCOMING, STEP_INCOMING_LOGIN);
        if (outgoing)
                forget_side(forget, SIDE_OUTGOING, STEP_INCOMING_LOGIN);
        for (size_t i = 0; i < N_STEPS; i++)
                again |= forget[i] && setup->findings[i].status == STEP_FAILED;
        if (setup->state == SETUP_STATE_READY)
                again = true;
        if (again)
                return setup_restart(setup, forget);
        for (size_t i = 0; i < setup->n_needs; i++)
                if ((strcmp(setup->needs[i].kind, NEED_PASSWORD) == 0 ||
                     strcmp(setup->needs[i].kind, NEED_AUTHORIZATION) == 0) &&
                    setup_secret(setup, setup->needs[i].side))
                        need_answer(setup, &setup->needs[i]);
        fiber_queue_wake_all(&setup->input);
        return 0;
}

const Provider *setup_provider(const Setup *setup, Side side)
{
        const SetupSide *s = &setup->sides[side];
        const Provider *p = s->candidate && s->candidate->provider
                                    ? provider_by_label(setup->core->providers,
                                                        s->candidate->provider)
                                    : NULL;

        return p ? p
                 : provider_by_host(setup->core->providers,
                                    s->endpoint.host ? s->endpoint.host : s->by_hand.host);
}

bool setup_wants_app_password(const Setup *setup, Side side)
{
        const SetupSide *s = &setup->sides[side];
        const Provider *p = setup_provider(setup, side);

        return (s->candidate && s->candidate->app_password) ||
               (p && p->account_password == ACCOUNT_PASSWORD_REFUSED && !provider_needs_oauth(p));
}

/* The account's own password given by mistake is known before it is sent, where app passwords have a shape. Facts age: whoever says it
 * again means it. */
static int secret_doubts(Setup *setup, Side side, Secret *secret, const char **ret_why)
{
        const Provider *p = setup_provider(setup, side);
        const char *shape = p ? p->app_password_shape : NULL;
        Account *account = core_account(setup->core, setup->account_id);
        Secret **doubted = account ? &account->doubted : &setup->doubted;
        SecretShape verdict;

        if (!setup_wants_app_password(setup, side) || secret_equal(secret, *doubted))
                return 0;
        verdict = secret_shape_judge(shape, secret);
        if (verdict == SECRET_SHAPE_FITS)
                return 0;
        secret_unref(*doubted);
        *doubted = secret_ref(secret);
        if (verdict == SECRET_SHAPE_SPACED)
                return core_why(setup->core, ret_why, SETUP_SECRET_SPACES,
                                "the blanks are how it is shown and not part of it");
        return core_why(setup->core, ret_why, SETUP_SECRET_SHAPE, "%s makes them like \"%s\"",
                        p->name, shape);
}

int setup_set_password(Setup *setup, const char *side, Secret *secret, const char **ret_why)
{
        bool both = !*side, incoming = both || strcmp(side, "incoming") == 0;
        bool outgoing = both || strcmp(side, "outgoing") == 0;
        int r;

        setup_touch(setup);
        if (!incoming && !outgoing)
                return SETUP_INVALID_KEY;
        if (!setup_may_change(setup) || setup->kind == SETUP_PROBE)
                return SETUP_INVALID_STATE;
        r = secret_doubts(setup, incoming ? SIDE_INCOMING : SIDE_OUTGOING, secret, ret_why);
        if (r != 0)
                return r;
        r = transcript_hide(setup->transcript, secret);
        if (r == -ENOBUFS)
                return SETUP_QUOTA; /* so many passwords in one setup are guesses */
        if (r < 0)
                return r;
        if (incoming) {
                secret_unref(setup->sides[SIDE_INCOMING].secret);
                setup->sides[SIDE_INCOMING].secret = secret_ref(secret);
        }
        if (outgoing) {
                setup->sides[SIDE_OUTGOING].secret = secret_unref(
                        setup->sides[SIDE_OUTGOING].secret);
                if (!incoming)
                        setup->sides[SIDE_OUTGOING].secret = secret_ref(secret);
        }
        return setup_secret_changed(setup, incoming,
                                    outgoing || !setup->sides[SIDE_OUTGOING].secret);
}

static bool authorization_asked(const Setup *setup)
{
        for (size_t i = 0; i < setup->n_needs; i++)
                if (strcmp(setup->needs[i].kind, NEED_AUTHORIZATION) == 0 &&
                    !setup->needs[i].answered)
                        return true;
        return false;
}

int setup_authorize(Setup *setup, const Dict *options, Dict *ret, const char **ret_why)
{
        static const DictKey known[] = { { KEY_FLOW, DICT_TEXT },
                                         { KEY_REDIRECT_PORT, DICT_NUMBER },
                                         { KEY_REDIRECT_HOST, DICT_TEXT } };
        int r;

        setup_touch(setup);
        if (!setup->authorization || !authorization_asked(setup))
                return SETUP_INVALID_STATE;
        r = core_check_keys(setup->core, options, known, ELEMENTS(known), ret_why);
        if (r != 0)
                return r;
        setup->n_held++;
        r = authorization_begin(setup->authorization, options, ret, ret_why);
        setup->n_held--;
        return r;
}

int setup_complete_authorization(Setup *setup, const char *redirect, const char **ret_why)
{
        setup_touch(setup);
        if (!setup->authorization || !authorization_asked(setup))
                return SETUP_INVALID_STATE;
        return authorization_complete(setup->authorization, redirect, ret_why);
}

int setup_confirm_code(Setup *setup, const char *code)
{
        setup_touch(setup);
        if (!setup->handed_over || !setup->code[0] || setup_step_passed(setup, STEP_VERIFICATION) ||
            state_final(setup->state))
                return SETUP_INVALID_STATE;
        if (strcmp(setup->code, code) != 0)
                return SETUP_INVALID_KEY;
        setup->code_confirmed = true;
        fiber_queue_wake_all(&setup->input);
        /* The search may have been given up: then the verification runs once more and finds the code confirmed. */
        return setup->state == SETUP_STATE_FAILED ? setup_run(setup, setup_work_verification) : 0;
}

int setup_retry(Setup *setup, const char *step)
{
        bool forget[N_STEPS] = {}, any = false;
        StepId id;
        int r;

        setup_touch(setup);
        if (*step && step_from_name(step, &id) < 0)
                return SETUP_NOT_FOUND;
        if (setup->handed_over) {
                if (setup->state != SETUP_STATE_FAILED || (*step && id != STEP_VERIFICATION))
                        return SETUP_INVALID_STATE;
                setup_step_forget(setup, STEP_VERIFICATION);
                setup->token[0] = setup->code[0] = 0;
                return setup_run(setup, setup_work_verification);
        }
        if (!setup_may_change(setup) || setup->state == SETUP_STATE_RUNNING)
                return SETUP_INVALID_STATE;
        for (size_t i = 0; i < N_STEPS; i++)
                if (*step ? i == id : setup->findings[i].status == STEP_FAILED) {
                        forget_from(forget, (StepId) i);
                        any = true;
                }
        if (!any)
                return SETUP_INVALID_STATE;
        r = search_quota(setup->core, setup->uid, NULL);
        return r != 0 ? r : setup_restart(setup, forget);
}

int setup_commit(Setup *setup, const Dict *options, char ret_id[ID_SIZE], const char **ret_why)
{
        Account *other;
        int r;

        setup_touch(setup);
        if (setup->state != SETUP_STATE_READY || setup->options.dry_run ||
            setup->kind != SETUP_ADD || setup->committing)
                return SETUP_INVALID_STATE;
        other = core_account_same(setup->core, setup->uid, &setup->sides[SIDE_INCOMING].endpoint);
        if (other) {
                memcpy(ret_id, other->record.id, ID_SIZE);
                return SETUP_ACCOUNT_EXISTS;
        }
        if (core_count_accounts(setup->core, setup->uid) >= setup->core->config->accounts_per_uid)
                return core_why(setup->core, ret_why, SETUP_QUOTA, "at most %u accounts",
                                (unsigned) setup->core->config->accounts_per_uid);
        r = account_read_settings(setup->core, &setup->record, options, ret_why);
        if (r != 0)
                return r;
        /* The work is the setup's own: a caller who leaves meanwhile does not leave half an account behind. */
        setup->committing = true;
        r = setup_run(setup, setup_work_handover);
        while (r == 0 && setup->committing)
                r = fiber_queue_wait(&setup->committed);
        if (r < 0)
                return r;
        memcpy(ret_id, setup->account_id, ID_SIZE);
        return setup->commit_result;
}

int setup_cancel(Setup *setup)
{
        setup_touch(setup);
        if (state_final(setup->state))
                return 0;
        if (setup->committing)
                return SETUP_INVALID_STATE;
        setup_stop(setup);
        for (size_t i = 0; i < N_STEPS; i++)
                if (setup->findings[i].status == STEP_RUNNING ||
                    setup->findings[i].status == STEP_WAITING)
                        setup_step_forget(setup, (StepId) i);
        for (size_t i = 0; i < 2; i++)
                setup->sides[i].secret = secret_unref(setup->sides[i].secret);
        setup_changed(setup, SETUP_CHANGED_NEEDS);
        setup_update_cause(setup);
        /* An account that was handed over stays: only its verification ends here. */
        setup_set_state(setup, setup->handed_over ? SETUP_STATE_SUCCEEDED : SETUP_STATE_CANCELLED);
        return 0;
}

/* --- report ---------------------------------------------------------------------------------------------------- */

static int report_dict(Buffer *to, const Dict *dict, const char *indent)
{
        int r = 0;

        for (size_t i = 0; i < dict->n_entries && r == 0; i++) {
                const DictEntry *e = &dict->entries[i];
                _cleanup_free_ char *joined = NULL;

                switch (e->type) {
                case DICT_TEXT:
                        r = buffer_printf(to, "%s%s: %s\n", indent, e->key, e->text);
                        break;
                case DICT_BOOL:
                        r = buffer_printf(to, "%s%s: %s\n", indent, e->key, e->flag ? "yes" : "no");
                        break;
                case DICT_NUMBER:
                        r = buffer_printf(to, "%s%s: %" PRIu64 "\n", indent, e->key, e->number);
                        break;
                case DICT_LIST:
                        r = list_join(&joined, e->list, "; ");
                        if (r == 0)
                                r = buffer_printf(to, "%s%s: %s\n", indent, e->key, joined);
                        break;
                case DICT_DICT:
                        r = buffer_printf(to, "%s%s:\n", indent, e->key);
                        if (r == 0)
                                r = report_dict(to, e->dict, "          ");
                        break;
                }
        }
        return r;
}

static int report_steps(Setup *setup, Buffer *to)
{
        int r = 0;

        for (size_t i = 0; i < N_STEPS && r == 0; i++) {
                const Finding *f = &setup->findings[i];

                if (f->status == STEP_PENDING)
                        continue;
                r = buffer_printf(to, "  %s: %s%s%s, %" PRIu64 " ms\n", step_name((StepId) i),
                                  step_status_name(f->status), f->cause ? ", " : "",
                                  f->cause ? f->cause : "", (f->usec + 500) / 1000);
                if (r == 0)
                        r = report_dict(to, &f->evidence, "      ");
        }
        return r;
}

/* Who learnt of the address or its domain while its servers were looked for. */
static int report_disclosed(Setup *setup, Buffer *to)
{
        _cleanup_list_ char **disclosed = NULL;
        int r;

        if (!setup->discovery)
                return 0;
        r = discovery_disclosed(setup->discovery, &disclosed);
        if (r == 0)
                r = buffer_printf(to, "\ndisclosed\n");
        for (char **line = disclosed; line && *line && r == 0; line++)
                r = buffer_printf(to, "      %s\n", *line);
        return r;
}

int setup_report(Setup *setup, char **ret)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(1024 * 1024);
        int r;

        setup_touch(setup);
        r = buffer_printf(&buffer, "waypost report\naddress: %s\nstate: %s\ncause: %s\n\nsteps\n",
                          setup->address_text, setup_state_name(setup->state),
                          setup->cause ? setup->cause : "none");
        if (r == 0)
                r = report_steps(setup, &buffer);
        if (r == 0)
                r = report_disclosed(setup, &buffer);
        for (size_t i = 0; i < setup_n_candidates(setup) && r == 0; i++) {
                r = buffer_printf(&buffer, "\ncandidate\n");
                if (r == 0)
                        r = report_dict(&buffer, setup->candidate_dicts[i], "      ");
        }
        if (r == 0)
                r = buffer_printf(&buffer, "\ndialogue\n%s", transcript_text(setup->transcript));
        return r < 0 ? r : buffer_take(&buffer, ret);
}
