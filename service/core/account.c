/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See account.h. State follows from Cause by one table, here; nothing else sets it. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/grant.h"
#include "core/push.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/cause.h"

/* A temporary trouble that comes back within this time after it went is the same one. */
#define RELAPSE_USEC (15 * USEC_PER_MINUTE)

Account *account_free(Account *account)
{
        if (!account)
                return NULL;
        account->fiber = fiber_cancel(account->fiber);
        if (account->core)
                push_drop(account->core->push, account);
        grant_unref(account->grant);
        secret_unref(account->doubted);
        account_record_deinit(&account->record);
        run_record_deinit(&account->run_record);
        dict_clear(&account->run);
        list_free(account->warnings);
        for (size_t i = 0; i < 2; i++)
                certificate_record_deinit(&account->certificates[i]);
        free(account);
        return NULL;
}

int account_new(Account **ret, Core *core, const AccountRecord *record)
{
        _cleanup_(account_freep) Account *account = calloc(1, sizeof(*account));
        int r;

        if (!account)
                return -ENOMEM;
        account->core = core;
        r = account_record_copy(&account->record, record);
        if (r < 0)
                return r;
        account->next_run_id = store_next_run(core->store);
        account->state = account->record.paused ? ACCOUNT_STATE_PAUSED
                                                : account_state_of_cause(account->record.cause);
        *ret = TAKE(account);
        return 0;
}

void account_changed(Account *account, unsigned what)
{
        const Observer *o = &account->core->observer;

        if (o->account_changed && !account->removing)
                o->account_changed(o->userdata, account, what);
}

/* --- state --------------------------------------------------------------------------------------------------------- */

/* What is temporary is never asked of the owner; what the table does not have is for somebody else to mend. Longest prefix first where one is
 * part of another. */
static const struct {
        const char *prefix;
        AccountState state;
} state_table[] = {
        { "auth.oauth-required", ACCOUNT_STATE_NEEDS_AUTHORIZATION },
        { "auth.bad-credentials", ACCOUNT_STATE_NEEDS_PASSWORD },
        { "auth.username-format", ACCOUNT_STATE_NEEDS_PASSWORD },
        { "auth.app-password-required", ACCOUNT_STATE_NEEDS_PASSWORD },
        { "auth.password-", ACCOUNT_STATE_NEEDS_PASSWORD },
        { "local.secret-unavailable", ACCOUNT_STATE_NEEDS_PASSWORD },
        { "oauth.temporarily-unavailable", ACCOUNT_STATE_FAILING },
        { "oauth.access-token-expired", ACCOUNT_STATE_FAILING },
        { "oauth.client-misconfigured", ACCOUNT_STATE_BLOCKED },
        { "oauth.no-client", ACCOUNT_STATE_BLOCKED },
        { "oauth.scope-invalid", ACCOUNT_STATE_BLOCKED },
        { "oauth.admin-approval-required", ACCOUNT_STATE_BLOCKED },
        { "oauth.", ACCOUNT_STATE_NEEDS_AUTHORIZATION },
        { "tls.cert-self-signed", ACCOUNT_STATE_NEEDS_APPROVAL },
        { "tls.cert-untrusted-ca", ACCOUNT_STATE_NEEDS_APPROVAL },
        /* The owner can mend it, elsewhere; nothing in the account has to change, and it goes on by itself. */
        { "net.", ACCOUNT_STATE_FAILING },
        { "dns.", ACCOUNT_STATE_FAILING },
        { "local.clock-wrong", ACCOUNT_STATE_FAILING },
};

AccountState account_state_of_cause(const char *cause)
{
        const Cause *known = cause_find(cause);

        if (!cause)
                return ACCOUNT_STATE_ACTIVE;
        if (known && known->class == CAUSE_TEMPORARY)
                return ACCOUNT_STATE_FAILING;
        for (size_t i = 0; i < ELEMENTS(state_table); i++)
                if (text_starts_nocase(cause, state_table[i].prefix))
                        return state_table[i].state;
        return ACCOUNT_STATE_BLOCKED;
}

const char *account_state_name(AccountState state)
{
        switch (state) {
        case ACCOUNT_STATE_ACTIVE:
                return ACCOUNT_ACTIVE;
        case ACCOUNT_STATE_FAILING:
                return ACCOUNT_FAILING;
        case ACCOUNT_STATE_NEEDS_PASSWORD:
                return ACCOUNT_NEEDS_PASSWORD;
        case ACCOUNT_STATE_NEEDS_AUTHORIZATION:
                return ACCOUNT_NEEDS_AUTHORIZATION;
        case ACCOUNT_STATE_NEEDS_APPROVAL:
                return ACCOUNT_NEEDS_APPROVAL;
        case ACCOUNT_STATE_BLOCKED:
                return ACCOUNT_BLOCKED;
        case ACCOUNT_STATE_PAUSED:
                return ACCOUNT_PAUSED;
        }
        return ACCOUNT_BLOCKED;
}

