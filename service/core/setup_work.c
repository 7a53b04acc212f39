/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The work of a setup: one function over remembered steps. A step whose finding stands returns at once, so that the same function serves
 * the first run, Retry, a new password and another server. Incoming and outgoing go their ways at the same time, each on a
 * fiber; they meet where the outgoing login waits for the incoming one, because both use the same secret and a wrong one
 * must not be tried twice. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/authorization.h"
#include "core/config_client.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "proto/sasl.h"

/* After so long a silence a server may have closed: the session is dialled anew before the password goes out. */
#define REDIAL_USEC (10 * USEC_PER_SEC)

bool setup_step_wanted(const Setup *setup, StepId step)
{
        return !setup->options.has_until || step <= setup->options.until;
}

static const Finding *side_finding(const SetupSide *s, StepId incoming_step)
{
        return &s->setup->findings[session_step(s->side, incoming_step)];
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

/* --- how one signs in ---------------------------------------------------------------------------------------------- */

typedef enum Way { WAY_PASSWORD, WAY_AUTHORIZATION, WAY_NONE } Way;

static bool server_takes(const SetupSide *s, bool token)
{
        const Dict *evidence = &side_finding(s, STEP_INCOMING_SERVICE)->evidence;
        char *const *methods = dict_list(evidence, KEY_METHODS);

        if (!methods)
                return !token;
        for (; *methods; methods++)
                if (sasl_takes_token(*methods) == token)
                        return true;
        return false;
}

/* The provider is known to take no password, or the server offers no way to say one. */
static bool password_is_useless(const SetupSide *s)
{
        return (s->candidate && s->candidate->oauth_only) || !server_takes(s, false);
}

/* The administrator names the server in a client's file: his users are meant to sign in by it. */
static bool host_has_client(const SetupSide *s)
{
        _cleanup_(client_config_deinit) ClientConfig config = {};

        return client_config_find(&config, s->setup->core->config->clients_directory, NULL,
                                  s->endpoint.host) == 0;
}

/* The table says which comes first. Whom it does not know, but who names an issuer himself, is asked for a password where he takes one. */
static bool authorization_is_better(const SetupSide *s)
{
        const Setup *setup = s->setup;
        const Provider *p = setup_provider(setup, s->side);
        const Account *account = core_account(setup->core, setup->account_id);

        if (setup->repair_authorization || password_is_useless(s))
                return true;
        if (setup->repair_password)
                return false;
        if (setup->kind == SETUP_REPAIR && account)
                return account_uses_grant(core_account(setup->core, setup->account_id), s->side) ||
                       account->state == ACCOUNT_STATE_NEEDS_AUTHORIZATION;
        return (p && p->methods && text_equal(p->methods[0], "oauth2")) || host_has_client(s);
}

/* No password opens this account, and there is no sign-in that we know of: nothing is asked for, and nothing is tried. */
static int nothing_opens(const SetupSide *s, Finding *finding)
{
        int r;

        finding->status = STEP_FAILED;
        finding->cause = "auth.oauth-required";
        r = dict_set_text(&finding->evidence, KEY_HOST, s->endpoint.host);
        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_USER, s->endpoint.user);
        if (r == 0 && s->candidate)
                r = dict_set_text(&finding->evidence, KEY_SOURCE,
                                  source_name(s->candidate->source));
        return r;
}

/* Once for both sides. Returns 0 with setup->authorization, 1 with @finding, negative errno. */
static int side_prepare_authorization(SetupSide *s, const char *issuer, Finding *finding)
{
        Setup *setup = s->setup;
        int r = 0;

        while (setup->preparing && r == 0)
                r = fiber_queue_wait(&setup->input);
        if (r < 0 || setup->authorization)
                return r;
        setup->preparing = true;
        r = authorization_new(&setup->authorization, setup, s->side, issuer, finding);
        setup->preparing = false;
        fiber_queue_wake_all(&setup->input);
        return r;
}

