/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See delivery.h. Not a protocol and not a Maildir: it is what lies between. Surprising: "done" is never a commit of its own, it
 * rides on the next one, because a row that says "staged" for a delivered message costs nothing but a rename that finds nothing. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/delivery.h"
#include "core/delivery_lmtp.h"
#include "core/directory.h"

enum {
        BATCH_MESSAGES = 128,
        BATCH_BYTES = 8 * 1024 * 1024,
        BATCHES_WAITING = 2, /* read ahead of the disk */
        WRITE_BUFFER = 128 * 1024,
};

#define BATCH_USEC \
        (500 * USEC_PER_MSEC) /* a slow server's messages do not wait long for their batch */

typedef struct Batch {
        Delivered messages[BATCH_MESSAGES];
        int fds[BATCH_MESSAGES];
        size_t n;
        uint64_t bytes, begun_usec;
} Batch;

typedef struct Rows {
        uint64_t *rows;
        size_t n, n_allocated;
} Rows;

struct Delivery {
        Account *account;
        Core *core;
        Maildir *maildir, *folder; /* folder: where messages go, NULL into the Maildir itself */
        char *folder_name;
        const DeliveryEvents *events;
        bool by_lmtp;
        Lmtp lmtp;
        void *userdata;
        /* writing */
        Batch *filling;
        int fd;
        Delivered message;
        char *out;
        size_t out_len;
        /* committing */
        Batch *queue[BATCHES_WAITING];
        size_t n_queue;
        int result;
        Fiber *committer;
        FiberQueue to_commit, committed;
        Rows done, dropped; /* delivered, not needed any more: the next commit says so */
        size_t n_done_told;
};

static Batch *batch_free(Batch *batch)
{
        if (!batch)
                return NULL;
        for (size_t i = 0; i < batch->n; i++)
                fd_close(batch->fds[i]);
        free(batch);
        return NULL;
}

Delivery *delivery_free(Delivery *delivery)
{
        if (!delivery)
                return NULL;
        delivery->committer = fiber_cancel(delivery->committer);
        batch_free(delivery->filling);
        for (size_t i = 0; i < delivery->n_queue; i++)
                batch_free(delivery->queue[i]);
        fd_close(delivery->fd);
        maildir_free(delivery->folder);
        maildir_free(delivery->maildir);
        free(delivery->folder_name);
        lmtp_deinit(&delivery->lmtp);
        free(delivery->out);
        free(delivery->done.rows);
        free(delivery->dropped.rows);
        free(delivery);
        return NULL;
}

int delivery_open(Delivery **ret, Account *account, const DeliveryEvents *events, void *userdata)
{
        _cleanup_(delivery_freep) Delivery *delivery = calloc(1, sizeof(*delivery));
        int r;

        if (!delivery)
                return -ENOMEM;
        *delivery = (Delivery){ .account = account,
                                .core = account->core,
                                .events = events,
                                .userdata = userdata,
                                .fd = -1 };
        r = maildir_open(&delivery->maildir, account->record.location, account->record.uid);
        delivery->by_lmtp = text_equal(account->record.delivery, "lmtp");
        if (r == 0 && delivery->by_lmtp)
                r = lmtp_init(&delivery->lmtp, account->core->config, account->record.user_name);
        if (r < 0)
                return r;
        *ret = TAKE(delivery);
        return 0;
}

