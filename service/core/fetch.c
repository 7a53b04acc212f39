/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One run of one account: POP3 to Maildir, in the order that loses and doubles nothing (docs/architecture.md, "the life of a run").
 *
 * Two fibers work at the same time: this one reads messages into tmp/ as fast as the server sends, the committer makes batches of
 * them durable and moves them into new/. Deleting begins only when everything that was read has been delivered. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/setup_internal.h"
#include "dbus/names.h"
#include "probe/judge.h"

enum {
        BATCH_MESSAGES = 128,
        BATCH_BYTES = 8 * 1024 * 1024,
        BATCHES_WAITING = 2,  /* read ahead of the disk */
        RESERVE_CHUNK = 5000, /* rows of one commit */
        WRITE_BUFFER = 128 * 1024,
        VERIFY_HEAD = 16384,
};

#define BATCH_USEC \
        (500 * USEC_PER_MSEC) /* a slow server's messages do not wait long for their batch */
#define RUN_PUBLISH_USEC (250 * USEC_PER_MSEC)

typedef struct Batch {
        uint64_t rows[BATCH_MESSAGES], sizes[BATCH_MESSAGES];
        uint32_t numbers[BATCH_MESSAGES];
        int fds[BATCH_MESSAGES];
        size_t n;
        uint64_t bytes, begun_usec;
} Batch;

typedef struct Entry {
        uint32_t number;
        uint32_t occurrence;
        char *uidl;
        uint64_t octets; /* as listed; a hint */
        uint64_t row;
        bool known; /* delivered in an earlier run */
} Entry;

typedef struct Fetch {
        Account *account;
        Core *core;
        Maildir *maildir;
        Session session;
        Finding finding; /* how the dialogue ended */
        Outcome no;
        RunRecord run;
        /* the server's list */
        Entry *entries;
        size_t n_entries, n_allocated;
        /* ours */
        MessageRecord *known;
        size_t n_known, n_known_allocated;
        /* what is to be read */
        Entry **fresh;
        size_t n_fresh;
        uint32_t *numbers;
        /* reading */
        Batch *filling;
        int fd;
        uint64_t row, size;
        char *out;
        size_t out_len;
        Buffer head; /* of a message that may be the verification mail */
        /* committing */
        Batch *queue[BATCHES_WAITING];
        size_t n_queue;
        bool reading_over;
        int commit_result;
        Fiber *committer;
        FiberQueue to_commit, committed;
        uint64_t *done; /* delivered; their rows say so with the next commit */
        size_t n_done, n_done_told, n_done_allocated;
        uint32_t *deletable; /* numbers whose mail is in new/ for good */
        uint64_t *deletable_rows;
        size_t n_deletable, n_deletable_allocated;
        uint64_t *dropped; /* rows that nobody needs any more */
        size_t n_dropped, n_dropped_allocated;
        uint64_t total_bytes;
} Fetch;

/* --- growing ------------------------------------------------------------------------------------------------------- */

static int grow(void **array, size_t *n_allocated, size_t n, size_t size)
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

#define GROW(array, n_allocated, n) grow((void **) &(array), &(n_allocated), (n), sizeof(*(array)))

static Batch *batch_free(Batch *batch)
{
        if (!batch)
                return NULL;
        for (size_t i = 0; i < batch->n; i++)
                fd_close(batch->fds[i]);
        free(batch);
        return NULL;
}

static void fetch_deinit(Fetch *f)
{
        f->committer = fiber_cancel(f->committer);
        batch_free(f->filling);
        for (size_t i = 0; i < f->n_queue; i++)
                batch_free(f->queue[i]);
        fd_close(f->fd);
        maildir_free(f->maildir);
        session_close(&f->session);
        finding_clear(&f->finding);
        outcome_deinit(&f->no);
        run_record_deinit(&f->run);
        for (size_t i = 0; i < f->n_entries; i++)
                free(f->entries[i].uidl);
        for (size_t i = 0; i < f->n_known; i++)
                message_record_deinit(&f->known[i]);
        free(f->entries);
        free(f->known);
        free(f->fresh);
        free(f->numbers);
        free(f->out);
        free(f->done);
        free(f->deletable);
        free(f->deletable_rows);
        free(f->dropped);
        buffer_deinit(&f->head);
}

