/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Handover, and the proof that mail flows: one mail through the account's own submission server to itself, found again through its own
 * incoming side. Nothing is sent before the account has been handed over, so that a setup that was cancelled leaves nothing behind,
 * not even a mail. The account's first fetch may come across the mail before we do: then it tells. */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/grant.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "probe/newest.h"
#include "proto/verification.h"

enum { EXAMINED_MAX = 4096 };

#define LOOK_GAP_USEC (200 * USEC_PER_MSEC) /* before the first look; doubles */
#define LOOK_GAP_MAXIMUM_USEC (15 * USEC_PER_SEC)
#define CODE_AFTER_USEC (15 * USEC_PER_SEC) /* from then on the user may type the code */

/* --- handover ------------------------------------------------------------------------------------------------------ */

static int record_fill(Setup *setup)
{
        AccountRecord *record = &setup->record;
        int r;

        record->uid = setup->uid;
        record->created_usec = record->since_usec = clock_real();
        record->same_secret = setup_same_secret(setup);
        r = random_hex(record->id, ID_LEN);
        if (r == 0)
                r = owner_name(record->uid, &record->user_name);
        if (r == 0)
                r = text_set(&record->address, setup->address->address);
        if (r == 0)
                r = endpoint_copy(&record->incoming, &setup->sides[SIDE_INCOMING].endpoint);
        if (r == 0 && setup->sides[SIDE_OUTGOING].wanted)
                r = endpoint_copy(&record->outgoing, &setup->sides[SIDE_OUTGOING].endpoint);
        /* What was approved holds for a year, not for ever. */
        record->incoming.approved_until_usec = record->outgoing.approved_until_usec =
                record->created_usec + APPROVAL_USEC;
        free(record->location);
        record->location = NULL;
        if (r == 0)
                r = text_format(&record->location, "%s/mail/%u/%s",
                                setup->core->config->state_directory, (unsigned) record->uid,
                                record->id);
        return r;
}

typedef struct Seals {
        Buffer incoming, outgoing, grant;
} Seals;

static void seals_deinit(Seals *seals)
{
        buffer_deinit(&seals->incoming);
        buffer_deinit(&seals->outgoing);
        buffer_deinit(&seals->grant);
}

static int seal_secret(Setup *setup, const char *field, const Secret *secret, Buffer *to)
{
        return secret ? vault_seal(setup->core->vault, setup->record.id, field, secret, to) : 0;
}

/* A grant that no side uses is not kept. */
static int handover_seal(Setup *setup, Seals *seals)
{
        _cleanup_(secret_unrefp) Secret *grant = NULL;
        int r = 0;

        if (setup->grant && !setup_uses_grant(setup, SIDE_INCOMING) &&
            !setup_uses_grant(setup, SIDE_OUTGOING)) {
                grant_revoke_unref(TAKE(setup->grant));
        } else if (setup->grant) {
                r = grant_write(setup->grant, &grant);
                if (r == 0)
                        r = seal_secret(setup, "grant", grant, &seals->grant);
        }
        if (r == 0)
                r = seal_secret(setup, "incoming", setup->sides[SIDE_INCOMING].secret,
                                &seals->incoming);
        if (r == 0 && !setup->record.same_secret)
                r = seal_secret(setup, "outgoing", setup->sides[SIDE_OUTGOING].secret,
                                &seals->outgoing);
        return r;
}

/* Account and secrets in one transaction: there is no half of it. */
static int handover_store(Setup *setup)
{
        _cleanup_(seals_deinit) Seals seals = { BUFFER(2 * LIMIT_TOKEN), BUFFER(2 * LIMIT_TOKEN),
                                                BUFFER(4 * LIMIT_TOKEN) };
        int r;

        r = handover_seal(setup, &seals);
        if (r < 0)
                return r;
        return store_account_insert(setup->core->store, &setup->record,
                                    &(SealedSecrets){ .incoming = seals.incoming.data,
                                                      .outgoing = seals.outgoing.data,
                                                      .grant = seals.grant.data,
                                                      .incoming_len = seals.incoming.len,
                                                      .outgoing_len = seals.outgoing.len,
                                                      .grant_len = seals.grant.len });
}