/* One trouble has one Since, one alert and one recovery. It stays the same while temporary causes take turns, and when it comes back
 * soon after it went. Returns whether @cause begins another one. */
static bool trouble_is_new(Account *account, const char *cause, AccountState state)
{
        AccountRecord *record = &account->record;
        uint64_t now = clock_real();

        if (record->cause) {
                if (!cause) {
                        account->past = (Trouble){ account_state_of_cause(record->cause),
                                                   record->since_usec, now };
                        record->since_usec = now;
                        return false;
                }
                if (state == ACCOUNT_STATE_FAILING &&
                    account_state_of_cause(record->cause) == ACCOUNT_STATE_FAILING)
                        return false;
        } else if (cause && state == ACCOUNT_STATE_FAILING && account->past.since_usec &&
                   account->past.state == state && now - account->past.ended_usec < RELAPSE_USEC) {
                record->since_usec = account->past.since_usec;
                account->relapsed = true;
                return false;
        }
        record->since_usec = now;
        account->relapsed = false;
        return cause != NULL;
}

bool account_set_cause(Account *account, const char *cause)
{
        AccountRecord *record = &account->record;
        AccountState of_cause = account_state_of_cause(cause);
        AccountState state = record->paused ? ACCOUNT_STATE_PAUSED : of_cause;
        bool new = false, over;

        if (text_equal(record->cause, cause) && state == account->state)
                return false;
        over = record->cause && !cause && !account->relapsed;
        if (!text_equal(record->cause, cause)) {
                new = trouble_is_new(account, cause, of_cause);
                if (text_set(&record->cause, cause) < 0)
                        return false;
        }
        account->state = state;
        log_write(new                                     ? LOG_WARNING
                  : over || state == ACCOUNT_STATE_PAUSED ? LOG_NOTICE
                                                          : LOG_INFO,
                  (LogField[]){ { "WAYPOST_ACCOUNT", record->id }, { "WAYPOST_CAUSE", cause }, {} },
                  "%s is %s%s%s", record->address, account_state_name(state), cause ? ": " : "",
                  cause ? cause : "");
        account_changed(account, ACCOUNT_CHANGED_STATE);
        return true;
}

static int causes_split(char ***ret, const char *causes)
{
        _cleanup_list_ char **list = NULL;

        while (causes && *causes) {
                _cleanup_free_ char *cause = NULL;
                size_t len = strcspn(causes, " ");

                if (text_set_n(&cause, causes, len) < 0 || list_append(&list, cause, 16) < 0)
                        return -ENOMEM;
                causes += len + strspn(causes + len, " ");
        }
        *ret = TAKE(list);
        return 0;
}

void account_set_warnings(Account *account, const char *causes)
{
        _cleanup_list_ char **list = NULL;
        _cleanup_free_ char *before = NULL, *now = NULL;

        if (causes_split(&list, causes) < 0 || account_certificate_warnings(account, &list) < 0 ||
            list_join(&before, account->warnings, " ") < 0 || list_join(&now, list, " ") < 0)
                return;
        if (text_equal(before, now))
                return;
        list_free(account->warnings);
        account->warnings = TAKE(list);
        account_changed(account, ACCOUNT_CHANGED_WARNINGS);
}

/* --- reading ------------------------------------------------------------------------------------------------------- */

const AccountRecord *account_record(const Account *account)
{
        return &account->record;
}

AccountState account_state(const Account *account)
{
        return account->state;
}

uint64_t account_next_run_usec(const Account *account)
{
        uint64_t now = clock_now(), real = clock_real();

        if (account->waiting)
                return real;
        if (!account->due.index)
                return 0;
        return account->due.due > now ? real + (account->due.due - now) : real;
}

const Dict *account_run(const Account *account)
{
        return &account->run;
}

char *const *account_warnings(const Account *account)
{
        return account->warnings;
}

int account_history(Account *account, unsigned max,
                    int (*each)(void *userdata, const RunRecord *run), void *userdata)
{
        return store_runs(account->core->store, account->record.id,
                          MIN(max, (unsigned) LIMIT_HISTORY), each, userdata);
}

