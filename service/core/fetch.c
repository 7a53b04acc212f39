/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fetch.h. What all runs share, whatever the protocol: the messages that are known, signing in, progress, and what is stored in
 * the end. Not the dialogue and not the delivery. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/fetch.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"

enum {
        RESERVE_CHUNK = 5000, /* rows of one commit */
        VERIFY_HEAD = 16384,
};

#define RUN_PUBLISH_USEC (250 * USEC_PER_MSEC)

int fetch_grow(void **array, size_t *n_allocated, size_t n, size_t size)
{
        size_t wanted = *n_allocated ? 2 * *n_allocated : 64;
        void *grown;

        if (n < *n_allocated)
                return 0;
        grown = reallocarray(*array, wanted, size);
        if (!grown)
                return -ENOMEM;
        *array = grown;
        *n_allocated = wanted;
        return 0;
}

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
        for (size_t i = 0; i < f->n_known; i++)
                message_record_deinit(&f->known[i].record);
        free(f->known);
        buffer_deinit(&f->head);
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

void fetch_publish(Fetch *f, bool now)
{
        Account *a = f->account;

        if (!now && clock_now() - a->run_published_usec < RUN_PUBLISH_USEC)
                return;
        a->run_published_usec = clock_now();
        (void) run_to_dict(&f->run, &a->run);
        (void) dict_set_text(&a->run, KEY_STATE, "running");
        (void) dict_set_number(&a->run, KEY_TOTAL_BYTES, f->total_bytes);
        account_changed(a, ACCOUNT_CHANGED_RUN);
}

/* Our own fault with the disk becomes the run's cause, too. */
static void fetch_local_fault(Fetch *f, int error)
{
        const char *cause = error == -ENOSPC || error == -EDQUOT ? "delivery.no-space"
                            : error == -EACCES || error == -EPERM || error == -EROFS
                                    ? "delivery.denied"
                                    : "delivery.refused";

        finding_clear(&f->finding);
        f->finding.status = STEP_FAILED;
        f->finding.cause = cause;
        (void) dict_set_text(&f->finding.evidence, KEY_ERROR, strerrordesc_np(-error));
}

static int fetch_refused(Fetch *f)
{
        JudgeContext context = { .endpoint = f->session.endpoint, .tls = true, .logged_in = true };

        finding_clear(&f->finding);
        return finding_fail(&f->finding, &f->no, &context);
}

/* --- what we know ---------------------------------------------------------------------------------------------------- */

static int identity_compare(const char *a, uint32_t a_occurrence, const char *b,
                            uint32_t b_occurrence)
{
        int order = strcmp(a, b);

        return order ? order : (a_occurrence > b_occurrence) - (a_occurrence < b_occurrence);
}

static int known_compare(const void *a, const void *b)
{
        const FetchKnown *x = a, *y = b;

        return identity_compare(x->record.uidl, x->record.occurrence, y->record.uidl,
                                y->record.occurrence);
}

static int fetch_on_known(void *userdata, const MessageRecord *record)
{
        Fetch *f = userdata;
        MessageRecord *known;
        int r = GROW(f->known, f->n_known_allocated, f->n_known);

        if (r < 0)
                return r;
        f->known[f->n_known] = (FetchKnown){ .record = *record };
        known = &f->known[f->n_known].record;
        known->uidl = strdup(record->uidl);
        if (!known->uidl)
                return -ENOMEM;
        f->n_known++;
        return 0;
}

/* What a crash left: staged messages are moved to their place (those that are gone from tmp/ are there already), everything else
 * was not complete and will be read again. Rows ascend: the store gives them so. */
static int fetch_recover(Fetch *f)
{
        _cleanup_free_ uint64_t *staged = calloc(f->n_known + 1, sizeof(*staged));
        size_t n = 0;
        int r;

        if (!staged)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_known; i++)
                if (f->known[i].record.state == MESSAGE_STAGED)
                        staged[n++] = f->known[i].record.row;
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

static int fetch_load(Fetch *f)
{
        int r;

        r = delivery_open(&f->delivery, f->account, fetch_on_delivered, f);
        if (r == 0)
                r = store_messages(f->core->store, f->account->record.id, fetch_on_known, f);
        if (r == 0)
                r = fetch_recover(f);
        if (r == 0 && f->n_known > 1)
                qsort(f->known, f->n_known, sizeof(*f->known), known_compare);
        return r;
}

/* --- what the server lists --------------------------------------------------------------------------------------------- */

static int item_compare(const void *a, const void *b)
{
        const FetchItem *x = *(FetchItem *const *) a, *y = *(FetchItem *const *) b;

        return identity_compare(x->uidl, x->number, y->uidl, y->number);
}

static void match_sorted(Fetch *f, FetchItem *const *sorted, size_t n)
{
        size_t k = 0;

        for (size_t i = 0; i < n; i++) {
                FetchItem *item = sorted[i];
                int order = -1;

                if (i > 0 && strcmp(sorted[i - 1]->uidl, item->uidl) == 0)
                        item->occurrence = sorted[i - 1]->occurrence + 1;
                while (k < f->n_known &&
                       (order = identity_compare(f->known[k].record.uidl,
                                                 f->known[k].record.occurrence, item->uidl,
                                                 item->occurrence)) < 0)
                        k++;
                if (k == f->n_known || order != 0)
                        continue;
                item->row = f->known[k].record.row;
                item->known = f->known[k].record.state == MESSAGE_DONE;
                f->known[k++].listed = true;
        }
}