/* Returns 0 with @ret; WAY_NONE: @finding tells. Negative errno. */
static int side_way(SetupSide *s, Way *ret, Finding *finding)
{
        Setup *setup = s->setup;
        _cleanup_free_ char *issuer = NULL;
        bool useless = password_is_useless(s);
        int r;

        *ret = WAY_PASSWORD;
        if (setup_uses_grant(setup, s->side)) {
                *ret = WAY_AUTHORIZATION;
                return 0;
        }
        if ((setup_secret(setup, s->side) && !useless) || !authorization_is_better(s))
                return 0;
        r = authorization_issuer(&issuer, setup, s->side);
        if (r < 0)
                return r;
        if (!issuer) {
                *ret = useless ? WAY_NONE : WAY_PASSWORD;
                return useless ? nothing_opens(s, finding) : 0;
        }
        r = side_prepare_authorization(s, issuer, finding);
        if (r < 0)
                return r;
        *ret = r == 0 && authorization_is_for(setup->authorization, s->endpoint.host)
                       ? WAY_AUTHORIZATION
               : useless ? WAY_NONE
                         : WAY_PASSWORD;
        if (*ret == WAY_NONE && !finding->cause)
                return nothing_opens(s, finding);
        if (*ret == WAY_PASSWORD)
                finding_clear(finding);
        return 0;
}

static bool authorization_over(Setup *setup, Side side, const Need *need)
{
        const Finding *failure;
        Grant *grant;

        return setup_uses_grant(setup, side) || setup_secret(setup, side) ||
               (setup->authorization &&
                authorization_result(setup->authorization, &grant, &failure));
}

static int ask_authorization(SetupSide *s, StepId step)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        const Candidate *c = s->candidate;
        int r;

        if (!details)
                return -ENOMEM;
        r = dict_set_text(details, KEY_USER, s->endpoint.user);
        if (r == 0)
                r = need_hosts(s, details);
        if (r == 0)
                r = dict_set_text(details, KEY_SECRET_KIND, "authorization");
        if (r == 0)
                r = authorization_describe(s->setup->authorization, details);
        if (r == 0 && !password_is_useless(s))
                r = dict_set_text(details, KEY_ALTERNATIVE,
                                  setup_wants_app_password(s->setup, s->side) ? "app-password"
                                                                              : "password");
        if (r == 0 && c)
                r = dict_set_text(details, KEY_PROVIDER, c->provider);
        return r < 0 ? r
                     : setup_ask(s->setup, step, NEED_AUTHORIZATION, s->side, details, NULL,
                                 authorization_over);
}