int run_to_dict(const RunRecord *run, Dict *to)
{
        _cleanup_list_ char **notes = NULL;
        int r;

        r = causes_split(&notes, run->notes);
        if (r == 0)
                r = dict_set_list(to, KEY_NOTES, notes);
        if (r < 0)
                return r;

        if ((r = dict_set_number(to, KEY_RUN, run->id)) < 0 ||
            (r = dict_set_number(to, KEY_STARTED, run->started_usec)) < 0 ||
            (r = dict_set_number(to, KEY_ENDED, run->ended_usec)) < 0 ||
            (r = dict_set_text(to, KEY_CAUSE, run->cause ? run->cause : "")) < 0 ||
            (r = dict_set_text(to, KEY_REPLY, run->text)) < 0 ||
            (r = dict_set_number(to, KEY_LISTED, run->listed)) < 0 ||
            (r = dict_set_number(to, KEY_FRESH, run->fresh)) < 0 ||
            (r = dict_set_number(to, KEY_SKIPPED, run->skipped)) < 0 ||
            (r = dict_set_number(to, KEY_DELIVERED, run->delivered)) < 0 ||
            (r = dict_set_number(to, KEY_DELETED, run->deleted)) < 0 ||
            (r = dict_set_number(to, KEY_DUPLICATES, run->duplicates)) < 0 ||
            (r = dict_set_number(to, KEY_GONE, run->gone)) < 0 ||
            (r = dict_set_number(to, KEY_LEFT, run->left)) < 0 ||
            (r = dict_set_number(to, KEY_BYTES, run->bytes)) < 0)
                return r;
        return dict_set_bool(to, KEY_MANUAL, run->manual);
}

/* --- secrets ------------------------------------------------------------------------------------------------------- */

int account_secret(Account *account, Side side, Secret **ret)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(2 * LIMIT_TOKEN);
        const char *field = side_name(account->record.same_secret ? SIDE_INCOMING : side);
        int r;

        r = store_secret(account->core->store, account->record.id, field, &sealed);
        if (r < 0)
                return r;
        return vault_unseal(account->core->vault, account->record.id, field, sealed.data,
                            sealed.len, ret);
}

int account_store_secrets(Account *account, const Secret *incoming, const Secret *outgoing)
{
        _cleanup_buffer_ Buffer in = BUFFER(2 * LIMIT_TOKEN), out = BUFFER(2 * LIMIT_TOKEN);
        Core *core = account->core;
        char id[ID_SIZE];
        SealedSecrets sealed;
        int r = 0;

        if (incoming)
                r = vault_seal(account->core->vault, account->record.id, "incoming", incoming, &in);
        if (r == 0 && outgoing)
                r = vault_seal(account->core->vault, account->record.id, "outgoing", outgoing,
                               &out);
        if (r < 0)
                return r;
        sealed = (SealedSecrets){ .incoming = in.data,
                                  .outgoing = out.data,
                                  /* A password that took the place of a grant is all there is. */
                                  .grant = incoming ? "" : NULL,
                                  .incoming_len = in.len,
                                  .outgoing_len = out.len };
        push_drop(core->push, account); /* signed in by what may be the old one */
        memcpy(id, account->record.id, ID_SIZE);
        account->secrets_under_way++;
        r = store_account_set_secrets(core->store, id, &sealed);
        account = core_account(core, id);
        if (account)
                account->secrets_under_way--;
        if (r == 0 && incoming && account)
                grant_revoke_unref(TAKE(account->grant));
        return r;
}

/* --- the grant ----------------------------------------------------------------------------------------------------- */

bool account_uses_grant(Account *account, Side side)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(2 * LIMIT_TOKEN);
        const char *field = side_name(account->record.same_secret ? SIDE_INCOMING : side);

        return account->grant &&
               store_secret(account->core->store, account->record.id, field, &sealed) == -ENOENT;
}

int account_load_grant(Account *account)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(4 * LIMIT_TOKEN);
        _cleanup_(secret_unrefp) Secret *text = NULL;
        const char *id = account->record.id;
        int r;

        r = store_grant(account->core->store, id, &sealed);
        if (r == -ENOENT)
                return 0;
        if (r == 0)
                r = vault_unseal(account->core->vault, id, "grant", sealed.data, sealed.len, &text);
        if (r == 0)
                r = grant_read(&account->grant, account->core, id, text);
        /* As with a password that cannot be read: the account says so when it is needed. */
        if (r == -EBADMSG)
                log_error("the grant of %s cannot be read", account->record.address);
        return r == -EBADMSG ? 0 : r;
}