static int rows_append(Rows *to, uint64_t row)
{
        if (to->n == to->n_allocated) {
                size_t wanted = to->n_allocated ? 2 * to->n_allocated : 64;
                uint64_t *grown = reallocarray(to->rows, wanted, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                to->rows = grown;
                to->n_allocated = wanted;
        }
        to->rows[to->n++] = row;
        return 0;
}

static int folder_open(Delivery *d, const char *name)
{
        d->folder = maildir_free(d->folder);
        if (text_set(&d->folder_name, name) < 0)
                return -ENOMEM;
        return name ? maildir_open_folder(&d->folder, d->account->record.location, name,
                                          d->account->record.uid)
                    : 0;
}

/* Those of @staged from @from on that go to the same place as that one; their entries are emptied. */
static int recover_folder(Delivery *d, const MessageRecord **staged, size_t n_staged, size_t from)
{
        _cleanup_free_ uint64_t *rows = calloc(n_staged, sizeof(*rows));
        _cleanup_free_ uint8_t *flags = calloc(n_staged, sizeof(*flags));
        const char *folder = staged[from]->folder;
        size_t n = 0;
        int r;

        if (!rows || !flags)
                return -ENOMEM;
        for (size_t i = from; i < n_staged; i++) {
                if (!staged[i] || !text_equal(staged[i]->folder, folder))
                        continue;
                rows[n] = staged[i]->row;
                flags[n++] = (uint8_t) staged[i]->flags;
                staged[i] = NULL;
        }
        r = folder_open(d, folder);
        if (r == 0)
                r = maildir_deliver_to(d->maildir, d->folder, d->core->disk, rows, flags, n);
        for (size_t i = 0; i < n && r == 0; i++)
                r = rows_append(&d->done, rows[i]);
        return r;
}

int delivery_recover(Delivery *delivery, const MessageRecord *const *staged, size_t n_staged)
{
        _cleanup_free_ uint64_t *rows = calloc(n_staged + 1, sizeof(*rows));
        _cleanup_free_ const MessageRecord **left = calloc(n_staged + 1, sizeof(*left));
        int r;

        if (!rows || !left)
                return -ENOMEM;
        for (size_t i = 0; i < n_staged; i++) {
                rows[i] = staged[i]->row;
                left[i] = staged[i];
        }
        r = maildir_clean(delivery->maildir, rows, n_staged);
        for (size_t i = 0; i < n_staged && r == 0; i++)
                if (left[i])
                        r = recover_folder(delivery, left, n_staged, i);
        return r < 0 ? r : folder_open(delivery, NULL);
}

int delivery_drop(Delivery *delivery, uint64_t row)
{
        return rows_append(&delivery->dropped, row);
}

MessageChanges delivery_unsettled(const Delivery *delivery)
{
        if (!delivery)
                return (MessageChanges){};
        return (MessageChanges){
                .done = delivery->done.rows ? delivery->done.rows + delivery->n_done_told : NULL,
                .n_done = delivery->done.n - delivery->n_done_told,
                .dropped = delivery->dropped.rows,
                .n_dropped = delivery->dropped.n,
        };
}

int delivery_settle(Delivery *delivery)
{
        MessageChanges changes = delivery_unsettled(delivery);
        size_t n_done = delivery->done.n, n_dropped = delivery->dropped.n;
        int r;

        r = store_messages_stage(delivery->core->store, delivery->account->record.id, NULL, 0,
                                 &changes);
        if (r < 0)
                return r;
        delivery->n_done_told = n_done;
        delivery->dropped.n -= n_dropped;
        if (delivery->dropped.n == 0)
                return 0;
        memmove(delivery->dropped.rows, delivery->dropped.rows + n_dropped,
                delivery->dropped.n * sizeof(*delivery->dropped.rows));
        return 0;
}

/* --- committing -------------------------------------------------------------------------------------------------------- */

static int batch_stage(Delivery *d, const Batch *batch)
{
        MessageRecord staged[BATCH_MESSAGES] = {};
        size_t n_done = d->done.n;
        MessageChanges rest = delivery_unsettled(d);
        int r;

        for (size_t i = 0; i < batch->n; i++) {
                const Delivered *m = &batch->messages[i];

                staged[i] = (MessageRecord){ .row = m->row,
                                             .state = MESSAGE_STAGED,
                                             .size = m->size,
                                             .octets = m->octets,
                                             .has_digest = true,
                                             .delivered_usec = clock_real(),
                                             .flags = m->flags,
                                             .folder = d->folder_name };
                memcpy(staged[i].digest, m->digest, DIGEST_LEN);
        }
        rest.n_dropped = 0; /* at the run's end, or by delivery_settle() */
        r = store_messages_stage(d->core->store, d->account->record.id, staged, batch->n, &rest);
        if (r == 0)
                d->n_done_told = n_done;
        return r;
}

const char *delivery_cause(const Delivery *delivery, const char **ret_why)
{
        *ret_why = delivery->lmtp.no.text[0] ? delivery->lmtp.no.text : NULL;
        return lmtp_cause(&delivery->lmtp);
}

/* LMTP: what its server has taken is told to the store at once, so that a crash can double one message at most. The file was a
 * place to wait. */
static int message_hand_over(Delivery *d, const Delivered *m, int fd)
{
        MessageRecord done = { .row = m->row,
                               .state = MESSAGE_DONE,
                               .size = m->size,
                               .octets = m->octets,
                               .has_digest = true,
                               .delivered_usec = clock_real() };
        MessageChanges changes = { .updated = &done, .n_updated = 1 };
        char id[ID_SIZE + 24];
        int r;

        snprintf(id, sizeof(id), "%s-%ju", d->account->record.id, (uintmax_t) m->row);
        r = d->core->config->lmtp_socket ? lmtp_deliver(&d->lmtp, fd, id) : -EREMOTEIO;
        if (r == 1)
                return d->events->rejected(d->userdata, m,
                                           d->lmtp.no.text[0] ? d->lmtp.no.text : "refused");
        if (r != 0)
                return r < 0 ? r : -EREMOTEIO;
        memcpy(done.digest, m->digest, DIGEST_LEN);
        r = store_messages_stage(d->core->store, d->account->record.id, NULL, 0, &changes);
        return r < 0 ? r : d->events->delivered(d->userdata, m, 1, m->size);
}

static int batch_hand_over_by_lmtp(Delivery *d, Batch *batch)
{
        int r = 0;

        for (size_t i = 0; i < batch->n && r == 0; i++) {
                r = message_hand_over(d, &batch->messages[i], batch->fds[i]);
                batch->fds[i] = fd_close(batch->fds[i]);
        }
        for (size_t i = 0; i < batch->n; i++)
                (void) maildir_discard(d->maildir, batch->messages[i].row);
        return r;
}

/* The order is the promise: content, directory, "staged", name, directory. */
static int batch_commit(Delivery *d, Batch *batch)
{
        uint64_t rows[BATCH_MESSAGES];
        uint8_t flags[BATCH_MESSAGES];
        int fds[BATCH_MESSAGES];
        int r;

        memcpy(fds, batch->fds, sizeof(fds));
        for (size_t i = 0; i < batch->n; i++) {
                batch->fds[i] = -1;
                rows[i] = batch->messages[i].row;
                flags[i] = (uint8_t) batch->messages[i].flags;
        }
        r = maildir_sync_files(d->maildir, d->core->disk, fds, batch->n);
        if (r == 0)
                r = batch_stage(d, batch);
        if (r == 0)
                r = maildir_deliver_to(d->maildir, d->folder, d->core->disk, rows, flags, batch->n);
        for (size_t i = 0; i < batch->n && r == 0; i++)
                r = rows_append(&d->done, rows[i]);
        return r < 0 ? r
                     : d->events->delivered(d->userdata, batch->messages, batch->n, batch->bytes);
}

static int committer_work(void *arg)
{
        Delivery *d = arg;
        int r;

        for (;;) {
                Batch *batch;

                while (d->n_queue == 0) {
                        r = fiber_queue_wait(&d->to_commit);
                        if (r < 0)
                                return r;
                }
                batch = d->queue[0];
                r = d->by_lmtp ? batch_hand_over_by_lmtp(d, batch) : batch_commit(d, batch);
                batch_free(batch);
                memmove(d->queue, d->queue + 1, --d->n_queue * sizeof(*d->queue));
                d->result = r;
                fiber_queue_wake_all(&d->committed);
                if (r < 0)
                        return r;
        }
}

/* Waits until at most @n batches wait for the disk. */
static int committer_wait(Delivery *d, size_t n)
{
        int r = 0;

        while (d->n_queue > n && d->result == 0 && r == 0)
                r = fiber_queue_wait(&d->committed);
        return r < 0 ? r : d->result;
}

static int batch_hand_over(Delivery *d)
{
        int r;

        if (!d->filling || d->filling->n == 0)
                return d->result;
        r = committer_wait(d, BATCHES_WAITING - 1);
        if (r == 0 && !d->committer)
                r = fiber_start(&d->committer, "commit", committer_work, d);
        if (r < 0)
                return r;
        d->queue[d->n_queue++] = TAKE(d->filling);
        fiber_queue_wake_all(&d->to_commit);
        return 0;
}

int delivery_flush(Delivery *delivery)
{
        int r = batch_hand_over(delivery);

        return r < 0 ? r : committer_wait(delivery, 0);
}

int delivery_into(Delivery *delivery, const char *folder)
{
        int r;

        if (delivery->by_lmtp || text_equal(delivery->folder_name, folder))
                return 0;
        r = delivery_flush(delivery);
        return r < 0 ? r : folder_open(delivery, folder);
}

/* --- writing ----------------------------------------------------------------------------------------------------------- */

static int out_flush(Delivery *d)
{
        size_t written = 0;

        while (written < d->out_len) {
                ssize_t n = write(d->fd, d->out + written, d->out_len - written);

                if (n < 0 && errno != EINTR)
                        return -errno;
                written += n > 0 ? (size_t) n : 0;
        }
        d->out_len = 0;
        return 0;
}

/* Where many accounts fetch at once descriptors are short: this one's go first, then it tries again. */
static int file_create(Delivery *d, uint64_t row)
{
        int fd = maildir_create(d->maildir, row), r;

        if (fd != -EMFILE && fd != -ENFILE)
                return fd;
        r = delivery_flush(d);
        return r < 0 ? r : maildir_create(d->maildir, row);
}

int delivery_begin(Delivery *delivery, const Delivered *message)
{
        if (delivery->result < 0)
                return delivery->result;
        if (!delivery->out)
                delivery->out = malloc(WRITE_BUFFER);
        if (!delivery->out)
                return -ENOMEM;
        delivery->message = *message;
        delivery->message.size = 0;
        delivery->out_len = 0;
        delivery->fd = file_create(delivery, message->row);
        return MIN(delivery->fd, 0);
}

int delivery_write(Delivery *delivery, const char *data, size_t len)
{
        delivery->message.size += len;
        while (len > 0) {
                size_t n = MIN(len, WRITE_BUFFER - delivery->out_len);
                int r;

                memcpy(delivery->out + delivery->out_len, data, n);
                delivery->out_len += n;
                data += n;
                len -= n;
                if (delivery->out_len < WRITE_BUFFER)
                        continue;
                r = out_flush(delivery);
                if (r < 0)
                        return r;
        }
        return 0;
}

uint64_t delivery_size(const Delivery *delivery)
{
        return delivery->message.size;
}

int delivery_end(Delivery *delivery, const uint8_t digest[DIGEST_LEN], unsigned flags)
{
        Batch *b;
        int r;

        memcpy(delivery->message.digest, digest, DIGEST_LEN);
        delivery->message.flags = flags;
        r = out_flush(delivery);
        if (r < 0)
                return r;
        /* One that could not be handed over, when the fetch was cancelled for instance, is still here and full. */
        if (delivery->filling && delivery->filling->n == BATCH_MESSAGES) {
                r = batch_hand_over(delivery);
                if (r < 0)
                        return r;
        }
        if (!delivery->filling) {
                delivery->filling = calloc(1, sizeof(*delivery->filling));
                if (!delivery->filling)
                        return -ENOMEM;
                delivery->filling->begun_usec = clock_now();
        }
        b = delivery->filling;
        b->bytes += delivery->message.size;
        b->messages[b->n] = delivery->message;
        b->fds[b->n++] = fd_take(&delivery->fd);
        if (b->n < BATCH_MESSAGES && b->bytes < BATCH_BYTES &&
            clock_now() - b->begun_usec < BATCH_USEC)
                return 0;
        return batch_hand_over(delivery);
}

void delivery_abandon(Delivery *delivery)
{
        if (delivery->fd < 0)
                return;
        delivery->fd = fd_close(delivery->fd);
        (void) maildir_discard(delivery->maildir, delivery->message.row);
}
