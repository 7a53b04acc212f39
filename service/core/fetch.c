/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fetch.h. What all runs share, whatever the protocol: the messages that are known, signing in, progress, and what is stored in
 * the end. Not the dialogue and not the delivery. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/fetch.h"
#include "core/grant.h"
#include "core/push.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"

enum { VERIFY_HEAD = 16384, MESSAGE_COSTS = 2048, SLOW_RATE = 64 };

/* From then on so many octets a second are the least. */
#define SLOW_USEC (5 * USEC_PER_MINUTE)

#define ESTIMATE_AFTER_USEC (2 * USEC_PER_SEC)

#define RUN_PUBLISH_USEC (250 * USEC_PER_MSEC)
#define BROKEN_USEC (15 * USEC_PER_SEC)

static void fetch_deinit(Fetch *f)
{
        delivery_free(f->delivery);
        if (f->state && f->protocol->deinit)
                f->protocol->deinit(f);
        free(f->state);
        session_close(&f->session);
        finding_clear(&f->finding);
        outcome_deinit(&f->no);
        run_record_deinit(&f->run);
        fetch_items_deinit(f);
        buffer_deinit(&f->head);
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

/* What has been read so far tells how long the rest takes: a message costs, besides its octets, about as much as MESSAGE_COSTS of them.
 * Nothing is said before there is something to go by, nor where the server has told no sizes. */
static void fetch_estimate(Fetch *f)
{
        uint64_t usec = f->reading_usec ? clock_now() - f->reading_usec : 0;
        uint64_t done = f->run.bytes + f->n_read * MESSAGE_COSTS;
        uint64_t all = f->total_bytes + f->total_messages * MESSAGE_COSTS;

        if (usec < ESTIMATE_AFTER_USEC || done == 0)
                return;
        (void) dict_set_number(&f->account->run, KEY_RATE, f->run.bytes * USEC_PER_SEC / usec);
        if (f->total_bytes > 0 && all >= done)
                (void) dict_set_number(&f->account->run, KEY_REMAINING,
                                       (uint64_t) ((double) (all - done) / (double) done *
                                                   (double) usec / USEC_PER_SEC));
}

void fetch_publish(Fetch *f, bool now)
{
        Account *a = f->account;

        if (!now && clock_now() - a->run_published_usec < RUN_PUBLISH_USEC)
                return;
        a->run_published_usec = clock_now();
        (void) run_to_dict(&f->run, &a->run);
        (void) dict_set_text(&a->run, KEY_STATE, "running");
        (void) dict_set_number(&a->run, KEY_TOTAL_BYTES, f->total_bytes);
        fetch_estimate(f);
        account_changed(a, ACCOUNT_CHANGED_RUN);
}

/* Our own fault with the disk becomes the run's cause, too. */
static void fetch_local_fault(Fetch *f, int error)
{
        const char *why = NULL;

        finding_clear(&f->finding);
        f->finding.status = STEP_FAILED;
        if (error == -EREMOTEIO && f->delivery)
                f->finding.cause = delivery_cause(f->delivery, &why);
        else
                f->finding.cause = f->over_quota ? "policy.quota" : judge_delivery_fault(error);
        (void) dict_set_text(&f->finding.evidence, KEY_ERROR, why ? why : strerrordesc_np(-error));
}

static int fetch_refused(Fetch *f)
{
        JudgeContext context = { .endpoint = f->session.endpoint, .tls = true, .logged_in = true };

        finding_clear(&f->finding);
        return finding_fail(&f->finding, &f->no, &context);
}

/* --- what we know ---------------------------------------------------------------------------------------------------- */

/* What a crash left: staged messages are moved to their place (those that are gone from tmp/ are there already), everything else
 * was not complete and will be read again. Rows ascend: the store gives them so. */
static int fetch_recover(Fetch *f)
{
        _cleanup_free_ const MessageRecord **staged = calloc(f->n_known + 1, sizeof(*staged));
        size_t n = 0;
        int r;

        if (!staged)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_known; i++)
                if (f->known[i].record.state == MESSAGE_STAGED)
                        staged[n++] = &f->known[i].record;
        r = delivery_recover(f->delivery, staged, n);
        for (size_t i = 0; i < f->n_known && r == 0; i++)
                if (f->known[i].record.state == MESSAGE_STAGED)
                        f->known[i].record.state = MESSAGE_DONE;
        return r;
}