/* The Maildir is made after the account stands: a crash in between leaves an account whose first fetch makes it. */
static int handover_maildir(Setup *setup, Finding *finding)
{
        _cleanup_(maildir_freep) Maildir *maildir = NULL;
        int r;

        r = maildir_open(&maildir, setup->record.location, setup->record.uid);
        if (r >= 0)
                return 0;
        log_fault(r, "making the Maildir of %s", setup->record.address);
        finding->status = STEP_FAILED;
        finding->cause = judge_delivery_fault(r);
        (void) dict_set_text(&finding->evidence, KEY_ERROR, strerrordesc_np(-r));
        (void) store_account_delete(setup->core->store, setup->record.id);
        return r;
}

static int handover_account(Setup *setup, Finding *finding)
{
        _cleanup_(account_freep) Account *account = NULL;
        int r;

        r = account_new(&account, setup->core, &setup->record);
        if (r < 0)
                return r;
        if (setup->grant) {
                grant_set_account(setup->grant, setup->record.id);
                account->grant = grant_ref(setup->grant);
        }
        r = core_add_account(setup->core, account);
        if (r < 0)
                return r;
        memcpy(setup->account_id, setup->record.id, ID_SIZE);
        /* The verification looks into the maildrop first; a fetch that is asked for comes at once all the same. */
        scheduler_plan(setup->core->scheduler, TAKE(account),
                       setup->sides[SIDE_OUTGOING].wanted ? clock_now() + CODE_AFTER_USEC
                                                          : clock_now());
        finding->status = STEP_PASSED;
        r = dict_set_text(&finding->evidence, KEY_ACCOUNT, setup->record.id);
        return r < 0 ? r : dict_set_text(&finding->evidence, KEY_LOCATION, setup->record.location);
}

/* Returns 0, SETUP_ACCOUNT_EXISTS, negative errno (@finding tells when it failed). */
static int handover(Setup *setup, Finding *finding)
{
        int r;

        r = record_fill(setup);
        if (r == 0)
                r = handover_store(setup);
        if (r == -EEXIST)
                return SETUP_ACCOUNT_EXISTS;
        if (r == 0)
                r = handover_maildir(setup, finding);
        if (r == 0)
                r = handover_account(setup, finding);
        if (r == 0)
                r = setup_note_certificates(setup);
        if (r < 0 && finding->status != STEP_FAILED) {
                finding->status = STEP_FAILED;
                finding->cause = judge_delivery_fault(r);
                (void) dict_set_text(&finding->evidence, KEY_ERROR, strerrordesc_np(-r));
        }
        return r;
}

/* --- sending ------------------------------------------------------------------------------------------------------- */

typedef struct Verification {
        Setup *setup;
        VerificationMail mail;
        uint64_t accepted_usec;
        uint64_t n_looks;
        char *reply;     /* the submission server's words */
        char **examined; /* identities that are known not to be ours */
        VerificationMatch match;
        const char *last_cause; /* of a look that failed */
} Verification;

static void verification_free_parts(Verification *v)
{
        verification_deinit(&v->mail);
        free(v->reply);
        list_free(v->examined);
}

static int verification_prepare(Verification *v)
{
        Setup *setup = v->setup;
        uint8_t random[16];
        int r;

        r = random_bytes(random, sizeof(random));
        if (r == 0)
                r = verification_format(&v->mail, setup->address->address, random,
                                        random_below(UINT64_MAX), clock_real());
        if (r < 0)
                return r;
        memcpy(setup->token, v->mail.token, sizeof(setup->token));
        memcpy(setup->code, v->mail.code, sizeof(setup->code));
        setup->code_confirmed = false;
        return 0;
}

/* Dials and signs in for one side. Returns 1 when signed in, 0 when not (@finding tells), negative errno. */
static int verification_sign_in(Setup *setup, Session *session, Finding *finding)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        int r;

        if (setup_uses_grant(setup, session->side)) {
                r = grant_open_and_sign_in(setup->grant, session, finding);
                return r < 0 ? r : finding->status != STEP_FAILED;
        }
        secret = secret_ref(setup_secret(setup, session->side));
        r = core_open_and_sign_in(setup->core, setup->uid, session, secret, finding);
        return r < 0 ? r : finding->status != STEP_FAILED;
}