/* --- telling ------------------------------------------------------------------------------------------------------- */

static void fetch_publish(Fetch *f, bool now)
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

static int message_compare(const void *a, const void *b)
{
        const MessageRecord *x = a, *y = b;
        int order = strcmp(x->uidl, y->uidl);

        return order ? order : (x->occurrence > y->occurrence) - (x->occurrence < y->occurrence);
}

static int fetch_on_known(void *userdata, const MessageRecord *record)
{
        Fetch *f = userdata;
        MessageRecord *known;
        int r = GROW(f->known, f->n_known_allocated, f->n_known);

        if (r < 0)
                return r;
        known = &f->known[f->n_known];
        *known = *record;
        known->uidl = strdup(record->uidl);
        if (!known->uidl)
                return -ENOMEM;
        f->n_known++;
        return 0;
}

static int row_compare(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

        return (x > y) - (x < y);
}

static int fetch_note_done(Fetch *f, const uint64_t *rows, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                int r = GROW(f->done, f->n_done_allocated, f->n_done);

                if (r < 0)
                        return r;
                f->done[f->n_done++] = rows[i];
        }
        return 0;
}

/* What a crash left: staged messages are moved into new/ (those that are gone from tmp/ are there already), everything else in tmp/
 * was not complete and will be read again. */
static int fetch_recover(Fetch *f)
{
        _cleanup_free_ uint64_t *staged = NULL;
        size_t n = 0;
        int r;

        staged = calloc(f->n_known + 1, sizeof(*staged));
        if (!staged)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_known; i++)
                if (f->known[i].state == MESSAGE_STAGED)
                        staged[n++] = f->known[i].row;
        qsort(staged, n, sizeof(*staged), row_compare);
        r = maildir_clean(f->maildir, staged, n);
        if (r < 0 || n == 0)
                return r;
        r = maildir_deliver(f->maildir, f->core->disk, staged, n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < f->n_known; i++)
                if (f->known[i].state == MESSAGE_STAGED)
                        f->known[i].state = MESSAGE_DONE;
        return fetch_note_done(f, staged, n);
}

static int fetch_load(Fetch *f)
{
        int r;

        r = maildir_open(&f->maildir, f->account->record.location, f->account->record.uid);
        if (r == 0)
                r = store_messages(f->core->store, f->account->record.id, fetch_on_known, f);
        if (r == 0)
                r = fetch_recover(f);
        if (r == 0 && f->n_known > 1)
                qsort(f->known, f->n_known, sizeof(*f->known), message_compare);
        return r;
}

/* --- what the server lists --------------------------------------------------------------------------------------------- */

static int fetch_on_uidl(void *userdata, uint32_t number, const char *uidl)
{
        Fetch *f = userdata;
        int r = GROW(f->entries, f->n_allocated, f->n_entries);

        if (r < 0)
                return r;
        f->entries[f->n_entries] = (Entry){ .number = number, .uidl = strdup(uidl) };
        return f->entries[f->n_entries].uidl ? (int) (f->n_entries++, 0) : -ENOMEM;
}

static int fetch_on_size(void *userdata, uint32_t number, uint64_t octets)
{
        Fetch *f = userdata;
        size_t low = 0, high = f->n_entries;

        /* Both lists ascend on every server that keeps to RFC 1939; where one does not, the hint is missing. */
        while (low < high) {
                size_t middle = (low + high) / 2;

                if (f->entries[middle].number == number) {
                        f->entries[middle].octets = octets;
                        return 0;
                }
                if (f->entries[middle].number < number)
                        low = middle + 1;
                else
                        high = middle;
        }
        return 0;
}