static int fetch_on_delivered(void *userdata, const Delivered *messages, size_t n, uint64_t bytes)
{
        Fetch *f = userdata;
        const Observer *o = &f->core->observer;
        int r = f->protocol->delivered ? f->protocol->delivered(f, messages, n) : 0;

        f->run.delivered += n;
        f->account->record.messages_fetched += n;
        f->account->record.bytes_fetched += bytes;
        if (o->mail_arrived)
                o->mail_arrived(o->userdata, f->account, n, bytes);
        fetch_publish(f, false);
        return r;
}

static int fetch_on_rejected(void *userdata, const Delivered *message, const char *why)
{
        Fetch *f = userdata;
        FetchItem item = { .row = message->row, .octets = message->octets };
        int r = text_set(&f->run.text, why);

        f->run.skipped++;
        if (r == 0)
                r = fetch_note(f, "delivery.message-refused");
        return r < 0 ? r : fetch_note_failed(f, &item, why, true);
}

static int fetch_load(Fetch *f)
{
        static const DeliveryEvents events = { fetch_on_delivered, fetch_on_rejected };
        int r;

        r = core_count_quota(f->core, f->account, f->run.manual, &f->quota);
        if (r < 0)
                return r;
        r = delivery_open(&f->delivery, f->account, &events, f);
        if (r == 0)
                r = fetch_load_known(f);
        if (r == 0)
                r = fetch_recover(f);
        if (r == 0)
                fetch_sort_known(f);
        return r;
}

int fetch_note(Fetch *f, const char *cause)
{
        _cleanup_free_ char *both = NULL;
        int r;

        if (!f->run.notes)
                return text_set(&f->run.notes, cause);
        if (strstr(f->run.notes, cause))
                return 0;
        r = text_format(&both, "%s %s", f->run.notes, cause);
        return r < 0 ? r : text_set(&f->run.notes, both);
}