/* One side's: opened by either key, sealed by the new one. 0 also when there is none. */
static int reseal(Account *account, const char *field, Buffer *to)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(4 * LIMIT_TOKEN);
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        const char *id = account->record.id;
        int r;

        r = store_secret(account->core->store, id, field, &sealed);
        if (r == 0)
                r = vault_unseal(account->core->vault, id, field, sealed.data, sealed.len, &secret);
        if (r == -ENOENT)
                return 0;
        return r < 0 ? r : vault_seal(account->core->vault, id, field, secret, to);
}

/* A grant's refresh token may have been rotated a moment ago: what is in memory counts, not what is stored. */
static int reseal_grant(Account *account, Buffer *to)
{
        _cleanup_(secret_unrefp) Secret *text = NULL;
        int r;

        if (!account->grant)
                return 0;
        r = grant_write(account->grant, &text);
        return r < 0 ? r : vault_seal(account->core->vault, account->record.id, "grant", text, to);
}

int account_reseal(Account *account)
{
        _cleanup_buffer_ Buffer in = BUFFER(2 * LIMIT_TOKEN), out = BUFFER(2 * LIMIT_TOKEN),
                                grant = BUFFER(4 * LIMIT_TOKEN);
        int r;

        if (account->secrets_under_way > 0)
                return -EAGAIN; /* what is stored is not what counts */
        r = reseal(account, "incoming", &in);
        if (r == 0)
                r = reseal(account, "outgoing", &out);
        if (r == 0)
                r = reseal_grant(account, &grant);
        if (r < 0)
                return r;
        return store_account_set_secrets(account->core->store, account->record.id,
                                         &(SealedSecrets){ .incoming = in.data,
                                                           .outgoing = out.data,
                                                           .grant = grant.data,
                                                           .incoming_len = in.len,
                                                           .outgoing_len = out.len,
                                                           .grant_len = grant.len });
}

int account_store_grant(Account *account, Grant *grant, bool keep_outgoing)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(4 * LIMIT_TOKEN);
        _cleanup_(secret_unrefp) Secret *text = NULL;
        _cleanup_(grant_unrefp) Grant *held = grant_ref(grant);
        Core *core = account->core;
        char id[ID_SIZE];
        int r;

        memcpy(id, account->record.id, ID_SIZE);
        r = grant_write(held, &text);
        if (r == 0)
                r = vault_seal(account->core->vault, id, "grant", text, &sealed);
        if (r < 0)
                return r;
        push_drop(core->push, account);
        account->secrets_under_way++;
        r = store_account_set_secrets(core->store, id,
                                      &(SealedSecrets){ .incoming = "",
                                                        .outgoing = keep_outgoing ? NULL : "",
                                                        .grant = sealed.data,
                                                        .grant_len = sealed.len });
        account = core_account(core, id);
        if (account)
                account->secrets_under_way--;
        if (r < 0 || !account)
                return r < 0 ? r : -ENOENT;
        grant_set_account(held, id);
        grant_unref(account->grant);
        account->grant = TAKE(held);
        return 0;
}

int account_credential(Account *account, bool outgoing, Secret **ret, Finding *finding)
{
        Side side = outgoing ? SIDE_OUTGOING : SIDE_INCOMING;
        const Endpoint *endpoint = outgoing ? &account->record.outgoing : &account->record.incoming;
        _cleanup_(grant_unrefp) Grant *held = grant_ref(account->grant);
        char host[LIMIT_HOST + 1];
        int r;

        /* A token is waited for, and the account may be removed meanwhile. */
        if (endpoint->host && account_uses_grant(account, side)) {
                (void) snprintf(host, sizeof(host), "%s", endpoint->host);
                return grant_token(held, host, NULL, ret, finding);
        }
        r = endpoint->host ? account_secret(account, side, ret) : -ENOENT;
        if (r != -ENOENT && r != -EBADMSG)
                return r;
        finding->status = STEP_FAILED;
        finding->cause = "local.secret-unavailable";
        return 1;
}

/* --- the maildrop -------------------------------------------------------------------------------------------------- */

int account_take_maildrop(Account *account)
{
        int r = 0;

        account->maildrop_waiters++;
        while (r == 0 && account->maildrop_busy && !account->gone)
                r = fiber_queue_wait(&account->maildrop_queue);
        account->maildrop_waiters--;
        if (r < 0)
                return r;
        if (account->gone)
                return -ENOENT;
        account->maildrop_busy = true;
        return 0;
}

void account_give_maildrop(Account *account)
{
        account->maildrop_busy = false;
        fiber_queue_wake_all(&account->maildrop_queue);
}