static Session verification_session(Setup *setup, Side side)
{
        return (Session){ .side = side,
                          .endpoint = &setup->sides[side].endpoint,
                          .dns = setup->core->dns,
                          .tls = setup->core->tls,
                          .policy = core_policy(setup->core, setup->sides[side].approved),
                          .transcript = setup->transcript };
}

/* Returns 1 when it was taken (or may have been), 0 when not (@finding tells), negative errno. */
static int verification_send(Verification *v, Finding *finding)
{
        Setup *setup = v->setup;
        _cleanup_session_ Session session = verification_session(setup, SIDE_OUTGOING);
        const char *address = setup->address->address;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = verification_sign_in(setup, &session, finding);
        if (r <= 0)
                return r;
        finding_clear(finding);
        r = smtp_send(session.smtp, address, address, v->mail.message, v->mail.len, &v->reply, &no);
        v->accepted_usec = clock_now();
        if (r < 0)
                return r;
        /* RFC 5321 section 4.5.3.2.6: no reply to the final dot means unknown. It may well arrive. */
        if (r > 0 && (no.phase != PHASE_DATA_END || no.kind == OUTCOME_REPLY)) {
                JudgeContext context = { .endpoint = session.endpoint,
                                         .tls = true,
                                         .logged_in = true };

                r = finding_fail(finding, &no, &context);
                return r < 0 ? r : 0;
        }
        session_quit(&session);
        return 1;
}

/* --- looking ------------------------------------------------------------------------------------------------------- */

typedef struct Look {
        Verification *v;
        VerificationMatch match;
        uint32_t handle; /* of what matched */
} Look;

static bool look_wanted(void *userdata, const char *identity)
{
        return !list_contains_nocase(((Look *) userdata)->v->examined, identity);
}

static int look_at(void *userdata, const char *identity, uint32_t handle, const char *head,
                   size_t len)
{
        Look *look = userdata;
        VerificationMatch match = verification_match(head, len, look->v->mail.token);

        if (match != VERIFICATION_NO && look->match != VERIFICATION_OURS) {
                look->match = match;
                look->handle = handle;
        }
        if (match == VERIFICATION_NO && *identity)
                return list_append(&look->v->examined, identity, EXAMINED_MAX) == -ENOMEM ? -ENOMEM
                                                                                          : 0;
        return 0;
}

/* Only what carries our token, and only when it was agreed to. */
static int look_delete(Look *look, Session *session, Finding *finding)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        if (!look->v->setup->options.delete_verification || look->match != VERIFICATION_OURS)
                return 0;
        r = newest_delete(session, look->handle, &no);
        return r == 0 ? dict_set_bool(&finding->evidence, KEY_DELETED, true) : MIN(r, 0);
}

static int look_session(Verification *v, Finding *finding)
{
        Setup *setup = v->setup;
        _cleanup_session_ Session session = verification_session(setup, SIDE_INCOMING);
        _cleanup_finding_ Finding unseen = {};
        _cleanup_outcome_ Outcome no = {};
        Look look = { .v = v };
        const Newest newest = { look_wanted, look_at, &look };
        int r;

        r = verification_sign_in(setup, &session, &unseen);
        if (r == 0)
                v->last_cause = unseen.cause;
        if (r <= 0)
                return r;
        r = newest_read(&session, setup->options.delete_verification, &newest, &no);
        v->n_looks++;
        v->match = look.match;
        if (r == 0)
                r = look_delete(&look, &session, finding);
        if (r > 0) {
                JudgeContext context = { .endpoint = session.endpoint,
                                         .tls = true,
                                         .logged_in = true };

                v->last_cause = judge_outcome(&no, &context);
        }
        session_quit(&session);
        return r < 0 ? r : 0;
}