static int entry_compare(const void *a, const void *b)
{
        const Entry *x = *(Entry *const *) a, *y = *(Entry *const *) b;
        int order = strcmp(x->uidl, y->uidl);

        return order ? order : (x->number > y->number) - (x->number < y->number);
}

static int fetch_drop(Fetch *f, uint64_t row)
{
        int r = GROW(f->dropped, f->n_dropped_allocated, f->n_dropped);

        if (r == 0)
                f->dropped[f->n_dropped++] = row;
        return r;
}

/* Known, but not listed. Where mail is deleted, we have done that ourselves and did not come to note it; the server may give the UIDL
 * to another message now (RFC 1939 section 7), which would be taken for this one and deleted unread. Where mail stays, the row does,
 * too: a server that loses its list for a day would have us fetch everything again. */
static int fetch_on_absent(Fetch *f, const MessageRecord *known)
{
        bool useless = known->state == MESSAGE_RESERVED ||
                       (known->state == MESSAGE_DONE && f->account->record.keep == KEEP_NOT);

        return useless ? fetch_drop(f, known->row) : 0;
}

/* Some servers give one UIDL to several messages: the n-th with the same one is told apart by n. */
static int fetch_identify(Fetch *f)
{
        _cleanup_free_ Entry **sorted = calloc(f->n_entries + 1, sizeof(*sorted));
        size_t k = 0;
        int r = 0;

        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_entries; i++)
                sorted[i] = &f->entries[i];
        if (f->n_entries > 1)
                qsort(sorted, f->n_entries, sizeof(*sorted), entry_compare);
        for (size_t i = 0; i < f->n_entries && r == 0; i++) {
                MessageRecord key;

                if (i > 0 && strcmp(sorted[i - 1]->uidl, sorted[i]->uidl) == 0)
                        sorted[i]->occurrence = sorted[i - 1]->occurrence + 1;
                key = (MessageRecord){ .uidl = sorted[i]->uidl,
                                       .occurrence = sorted[i]->occurrence };
                while (r == 0 && k < f->n_known && message_compare(&f->known[k], &key) < 0)
                        r = fetch_on_absent(f, &f->known[k++]);
                if (k < f->n_known && message_compare(&f->known[k], &key) == 0) {
                        sorted[i]->row = f->known[k].row;
                        sorted[i]->known = f->known[k++].state == MESSAGE_DONE;
                }
        }
        while (r == 0 && k < f->n_known)
                r = fetch_on_absent(f, &f->known[k++]);
        return r;
}

static int fetch_note_deletable(Fetch *f, uint32_t number, uint64_t row)
{
        size_t allocated = f->n_deletable_allocated;
        int r = GROW(f->deletable, f->n_deletable_allocated, f->n_deletable);

        if (r == 0)
                r = GROW(f->deletable_rows, allocated, f->n_deletable);
        if (r < 0)
                return r;
        f->deletable[f->n_deletable] = number;
        f->deletable_rows[f->n_deletable++] = row;
        return 0;
}

static int fetch_choose(Fetch *f)
{
        int r = 0;

        f->fresh = calloc(f->n_entries + 1, sizeof(*f->fresh));
        f->numbers = calloc(f->n_entries + 1, sizeof(*f->numbers));
        if (!f->fresh || !f->numbers)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_entries && r == 0; i++) {
                Entry *e = &f->entries[i];

                if (e->known) {
                        /* Delivered before, still there: an earlier session did not come to its QUIT. */
                        if (f->account->record.keep == KEEP_NOT)
                                r = fetch_note_deletable(f, e->number, e->row);
                        continue;
                }
                f->numbers[f->n_fresh] = e->number;
                f->fresh[f->n_fresh++] = e;
                f->total_bytes += e->octets;
        }
        f->run.listed = f->n_entries;
        f->run.fresh = f->n_fresh;
        return r;
}