/* Takes over what the sign-in came to. Returns 0 go on, 1 @finding tells why not, negative errno. */
static int side_take_authorization(SetupSide *s, Finding *finding)
{
        Setup *setup = s->setup;
        const Finding *failure = NULL;
        Dict *evidence = NULL;
        Grant *grant = NULL;
        int r;

        if (setup_uses_grant(setup, s->side) || setup_secret(setup, s->side) ||
            authorization_result(setup->authorization, &grant, &failure) == 0)
                return 0;
        if (grant) {
                grant_unref(setup->grant);
                setup->grant = grant_ref(grant);
                return 0;
        }
        r = dict_copy(&evidence, &failure->evidence);
        if (r < 0)
                return r;
        finding_clear(finding);
        *finding = (Finding){ STEP_FAILED, failure->cause, 0, *evidence };
        free(evidence);
        authorization_forget(setup->authorization);
        return 1;
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

/* Asks for what opens the server. Returns 0 when it is there, 1 when nothing will (@finding tells), negative errno. */
static int side_ask(SetupSide *s, StepId step, Finding *finding)
{
        Way way;
        int r;

        if (s->trust == TRUST_NONE && !s->approved) {
                r = ask_server_approval(s, step, NULL);
                if (r < 0)
                        return r;
        }
        r = side_way(s, &way, finding);
        if (r < 0 || way == WAY_NONE)
                return r < 0 ? r : 1;
        if (way == WAY_PASSWORD)
                return ask_password(s, step);
        r = ask_authorization(s, step);
        return r < 0 ? r : side_take_authorization(s, finding);
}

/* What was granted does not open the server: the next try begins in the browser again. */
static void side_drop_grant(SetupSide *s, const Finding *finding)
{
        Setup *setup = s->setup;

        if (finding->status != STEP_FAILED || !text_starts_nocase(finding->cause, "oauth.") ||
            text_equal(finding->cause, "oauth.temporarily-unavailable") ||
            setup->kind == SETUP_CHECK)
                return;
        setup->grant = grant_unref(setup->grant);
        if (setup->authorization)
                authorization_forget(setup->authorization);
}

static int side_sign_in(SetupSide *s, Finding *finding)
{
        Setup *setup = s->setup;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        int r;

        if (setup_uses_grant(setup, s->side)) {
                r = grant_sign_in(setup->grant, &s->session, finding);
                if (r == 0)
                        side_drop_grant(s, finding);
                return r;
        }
        s->session.token = false;
        secret = secret_ref(setup_secret(setup, s->side));
        return core_sign_in(setup->core, setup->uid, &s->session, secret, finding);
}

static int side_login(SetupSide *s)
{
        Setup *setup = s->setup;
        StepId step = session_step(s->side, STEP_INCOMING_LOGIN);
        _cleanup_finding_ Finding finding = {};
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
        r = side_ask(s, step, &finding);
        if (r == 1) {
                setup_step_end(setup, step, &finding);
                fiber_queue_wake_all(&setup->input);
                return 0;
        }
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
        r = side_sign_in(s, &finding);
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

static bool sides_reached(const Setup *setup)
{
        for (size_t i = 0; i < 2; i++)
                if (setup->sides[i].wanted && !side_reached(&setup->sides[i]))
                        return false;
        return true;
}

static int side_work_steps(SetupSide *s)
{
        StepId service = session_step(s->side, STEP_INCOMING_SERVICE),
               login = session_step(s->side, STEP_INCOMING_LOGIN);
        StepId last = session_step(s->side, STEP_INCOMING_MAILBOX);
        int r;

        r = side_reach(s);
        /* Other servers can no longer matter. */
        if (r == 0 && sides_reached(s->setup))
                setup_search_end(s->setup);
        if (r < 0 || !setup_step_passed(s->setup, service) || !setup_step_wanted(s->setup, login))
                return r;
        r = side_login(s);
        if (r < 0 || !setup_step_passed(s->setup, login) || !setup_step_wanted(s->setup, last))
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

int side_start(SetupSide *s)
{
        s->probing = false;
        return fiber_start(&s->fiber, side_name(s->side), side_work, s);
}

static int sides_start(Setup *setup)
{
        int r = 0;

        for (size_t i = 0; i < 2 && r == 0; i++) {
                SetupSide *s = &setup->sides[i];

                side_begin(s);
                if (s->wanted && setup_step_wanted(setup, session_step(s->side, STEP_INCOMING_DNS)))
                        r = side_start(s);
        }
        return r;
}

static int sides_join(Setup *setup)
{
        int r = 0, result;

        for (size_t i = 0; i < 2 && r == 0; i++)
                if (setup->sides[i].fiber) {
                        r = fiber_join(&setup->sides[i].fiber, &result);
                        r = r < 0 ? r : result;
                }
        return r;
}

/* All that this work has started. */
static void work_end(Setup **setup)
{
        for (size_t i = 0; i < 2; i++)
                (*setup)->sides[i].fiber = fiber_cancel((*setup)->sides[i].fiber);
        setup_search_end(*setup);
}

static void skip_unwanted(Setup *setup)
{
        for (size_t i = STEP_DISCOVERY; i < N_STEPS; i++) {
                StepId step = (StepId) i;
                bool incoming = step >= STEP_INCOMING_DNS && step <= STEP_INCOMING_MAILBOX;
                bool outgoing = step >= STEP_OUTGOING_DNS && step <= STEP_OUTGOING_SENDER;

                if (!setup_step_wanted(setup, step) ||
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

/* What was accepted takes the place of what the account had. */
static bool setup_replaces(const Setup *setup)
{
        return setup->kind == SETUP_PASSWORD || setup->kind == SETUP_REPAIR;
}

static int password_accepted(Setup *setup)
{
        Account *account = core_account(setup->core, setup->account_id);
        Secret *outgoing = setup->sides[SIDE_OUTGOING].secret;
        int r;

        if (!account)
                return -ENOENT;
        if (setup_uses_grant(setup, SIDE_INCOMING)) {
                r = account_store_grant(account, setup->grant, !account->record.same_secret);
        } else {
                if (setup->sides[SIDE_OUTGOING].wanted || setup->kind == SETUP_PASSWORD)
                        account->record.same_secret = setup_same_secret(setup);
                r = account_store_secrets(account, setup->sides[SIDE_INCOMING].secret,
                                          account->record.same_secret ? NULL : outgoing);
        }
        if (r < 0)
                return r;
        account = core_account(setup->core, setup->account_id);
        return account ? account_resume(account) : -ENOENT;
}

/* A key that was approved on the way is the account's from now on, for another year. */
static int approvals_accepted(Setup *setup)
{
        Account *account = core_account(setup->core, setup->account_id);
        int r = 0;

        for (size_t i = 0; i < 2 && account && r == 0; i++) {
                const Endpoint *from = &setup->sides[i].endpoint;
                Endpoint *to = i == SIDE_INCOMING ? &account->record.incoming
                                                  : &account->record.outgoing;

                if (!setup->sides[i].wanted || !from->approved_spki || from->approved_until_usec)
                        continue;
                r = text_set(&to->approved_spki, from->approved_spki);
                to->approved_until_usec = clock_real() + APPROVAL_USEC;
        }
        return r;
}

/* What the servers have shown is news for the account that it is about. */
int setup_note_certificates(Setup *setup)
{
        Account *account = core_account(setup->core, setup->account_id);
        int r = 0;

        for (size_t i = 0; i < 2 && account && r == 0; i++) {
                StepId step = session_step((Side) i, STEP_INCOMING_TLS);
                const Dict *evidence = &setup->findings[step].evidence;
                CertificateSeen seen = { dict_text(evidence, KEY_SPKI),
                                         dict_number(evidence, KEY_NOT_AFTER, 0),
                                         dict_bool(evidence, KEY_APPROVED, false) };

                if (!setup->sides[i].wanted || !setup_step_passed(setup, step))
                        continue;
                r = account_note_certificate(account, (Side) i, &seen);
                account = core_account(setup->core,
                                       setup->account_id); /* it may have gone meanwhile */
        }
        return r == -ENOENT ? 0 : r;
}

static int work_steps(Setup *setup)
{
        _cleanup_(work_end) _unused_ Setup *cleanup = setup;
        int r;

        skip_unwanted(setup);
        r = work_address(setup);
        if (r == 0)
                r = discovery_begin(setup);
        if (r == 0)
                r = sides_start(setup);
        if (r == 0)
                r = work_discovery(setup);
        if (r < 0 || !setup_step_stands(setup, STEP_DISCOVERY))
                return r;
        r = sides_watch(setup);
        if (r == 0)
                r = sides_join(setup);
        if (r == 0 && setup_replaces(setup) && all_stand(setup))
                r = approvals_accepted(setup);
        if (r == 0 && setup->kind != SETUP_ADD)
                r = setup_note_certificates(setup);
        if (r == 0 && setup_replaces(setup) && all_stand(setup))
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
        setup_set_state(setup, r < 0 || !all_stand(setup) ? SETUP_STATE_FAILED
                               : setup_replaces(setup)    ? SETUP_STATE_SUCCEEDED
                                                          : SETUP_STATE_READY);
        return r;
}