bool fetch_late(const Fetch *f)
{
        return f->reading_usec && clock_now() - f->reading_usec > f->core->config->run_usec;
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

int fetch_message_begin(Fetch *f, const FetchItem *item)
{
        int r = f->identity ? 0 : identity_new(&f->identity);

        if (!f->reading_usec)
                f->reading_usec = clock_now();
        f->message_usec = clock_now();
        buffer_clear(&f->head);
        return r < 0 ? r
                     : delivery_begin(f->delivery, &(Delivered){ .row = item->row,
                                                                 .tag = item->number,
                                                                 .octets = item->octets });
}

/* A message without an end, or one larger than anybody wants, is stopped here and not by the disk; and so is one that comes so slowly that
 * it is not meant to end. */
static int fetch_check_size(Fetch *f, size_t len)
{
        uint64_t usec = clock_now() - f->message_usec;

        if (usec > SLOW_USEC && delivery_size(f->delivery) * USEC_PER_SEC / usec < SLOW_RATE)
                return -ETIME;
        if (delivery_size(f->delivery) + len > f->core->config->message_maximum)
                return -EFBIG;
        f->over_quota = f->run.bytes + len > f->quota;
        return f->over_quota ? -EDQUOT : 0;
}

int fetch_message_data(Fetch *f, const char *data, size_t len)
{
        int r = fetch_check_size(f, len);

        if (r < 0)
                return r;
        f->run.bytes += len;
        if (f->account->verify_token[0] && f->head.len < VERIFY_HEAD)
                (void) buffer_append(&f->head, data, MIN(len, VERIFY_HEAD - f->head.len));
        r = identity_add(f->identity, data, len);
        if (r == 0)
                r = delivery_write(f->delivery, data, len);
        if (r == 0)
                fetch_publish(f, false);
        return r;
}

/* A setup may be looking for its verification mail: it waits for us to let go of the maildrop, so we tell it. */
static void fetch_look(Fetch *f)
{
        Account *a = f->account;

        if (!a->verify_token[0] || a->verify_match == VERIFICATION_OURS || !f->head.data)
                return;
        a->verify_match = verification_match(f->head.data, f->head.len, a->verify_token);
        if (a->verify_match != VERIFICATION_NO && a->verify_queue)
                fiber_queue_wake_all(a->verify_queue);
}

int fetch_message_end(Fetch *f, FetchItem *item)
{
        uint8_t digest[DIGEST_LEN];
        int r;

        fetch_look(f);
        r = identity_end(f->identity, digest);
        if (r < 0)
                return r;
        f->n_read++;
        r = fetch_recognise(f, item, digest, delivery_size(f->delivery));
        if (r == 0)
                return delivery_end(f->delivery, digest, item->flags);
        delivery_abandon(f->delivery);
        return MIN(r, 0);
}

void fetch_message_abandon(Fetch *f)
{
        uint8_t digest[DIGEST_LEN];

        delivery_abandon(f->delivery);
        if (f->identity)
                (void) identity_end(f->identity, digest);
}

int fetch_messages_over(Fetch *f, int r)
{
        int delivered;

        fetch_message_abandon(f);
        if (r == -ECANCELED)
                return r;
        delivered = delivery_flush(f->delivery);
        return delivered < 0 ? delivered : r;
}

/* --- the dialogue -------------------------------------------------------------------------------------------------------- */

/* By the grant, or by @secret. */
static int fetch_open_once(Fetch *f, const Secret *secret)
{
        Account *a = f->account;

        return secret ? core_open_and_sign_in(f->core, a->record.uid, &f->session, secret,
                                              &f->finding)
                      : grant_open_and_sign_in(a->grant, &f->session, &f->finding);
}

/* A dialogue of ours that broke off may hold the mailbox for a moment longer: until the server has noticed. */
static int fetch_open(Fetch *f, const Secret *secret)
{
        Account *a = f->account;
        uint64_t wait = USEC_PER_SEC / 4;
        int r;

        for (;;) {
                finding_clear(&f->finding);
                r = fetch_open_once(f, secret);
                if (r < 0 || !text_equal(f->finding.cause, "mailbox.locked") || !a->broken_usec ||
                    clock_now() - a->broken_usec > BROKEN_USEC)
                        return r;
                session_close(&f->session);
                r = fiber_sleep(wait);
                if (r < 0)
                        return r;
                wait *= 2;
        }
}

static int fetch_note_certificate(Fetch *f)
{
        const Certificate *c = f->session.certificate;
        CertificateSeen seen;

        if (!c || !f->session.tls_on)
                return 0;
        seen = (CertificateSeen){ c->spki_sha256, c->not_after_usec, c->approved };
        return account_note_certificate(f->account, SIDE_INCOMING, &seen);
}

static int fetch_sign_in(Fetch *f)
{
        Account *a = f->account;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        int r = 0;

        if (!account_uses_grant(a, SIDE_INCOMING))
                r = account_secret(a, SIDE_INCOMING, &secret);
        if (r < 0) {
                log_fault(r, "reading the password of %s", a->record.address);
                f->finding.status = STEP_FAILED;
                f->finding.cause = "local.secret-unavailable";
                return 0;
        }
        r = fetch_open(f, secret);
        if (r < 0)
                return r;
        if (f->session.logged_in)
                a->last_login_usec = clock_now();
        r = fetch_note_certificate(f);
        if (r < 0)
                return r;
        a->record.poll_minimum_usec = MAX(a->record.poll_minimum_usec,
                                          session_login_delay(&f->session));
        return 0;
}

/* The session that has waited for news since the last run, or a new one. */
static int fetch_enter(Fetch *f)
{
        int r = push_take(f->core->push, f->account, &f->session, &f->mailbox, &f->read_only);

        f->resumed = r == 1;
        return r == 0 ? fetch_sign_in(f) : MIN(r, 0);
}

/* The server tells of new mail by itself, where it can; else it is left in peace. */
static void fetch_leave(Fetch *f)
{
        if (!f->parkable ||
            !push_park(f->core->push, f->account, &f->session, &f->mailbox, f->read_only))
                session_quit(&f->session);
}

static int fetch_dialogue(Fetch *f)
{
        int r;

        r = fetch_enter(f);
        if (r < 0 || f->finding.status == STEP_FAILED)
                return r;
        finding_clear(&f->finding);
        f->state = calloc(1, MAX(f->protocol->state_len, (size_t) 1));
        r = f->state ? f->protocol->dialogue(f) : -ENOMEM;
        if (r == -ETIME) /* too slow to be meant */
                r = outcome_set(&f->no, OUTCOME_TIMEOUT, PHASE_RETRIEVE);
        if (r == 1)
                return fetch_refused(f);
        if (r == 0)
                fetch_leave(f);
        return r;
}

/* --- the run -------------------------------------------------------------------------------------------------------------- */

/* Stores what became of it: the rows that are done, the account, the run, in one commit. */
static int fetch_conclude(Fetch *f)
{
        Account *a = f->account;
        const Observer *o = &f->core->observer;
        const char *cause = f->finding.status == STEP_FAILED ? f->finding.cause : NULL;
        const char *reply = dict_text(&f->finding.evidence, KEY_REPLY);
        MessageChanges rest = delivery_unsettled(f->delivery);
        int r;

        rest.updated = f->updated;
        rest.n_updated = f->n_updated;
        f->run.ended_usec = clock_real();
        r = text_set(&f->run.cause, cause);
        if (r == 0 && cause)
                r = text_set(&f->run.text,
                             reply ? reply : dict_text(&f->finding.evidence, KEY_ERROR));
        a->record.failures = cause ? a->record.failures + 1 : 0;
        if (!cause)
                a->record.last_success_usec = f->run.ended_usec;
        account_set_cause(a, cause);
        if (!cause)
                account_set_warnings(a, f->run.notes);
        a->run_left = !cause && (f->run.left > 0 || f->windowed);
        a->run_arrived = f->run.delivered > 0;
        a->known_before = f->n_known > 0;
        if (r == 0)
                r = store_run_end(f->core->store, &a->record, &f->run, &rest);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                log_fault(r, "storing the run of %s", a->record.address);
        /* Only now is it over: a fetch that is asked for up to here joins this run, from here on it is another one. */
        dict_clear(&a->run);
        account_changed(a, ACCOUNT_CHANGED_RUN | (cause ? 0 : ACCOUNT_CHANGED_SUCCESS));
        /* The alert is account_set_cause()'s, once for each trouble. */
        log_write(cause || f->run.delivered ? LOG_INFO : LOG_DEBUG,
                  (LogField[]){ { "WAYPOST_ACCOUNT", a->record.id }, {} },
                  "fetched %s: %zu listed, %zu new, %zu delivered%s%s", a->record.address,
                  (size_t) f->run.listed, (size_t) f->run.fresh, (size_t) f->run.delivered,
                  cause ? ", stopped by " : "", cause ? cause : "");
        if (o->run_finished)
                o->run_finished(o->userdata, a, &f->run);
        return r;
}

static int fetch_prepare(Fetch *f)
{
        Account *a = f->account;

        f->run = (RunRecord){ .id = a->next_run_id,
                              .started_usec = clock_real(),
                              .manual = a->run_manual };
        f->with_skipped = a->run_skipped;
        f->session = (Session){ .side = SIDE_INCOMING,
                                .endpoint = &a->record.incoming,
                                .dns = f->core->dns,
                                .tls = f->core->tls,
                                .means = &f->core->means,
                                .policy = core_policy(f->core, true) };
        f->head = BUFFER(VERIFY_HEAD + 1);
        a->run_manual = a->run_skipped = false;
        fetch_publish(f, true);
        return account_take_maildrop(a);
}

int fetch_run(void *arg)
{
        Account *a = arg;
        Fetch f = { .account = a,
                    .core = a->core,
                    .protocol = a->record.incoming.protocol == PROTOCOL_IMAP ? &fetch_imap
                                                                             : &fetch_pop3 };
        int r;

        r = fetch_prepare(&f);
        if (r == 0) {
                r = fetch_load(&f);
                if (r == 0)
                        r = fetch_dialogue(&f);
                a->broken_usec = f.session.logged_in ? clock_now() : 0;
                session_close(&f.session);
                if (r < 0 && r != -ECANCELED) {
                        log_fault(r, "fetching %s", a->record.address);
                        fetch_local_fault(&f, r);
                }
                if (r != -ECANCELED)
                        r = fetch_conclude(&f);
                account_give_maildrop(a);
        }
        fetch_deinit(&f);
        dict_clear(&a->run);
        a->next_run_id = store_next_run(a->core->store);
        return r;
}