static int fetch_reserve_chunk(Fetch *f, size_t from, size_t n)
{
        _cleanup_free_ MessageRecord *records = calloc(n, sizeof(*records));
        int r;

        if (!records)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                records[i] = (MessageRecord){ .uidl = f->fresh[from + i]->uidl,
                                              .occurrence = f->fresh[from + i]->occurrence };
        r = store_messages_reserve(f->core->store, f->account->record.id, records, n);
        for (size_t i = 0; i < n && r == 0; i++)
                f->fresh[from + i]->row = records[i].row;
        return r;
}

/* The file's name is known, and stored, before the first octet is written. */
static int fetch_reserve(Fetch *f)
{
        int r = 0;

        for (size_t from = 0; from < f->n_fresh && r == 0; from += RESERVE_CHUNK)
                r = fetch_reserve_chunk(f, from, MIN(f->n_fresh - from, (size_t) RESERVE_CHUNK));
        return r;
}

/* --- committing -------------------------------------------------------------------------------------------------------- */

static int batch_stage(Fetch *f, Batch *batch)
{
        MessageRecord staged[BATCH_MESSAGES] = {};
        size_t n_done = f->n_done;
        int r;

        for (size_t i = 0; i < batch->n; i++)
                staged[i] = (MessageRecord){ .row = batch->rows[i],
                                             .state = MESSAGE_STAGED,
                                             .size = batch->sizes[i] };
        r = store_messages_stage(f->core->store, f->account->record.id, staged, batch->n,
                                 f->done + f->n_done_told, n_done - f->n_done_told, NULL, 0);
        if (r == 0)
                f->n_done_told = n_done;
        return r;
}

static int batch_note(Fetch *f, const Batch *batch)
{
        const Observer *o = &f->core->observer;
        int r;

        r = fetch_note_done(f, batch->rows, batch->n);
        for (size_t i = 0; i < batch->n && r == 0 && f->account->record.keep == KEEP_NOT; i++)
                r = fetch_note_deletable(f, batch->numbers[i], batch->rows[i]);
        f->run.delivered += batch->n;
        f->account->record.messages_fetched += batch->n;
        f->account->record.bytes_fetched += batch->bytes;
        if (o->mail_arrived)
                o->mail_arrived(o->userdata, f->account, batch->n, batch->bytes);
        fetch_publish(f, false);
        return r;
}

/* The order is the promise: content, directory, "staged", name, directory. */
static int batch_commit(Fetch *f, Batch *batch)
{
        int fds[BATCH_MESSAGES];
        int r;

        memcpy(fds, batch->fds, sizeof(fds));
        for (size_t i = 0; i < batch->n; i++)
                batch->fds[i] = -1;
        r = maildir_sync_files(f->maildir, f->core->disk, fds, batch->n);
        if (r == 0)
                r = batch_stage(f, batch);
        if (r == 0)
                r = maildir_deliver(f->maildir, f->core->disk, batch->rows, batch->n);
        return r < 0 ? r : batch_note(f, batch);
}