/* One look, alone in the maildrop. */
static int look_once(Verification *v, Finding *finding)
{
        Account *account = core_account(v->setup->core, v->setup->account_id);
        int r;

        if (!account)
                return -ENOENT;
        FIBER_DEADLINE(2 * USEC_PER_MINUTE);
        r = account_take_maildrop(account);
        if (r < 0)
                return r == -ETIME ? 0 : r;
        r = look_session(v, finding);
        account = core_account(v->setup->core, v->setup->account_id);
        if (account) {
                account->last_login_usec = clock_now();
                account_give_maildrop(account);
        }
        return r == -ETIME ? 0 : r;
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */

/* Did somebody else find it: the user with the code, or a fetch? */
static bool verification_told(Verification *v, Finding *finding)
{
        Account *account = core_account(v->setup->core, v->setup->account_id);

        if (v->setup->code_confirmed) {
                v->match = VERIFICATION_OURS;
                (void) dict_set_text(&finding->evidence, KEY_FOUND, "code");
        } else if (account && account->verify_match != VERIFICATION_NO)
                v->match = account->verify_match;
        return v->match != VERIFICATION_NO;
}

static int verification_wait(Verification *v, uint64_t usec, Finding *finding)
{
        uint64_t due = clock_now() + usec;
        int r = 0;

        while (!verification_told(v, finding) && clock_now() < due && r == 0) {
                FIBER_DEADLINE(due - clock_now());
                r = fiber_queue_wait(&v->setup->input);
                if (r == -ETIME && clock_now() >= due)
                        return 0;
        }
        return r;
}

static int verification_show_need(Verification *v)
{
        _cleanup_(dict_freep) Dict *details = dict_new();
        int r;

        if (!details)
                return -ENOMEM;
        r = dict_set_text(details, KEY_ADDRESS, v->setup->address->address);
        return r < 0 ? r
                     : setup_need_show(v->setup, NEED_VERIFICATION_CODE, SIDE_INCOMING, details);
}

static int verification_search(Verification *v, Finding *finding)
{
        const Account *account = core_account(v->setup->core, v->setup->account_id);
        uint64_t begun = clock_now(),
                 end = begun + v->setup->core->config->verification_timeout_usec;
        uint64_t gap = LOOK_GAP_USEC, minimum = account ? account->record.poll_minimum_usec : 0;
        bool shown = false;
        int r = 0;

        while (r == 0 && v->match == VERIFICATION_NO && clock_now() < end) {
                r = verification_wait(v, MIN(MAX(gap, minimum), end - clock_now()), finding);
                if (r < 0 || v->match != VERIFICATION_NO)
                        break;
                r = look_once(v, finding);
                gap = MIN(2 * gap, LOOK_GAP_MAXIMUM_USEC);
                if (r == 0 && !shown && v->match == VERIFICATION_NO &&
                    clock_now() - begun > CODE_AFTER_USEC) {
                        r = verification_show_need(v);
                        shown = true;
                        setup_step_say(v->setup, STEP_VERIFICATION, "verification.delayed");
                }
        }
        if (shown && r != -ECANCELED)
                setup_need_hide(v->setup, NEED_VERIFICATION_CODE, SIDE_INCOMING);
        return r;
}

static int verification_conclude(Verification *v, Finding *finding)
{
        int r;

        r = dict_set_text(&finding->evidence, KEY_REPLY, v->reply);
        switch (v->match) {
        case VERIFICATION_OURS:
                finding->status = STEP_PASSED;
                finding->cause = NULL;
                if (r == 0)
                        r = dict_set_number(&finding->evidence, KEY_TRAVEL_USEC,
                                            clock_now() - v->accepted_usec);
                if (r == 0 && !dict_text(&finding->evidence, KEY_FOUND))
                        r = dict_set_text(&finding->evidence, KEY_FOUND, "server");
                break;
        case VERIFICATION_BOUNCE:
                finding->status = STEP_FAILED;
                finding->cause = "verification.bounced";
                break;
        case VERIFICATION_NO:
                finding->status = STEP_FAILED;
                finding->cause = "verification.not-arrived";
                if (r == 0 && v->last_cause)
                        r = dict_set_text(&finding->evidence, KEY_REASON, v->last_cause);
                break;
        }
        return r;
}

static int verification_note_success(Setup *setup)
{
        Account *account = core_account(setup->core, setup->account_id);

        if (!account)
                return 0;
        account->record.can_send = true;
        account_changed(account, ACCOUNT_CHANGED_CAN_SEND);
        return store_account_update(setup->core->store, &account->record);
}

static void verification_announce(Setup *setup, bool on)
{
        Account *account = core_account(setup->core, setup->account_id);

        if (!account)
                return;
        memcpy(account->verify_token, on ? setup->token : "",
               on ? sizeof(account->verify_token) : 1);
        account->verify_match = VERIFICATION_NO;
        account->verify_queue = on ? &setup->input : NULL;
}

static int verification_steps(Verification *v, Finding *finding)
{
        int r;

        r = verification_prepare(v);
        if (r < 0)
                return r;
        verification_announce(v->setup, true);
        r = verification_send(v, finding);
        if (r <= 0)
                return r;
        finding_clear(finding);
        r = verification_search(v, finding);
        return r < 0 ? r : verification_conclude(v, finding);
}

static int work_verification(Setup *setup)
{
        Verification v = { .setup = setup };
        _cleanup_finding_ Finding finding = {};
        int r = 0;

        setup_step_begin(setup, STEP_VERIFICATION);
        if (setup->code_confirmed) {
                v.match = VERIFICATION_OURS;
                v.accepted_usec = clock_now();
                finding.status = STEP_PASSED;
                r = dict_set_text(&finding.evidence, KEY_FOUND, "code");
        } else
                r = verification_steps(&v, &finding);
        verification_announce(setup, false);
        if (r == 0) {
                bool passed = finding.status == STEP_PASSED;

                setup_step_end(setup, STEP_VERIFICATION, &finding);
                r = passed ? verification_note_success(setup) : 0;
        }
        verification_free_parts(&v);
        return r;
}

/* The looks were logins, but no fetch: what waits in the maildrop is fetched now, as after any other handover. */
static void verification_plan_fetch(Account *account)
{
        Scheduler *scheduler = account->core->scheduler;
        bool works = account->state == ACCOUNT_STATE_ACTIVE ||
                     account->state == ACCOUNT_STATE_FAILING;

        if (works && !account->fiber && account->record.last_success_usec == 0 &&
            account->record.failures == 0)
                scheduler_now(scheduler, account);
        else
                scheduler_plan(scheduler, account, clock_now());
}

int setup_work_verification(void *arg)
{
        Setup *setup = arg;
        Account *account;
        int r;

        r = work_verification(setup);
        if (r == -ECANCELED) {
                verification_announce(setup, false);
                return r;
        }
        if (r < 0) {
                _cleanup_finding_ Finding finding = { .status = STEP_FAILED,
                                                      .cause = "verification.not-arrived" };

                log_fault(r, "verification mail of %s", setup->address_text);
                setup_step_end(setup, STEP_VERIFICATION, &finding);
        }
        account = core_account(setup->core, setup->account_id);
        if (account)
                verification_plan_fetch(account);
        setup_update_cause(setup);
        setup_set_state(setup, setup_step_stands(setup, STEP_VERIFICATION) ? SETUP_STATE_SUCCEEDED
                                                                           : SETUP_STATE_FAILED);
        return r;
}

/* --- commit -------------------------------------------------------------------------------------------------------- */

int setup_work_handover(void *arg)
{
        Setup *setup = arg;
        _cleanup_finding_ Finding finding = {};
        int r;

        setup_step_begin(setup, STEP_HANDOVER);
        r = handover(setup, &finding);
        if (r == -ECANCELED)
                return r;
        setup->commit_result = r;
        if (r == SETUP_ACCOUNT_EXISTS)
                setup_step_forget(setup, STEP_HANDOVER);
        else
                setup_step_end(setup, STEP_HANDOVER, &finding);
        setup->handed_over = r == 0;
        if (r == 0)
                setup_account_changed(setup);
        setup->committing = false;
        fiber_queue_wake_all(&setup->committed);
        if (r != 0) {
                setup_set_state(setup, r > 0 ? SETUP_STATE_READY : SETUP_STATE_FAILED);
                return r;
        }
        if (setup_step_stands(setup, STEP_VERIFICATION)) {
                setup_set_state(setup, SETUP_STATE_SUCCEEDED);
                return 0;
        }
        return setup_work_verification(setup);
}