int fetch_match(Fetch *f, FetchItem *items, size_t n_items)
{
        _cleanup_free_ FetchItem **sorted = calloc(n_items + 1, sizeof(*sorted));

        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < n_items; i++)
                sorted[i] = &items[i];
        if (n_items > 1)
                qsort(sorted, n_items, sizeof(*sorted), item_compare);
        match_sorted(f, sorted, n_items);
        return 0;
}

static int fetch_reserve_chunk(Fetch *f, FetchItem *const *items, size_t n)
{
        _cleanup_free_ MessageRecord *records = calloc(n, sizeof(*records));
        int r;

        if (!records)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                records[i] = (MessageRecord){ .uidl = items[i]->uidl,
                                              .occurrence = items[i]->occurrence };
        r = store_messages_reserve(f->core->store, f->account->record.id, records, n);
        for (size_t i = 0; i < n && r == 0; i++)
                items[i]->row = records[i].row;
        return r;
}

int fetch_reserve(Fetch *f, FetchItem *const *items, size_t n_items)
{
        int r = 0;

        for (size_t from = 0; from < n_items && r == 0; from += RESERVE_CHUNK)
                r = fetch_reserve_chunk(f, items + from,
                                        MIN(n_items - from, (size_t) RESERVE_CHUNK));
        return r;
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

int fetch_message_begin(Fetch *f, const FetchItem *item, uint32_t tag)
{
        buffer_clear(&f->head);
        return delivery_begin(f->delivery, item->row, tag);
}

int fetch_message_data(Fetch *f, const char *data, size_t len)
{
        int r;

        f->run.bytes += len;
        if (f->account->verify_token[0] && f->head.len < VERIFY_HEAD)
                (void) buffer_append(&f->head, data, MIN(len, VERIFY_HEAD - f->head.len));
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

int fetch_message_end(Fetch *f)
{
        fetch_look(f);
        return delivery_end(f->delivery);
}

int fetch_messages_over(Fetch *f, int r)
{
        int delivered;

        delivery_abandon(f->delivery);
        if (r == -ECANCELED)
                return r;
        delivered = delivery_flush(f->delivery);
        return delivered < 0 ? delivered : r;
}

/* --- the dialogue -------------------------------------------------------------------------------------------------------- */

static int fetch_sign_in(Fetch *f)
{
        Account *a = f->account;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        int r;

        r = account_secret(a, SIDE_INCOMING, &secret);
        if (r < 0) {
                log_fault(r, "reading the password of %s", a->record.address);
                f->finding.status = STEP_FAILED;
                f->finding.cause = "local.secret-unavailable";
                return 0;
        }
        r = core_open_and_sign_in(f->core, a->record.uid, &f->session, secret, &f->finding);
        if (r < 0)
                return r;
        if (f->session.logged_in)
                a->last_login_usec = clock_now();
        a->record.poll_minimum_usec = MAX(a->record.poll_minimum_usec,
                                          session_login_delay(&f->session));
        return 0;
}

static int fetch_dialogue(Fetch *f)
{
        int r;

        r = fetch_sign_in(f);
        if (r < 0 || f->finding.status == STEP_FAILED)
                return r;
        finding_clear(&f->finding);
        f->state = calloc(1, MAX(f->protocol->state_len, (size_t) 1));
        r = f->state ? f->protocol->dialogue(f) : -ENOMEM;
        if (r == 1)
                return fetch_refused(f);
        if (r == 0)
                session_quit(&f->session);
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
        Unsettled rest = delivery_unsettled(f->delivery);
        int r;

        f->run.ended_usec = clock_real();
        r = text_set(&f->run.cause, cause);
        if (r == 0 && cause)
                r = text_set(&f->run.text,
                             reply ? reply : dict_text(&f->finding.evidence, KEY_ERROR));
        a->record.failures = cause ? a->record.failures + 1 : 0;
        if (!cause)
                a->record.last_success_usec = f->run.ended_usec;
        account_set_cause(a, cause);
        if (r == 0)
                r = store_run_end(f->core->store, &a->record, &f->run, rest.done, rest.n_done,
                                  rest.dropped, rest.n_dropped);
        if (r == -ECANCELED)
                return r;
        if (r < 0)
                log_fault(r, "storing the run of %s", a->record.address);
        /* Only now is it over: a fetch that is asked for up to here joins this run, from here on it is another one. */
        dict_clear(&a->run);
        account_changed(a, ACCOUNT_CHANGED_RUN | (cause ? 0 : ACCOUNT_CHANGED_SUCCESS));
        log_write(cause              ? LOG_WARNING
                  : f->run.delivered ? LOG_INFO
                                     : LOG_DEBUG,
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
        f->session = (Session){ .side = SIDE_INCOMING,
                                .endpoint = &a->record.incoming,
                                .dns = f->core->dns,
                                .tls = f->core->tls,
                                .means = &f->core->means,
                                .policy = core_policy(f->core, true) };
        f->head = BUFFER(VERIFY_HEAD + 1);
        a->run_manual = false;
        fetch_publish(f, true);
        return account_take_maildrop(a);
}

int fetch_run(void *arg)
{
        Account *a = arg;
        Fetch f = { .account = a, .core = a->core, .protocol = &fetch_pop3 };
        int r;

        r = fetch_prepare(&f);
        if (r == 0) {
                r = fetch_load(&f);
                if (r == 0)
                        r = fetch_dialogue(&f);
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