/* --- what callers may do ------------------------------------------------------------------------------------------- */

int account_fetch_now(Account *account, bool with_skipped, uint64_t *ret_run)
{
        if (!account_check_owner(account))
                return ACCOUNT_INVALID_STATE;
        switch (account->state) {
        case ACCOUNT_STATE_PAUSED:
        case ACCOUNT_STATE_NEEDS_PASSWORD:
        case ACCOUNT_STATE_NEEDS_AUTHORIZATION:
                return ACCOUNT_INVALID_STATE;
        case ACCOUNT_STATE_ACTIVE:
        case ACCOUNT_STATE_FAILING:
        case ACCOUNT_STATE_NEEDS_APPROVAL:
        case ACCOUNT_STATE_BLOCKED:
                break;
        }
        if (!account->run.n_entries) {
                account->run_manual = true;
                account->run_skipped |= with_skipped;
                scheduler_now(account->core->scheduler, account);
        }
        *ret_run = account->next_run_id;
        return 0;
}

static int account_set_paused(Account *account, bool paused)
{
        if (!account_check_owner(account))
                return ACCOUNT_INVALID_STATE;
        account->record.paused = paused;
        /* Going on is a fresh start: what stopped it may have been mended. */
        account_set_cause(account, paused ? account->record.cause : NULL);
        if (!paused)
                account->record.failures = 0;
        account_changed(account, ACCOUNT_CHANGED_STATE);
        scheduler_plan(account->core->scheduler, account, clock_now());
        return store_account_update(account->core->store, &account->record);
}

int account_pause(Account *account)
{
        return account_set_paused(account, true);
}

int account_resume(Account *account)
{
        return account_set_paused(account, false);
}

int account_configure(Account *account, const Dict *settings, const char **ret_why)
{
        int r;

        r = account_read_settings(account->core, &account->record, settings, ret_why);
        if (r != 0)
                return r > 0 ? ACCOUNT_INVALID_KEY : r;
        account_changed(account, ACCOUNT_CHANGED_SETTINGS);
        if (!account->run.n_entries)
                scheduler_plan(account->core->scheduler, account, clock_now());
        return store_account_update(account->core->store, &account->record);
}

typedef struct RemoveJob {
        Job job;
        char *location;
} RemoveJob;

static int remove_job_run(Job *job)
{
        return maildir_remove(CONTAINER_OF(job, RemoveJob, job)->location);
}

static void remove_job_free(Job *job)
{
        RemoveJob *remove = CONTAINER_OF(job, RemoveJob, job);

        free(remove->location);
        free(remove);
}

static int remove_mail(Core *core, const char *location)
{
        RemoveJob *remove = calloc(1, sizeof(*remove));
        _cleanup_(job_unrefp) Job *job = NULL;
        int r;

        if (!remove)
                return -ENOMEM;
        job_init(&remove->job, remove_job_run, remove_job_free);
        job = &remove->job;
        r = text_set(&remove->location, location);
        if (r == 0)
                r = pool_run(core->disk, job);
        return r < 0 ? r : job->result;
}

/* Whoever waits for the maildrop still holds on to the account: they leave with -ENOENT before it goes. What was planned meanwhile goes
 * with it. */
static int account_let_go(Account *account)
{
        int r = 0;

        account->gone = true;
        fiber_queue_wake_all(&account->maildrop_queue);
        while (r == 0 && account->maildrop_waiters > 0)
                r = fiber_yield();
        scheduler_forget(account->core->scheduler, account);
        return r;
}

int account_remove(Account *account, bool with_mail)
{
        Core *core = account->core;
        _cleanup_free_ char *location = NULL;
        int r;

        if (account->removing)
                return ACCOUNT_INVALID_STATE;
        r = text_set(&location, account->record.location);
        if (r < 0)
                return r;
        scheduler_forget(core->scheduler, account);
        /* The run ends here; a look for the verification mail ends by itself when the account is gone. */
        r = account_take_maildrop(account);
        if (r < 0)
                return r == -ENOENT ? ACCOUNT_INVALID_STATE : r;
        account->removing = true;
        r = store_account_delete(core->store, account->record.id);
        if (r < 0 && r != -ENOENT) {
                account->removing = false;
                account_give_maildrop(account);
                scheduler_plan(core->scheduler, account, clock_now());
                return r;
        }
        r = account_let_go(account);
        if (r < 0)
                return r;
        account->removing = false;
        grant_revoke_unref(TAKE(account->grant));
        core_remove_account(core, account);
        account_free(account);
        return with_mail ? remove_mail(core, location) : 0;
}