static int fetch_commit_work(void *arg)
{
        Fetch *f = arg;
        int r = 0;

        for (;;) {
                Batch *batch;

                while (f->n_queue == 0 && !f->reading_over) {
                        r = fiber_queue_wait(&f->to_commit);
                        if (r < 0)
                                return r;
                }
                if (f->n_queue == 0)
                        return 0;
                batch = f->queue[0];
                r = batch_commit(f, batch);
                batch_free(batch);
                memmove(f->queue, f->queue + 1, --f->n_queue * sizeof(*f->queue));
                f->commit_result = r;
                fiber_queue_wake_all(&f->committed);
                if (r < 0)
                        return r;
        }
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static int out_flush(Fetch *f)
{
        size_t written = 0;

        while (written < f->out_len) {
                ssize_t n = write(f->fd, f->out + written, f->out_len - written);

                if (n < 0 && errno != EINTR)
                        return -errno;
                written += n > 0 ? (size_t) n : 0;
        }
        f->out_len = 0;
        return 0;
}

static int batch_hand_over(Fetch *f)
{
        int r = 0;

        if (!f->filling || f->filling->n == 0)
                return 0;
        while (f->n_queue == BATCHES_WAITING && f->commit_result == 0 && r == 0)
                r = fiber_queue_wait(&f->committed);
        if (r < 0 || f->commit_result < 0)
                return r < 0 ? r : f->commit_result;
        f->queue[f->n_queue++] = TAKE(f->filling);
        fiber_queue_wake_all(&f->to_commit);
        return 0;
}

/* Where many accounts fetch at once descriptors are short: this one's go first, then it tries again. */
static int file_create(Fetch *f)
{
        int fd = maildir_create(f->maildir, f->row), r;

        if (fd != -EMFILE && fd != -ENFILE)
                return fd;
        r = batch_hand_over(f);
        while (f->n_queue > 0 && f->commit_result == 0 && r == 0)
                r = fiber_queue_wait(&f->committed);
        if (r < 0 || f->commit_result < 0)
                return r < 0 ? r : f->commit_result;
        return maildir_create(f->maildir, f->row);
}

static int sink_begin(void *userdata, size_t index)
{
        Fetch *f = userdata;

        if (f->commit_result < 0)
                return f->commit_result;
        f->row = f->fresh[index]->row;
        f->size = 0;
        f->out_len = 0;
        buffer_clear(&f->head);
        f->fd = file_create(f);
        return f->fd < 0 ? f->fd : 0;
}

static int sink_data(void *userdata, size_t index, const char *data, size_t len)
{
        Fetch *f = userdata;

        f->size += len;
        f->run.bytes += len;
        if (f->account->verify_token[0] && f->head.len < VERIFY_HEAD)
                (void) buffer_append(&f->head, data, MIN(len, VERIFY_HEAD - f->head.len));
        while (len > 0) {
                size_t n = MIN(len, WRITE_BUFFER - f->out_len);
                int r;

                memcpy(f->out + f->out_len, data, n);
                f->out_len += n;
                data += n;
                len -= n;
                if (f->out_len < WRITE_BUFFER)
                        continue;
                r = out_flush(f);
                if (r < 0)
                        return r;
        }
        fetch_publish(f, false);
        return 0;
}

/* A setup may be looking for its verification mail: it waits for us to let go of the maildrop, so we tell it. */
static void sink_look(Fetch *f)
{
        Account *a = f->account;

        if (!a->verify_token[0] || a->verify_match == VERIFICATION_OURS || !f->head.data)
                return;
        a->verify_match = verification_match(f->head.data, f->head.len, a->verify_token);
        if (a->verify_match != VERIFICATION_NO && a->verify_queue)
                fiber_queue_wake_all(a->verify_queue);
}

static int sink_end(void *userdata, size_t index)
{
        Fetch *f = userdata;
        Batch *b;
        int r;

        r = out_flush(f);
        if (r < 0)
                return r;
        sink_look(f);
        if (!f->filling) {
                f->filling = calloc(1, sizeof(*f->filling));
                if (!f->filling)
                        return -ENOMEM;
                f->filling->begun_usec = clock_now();
        }
        b = f->filling;
        b->rows[b->n] = f->row;
        b->sizes[b->n] = f->size;
        b->numbers[b->n] = f->fresh[index]->number;
        b->bytes += f->size;
        b->fds[b->n++] = f->fd;
        f->fd = -1;
        if (b->n < BATCH_MESSAGES && b->bytes < BATCH_BYTES &&
            clock_now() - b->begun_usec < BATCH_USEC)
                return 0;
        return batch_hand_over(f);
}

/* One that cannot be read does not hold up the others. */
static int sink_refused(void *userdata, size_t index, const Outcome *no)
{
        Fetch *f = userdata;

        f->run.skipped++;
        return text_set(&f->run.text, no->text);
}

static int fetch_read(Fetch *f)
{
        static const Pop3Sink sink = { sink_begin, sink_data, sink_end, sink_refused };
        int r, committed;

        if (f->n_fresh == 0)
                return 0;
        f->out = malloc(WRITE_BUFFER);
        if (!f->out)
                return -ENOMEM;
        r = fetch_reserve(f);
        if (r == 0)
                r = fiber_start(&f->committer, "commit", fetch_commit_work, f);
        if (r < 0)
                return r;
        r = pop3_retrieve(f->session.pop3, f->numbers, f->n_fresh, &sink, f, &f->no);
        /* What was read completely is delivered, however the dialogue ended; what was not is no use to anybody and would only fill
         * the disk. */
        if (f->fd >= 0)
                (void) maildir_discard(f->maildir, f->row);
        f->fd = fd_close(f->fd);
        committed = r == -ECANCELED ? 0 : batch_hand_over(f);
        f->reading_over = true;
        fiber_queue_wake_all(&f->to_commit);
        if (r != -ECANCELED && committed == 0)
                committed = fiber_join(&f->committer, NULL);
        if (committed == 0)
                committed = f->commit_result;
        return committed < 0 ? committed : r;
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

static int fetch_list(Fetch *f)
{
        const Pop3Capabilities *c = pop3_capabilities(f->session.pop3);
        int r;

        if (c->known && !c->uidl) {
                outcome_set(&f->no, OUTCOME_NOT_OFFERED, PHASE_UIDL);
                outcome_set_text(&f->no, "UIDL", 4);
                return 1;
        }
        if (c->pipelining)
                return pop3_uidl_and_list(f->session.pop3, fetch_on_uidl, fetch_on_size, f, &f->no);
        r = pop3_uidl(f->session.pop3, fetch_on_uidl, f, &f->no);
        if (r == 0 && f->n_entries > 0)
                r = pop3_list(f->session.pop3, fetch_on_size, f, &f->no);
        return r;
}

/* DELE, and QUIT, whose answer alone makes it true (RFC 1939 section 6). */
static int fetch_delete(Fetch *f)
{
        _cleanup_free_ bool *deleted = NULL;
        int r;

        /* Somebody may have chosen to keep the mail after all while it was read. */
        if (f->n_deletable == 0 || f->account->record.keep != KEEP_NOT)
                return 0;
        deleted = calloc(f->n_deletable, sizeof(*deleted));
        if (!deleted)
                return -ENOMEM;
        r = pop3_delete(f->session.pop3, f->deletable, f->n_deletable, deleted, &f->no);
        if (r == 0)
                r = pop3_quit(f->session.pop3, &f->no);
        for (size_t i = 0; i < f->n_deletable && r == 0; i++)
                if (deleted[i]) {
                        f->run.deleted++;
                        r = fetch_drop(f, f->deletable_rows[i]);
                }
        return r;
}

static int fetch_dialogue(Fetch *f)
{
        int r;

        r = fetch_sign_in(f);
        if (r < 0 || f->finding.status == STEP_FAILED)
                return r;
        finding_clear(&f->finding);
        r = fetch_list(f);
        if (r == 0)
                r = fetch_identify(f);
        if (r == 0)
                r = fetch_choose(f);
        if (r == 0) {
                fetch_publish(f, true);
                r = fetch_read(f);
        }
        if (r == 0)
                r = fetch_delete(f);
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
                r = store_run_end(f->core->store, &a->record, &f->run,
                                  f->done ? f->done + f->n_done_told : NULL,
                                  f->n_done - f->n_done_told, f->dropped, f->n_dropped);
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
                                .policy = core_policy(f->core, true) };
        f->head = BUFFER(VERIFY_HEAD + 1);
        a->run_manual = false;
        fetch_publish(f, true);
        return account_take_maildrop(a);
}

int fetch_run(void *arg)
{
        Account *a = arg;
        Fetch f = { .account = a, .core = a->core, .fd = -1 };
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
