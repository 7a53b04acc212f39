/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a run knows of messages: the store's rows, what of them the server still lists, which of the listed ones are new, and how a
 * message is recognised whose name has changed. Never by its header alone: only octets that are all the same are the same mail. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/fetch.h"

enum {
        RESERVE_CHUNK = 5000, /* rows of one commit */
};

/* Rows of mail that stays on the server outlive its absence by far: a provider that shows a part of the mailbox, or loses its list
 * for a day, would have us fetch everything again. */
#define ABSENT_USEC (365 * USEC_PER_DAY)
#define SKIPPED_AGAIN_USEC USEC_PER_DAY

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

void fetch_items_deinit(Fetch *f)
{
        for (size_t i = 0; i < f->n_known; i++)
                message_record_deinit(&f->known[i].record);
        for (size_t i = 0; i < f->n_updated; i++)
                message_record_deinit(&f->updated[i]);
        free(f->known);
        free(f->updated);
        free(f->expected);
        identity_free(f->identity);
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

static int load_known(void *userdata, const MessageRecord *record)
{
        Fetch *f = userdata;
        MessageRecord *known;
        int r = GROW(f->known, f->n_known_allocated, f->n_known);

        if (r < 0)
                return r;
        f->known[f->n_known] = (FetchKnown){ .record = *record };
        known = &f->known[f->n_known].record;
        known->uidl = strdup(record->uidl);
        known->reason = known->folder = NULL;
        if (!known->uidl)
                return -ENOMEM;
        f->n_known++;
        return text_set(&known->reason, record->reason) < 0 ||
                               text_set(&known->folder, record->folder) < 0
                       ? -ENOMEM
                       : 0;
}

int fetch_load_known(Fetch *f)
{
        return store_messages(f->core->store, f->account->record.id, load_known, f);
}

void fetch_sort_known(Fetch *f)
{
        if (f->n_known > 1)
                qsort(f->known, f->n_known, sizeof(*f->known), known_compare);
}

int fetch_update(Fetch *f, const MessageRecord *record)
{
        MessageRecord *to;
        int r = GROW(f->updated, f->n_updated_allocated, f->n_updated);

        if (r < 0)
                return r;
        to = &f->updated[f->n_updated];
        *to = *record;
        to->uidl = to->reason = to->folder = NULL; /* the folder does not change */
        if (text_set(&to->uidl, record->uidl) < 0)
                return -ENOMEM;
        f->n_updated++;
        return text_set(&to->reason, record->reason);
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
                f->n_known_listed += item->known;
                item->stored = &f->known[k];
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

/* --- the same message under another name -------------------------------------------------------------------------------- */

static int expected_compare(const void *a, const void *b)
{
        const FetchKnown *x = *(FetchKnown *const *) a, *y = *(FetchKnown *const *) b;

        return memcmp(x->record.digest, y->record.digest, DIGEST_LEN);
}

int fetch_expect_renamed(Fetch *f)
{
        f->n_expected = 0;
        free(f->expected);
        f->expected = calloc(f->n_known + 1, sizeof(*f->expected));
        if (!f->expected)
                return -ENOMEM;
        for (size_t i = 0; i < f->n_known; i++) {
                FetchKnown *known = &f->known[i];

                if (!known->listed && known->record.state == MESSAGE_DONE &&
                    known->record.has_digest)
                        f->expected[f->n_expected++] = known;
        }
        if (f->n_expected > 1)
                qsort(f->expected, f->n_expected, sizeof(*f->expected), expected_compare);
        return 0;
}

/* The first of those with this digest that has not been found yet: each stands for one message. */
static FetchKnown *expected_find(Fetch *f, const uint8_t digest[DIGEST_LEN])
{
        size_t low = 0, high = f->n_expected;

        while (low < high) {
                size_t middle = (low + high) / 2;

                if (memcmp(f->expected[middle]->record.digest, digest, DIGEST_LEN) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (; low < f->n_expected &&
               memcmp(f->expected[low]->record.digest, digest, DIGEST_LEN) == 0;
             low++)
                if (!f->expected[low]->found)
                        return f->expected[low];
        return NULL;
}

int fetch_recognise(Fetch *f, FetchItem *item, const uint8_t digest[DIGEST_LEN], uint64_t size)
{
        FetchKnown *known = expected_find(f, digest);
        MessageRecord record;
        int r;

        if (!known || known->record.size != size)
                return 0;
        known->found = true;
        record = known->record;
        record.row = item->row;
        record.octets = item->octets;
        record.absent_usec = 0;
        r = fetch_update(f, &record);
        if (r == 0)
                r = delivery_drop(f->delivery, known->record.row);
        item->known = true;
        item->proven = text_equal(known->record.uidl, item->uidl);
        f->run.duplicates++;
        return r < 0 ? r : 1;
}

int fetch_mistrust(Fetch *f, FetchItem *item)
{
        FetchKnown *known = item->stored;

        known->listed = false;
        item->known = false;
        item->stored = NULL;
        item->row = 0;
        f->n_known_listed--;
        f->mistrusted = true;
        return delivery_drop(f->delivery, known->record.row);
}

/* --- what is read ---------------------------------------------------------------------------------------------------------- */

bool fetch_due_for_deletion(const Fetch *f, const FetchItem *item)
{
        const AccountRecord *a = &f->account->record;

        switch (a->keep) {
        case KEEP_ON_SERVER:
                return false;
        case KEEP_NOT:
                return true;
        case KEEP_DAYS:
                return item->stored && item->stored->record.delivered_usec &&
                       item->stored->record.delivered_usec + a->keep_days * USEC_PER_DAY <=
                               clock_real();
        }
        return false;
}

/* Three times it could not be read: only when somebody asks for it, or a day later. One that is too large: only when somebody asks. */
static bool item_skipped(const Fetch *f, const FetchItem *item)
{
        const FetchKnown *stored = item->stored;

        if (!stored || stored->record.tries < FETCH_TRIES || f->with_skipped)
                return false;
        return stored->record.tries > FETCH_TRIES ||
               stored->record.delivered_usec + SKIPPED_AGAIN_USEC > clock_real();
}

static const char *skipped_cause(const FetchItem *item)
{
        const MessageRecord *stored = &item->stored->record;

        if (stored->tries == FETCH_TRIES)
                return "fetch.message-unreadable";
        return text_equal(stored->reason, FETCH_TOO_LARGE) ? "fetch.message-too-large"
                                                           : "delivery.message-refused";
}

/* A size is a hint only: what claims to be too large is tried, and stopped where it is. */
static bool item_large(const Fetch *f, const FetchItem *item)
{
        return item->octets > f->core->config->message_maximum;
}

static bool item_last(const Fetch *f, const FetchItem *item)
{
        return (item->stored && item->stored->record.tries > 0) || item_large(f, item);
}

int fetch_choose(Fetch *f, FetchItem *items, size_t n_items, FetchItem ***ret, size_t *ret_n)
{
        const Config *config = f->core->config;
        FetchItem **chosen = calloc(n_items + 1, sizeof(*chosen));
        uint64_t bytes = 0, budget = MIN(config->run_bytes, f->quota);
        size_t n = 0;
        int r = 0;

        if (!chosen)
                return -ENOMEM;
        /* Those that failed before come last: whatever they do, they hold nobody up. */
        for (int last = 0; last < 2; last++)
                for (size_t i = 0; i < n_items && r == 0; i++) {
                        FetchItem *item = &items[i];

                        if (item->known || item_last(f, item) != last)
                                continue;
                        f->run.fresh++;
                        if (item_skipped(f, item)) {
                                f->run.skipped++;
                                r = fetch_note(f, skipped_cause(item));
                        } else if (n == config->run_messages ||
                                   (n > 0 &&
                                    bytes + (item_large(f, item) ? 0 : item->octets) > budget))
                                f->run.left++;
                        else {
                                chosen[n++] = item;
                                bytes += item_large(f, item) ? 0 : item->octets;
                        }
                }
        if (r < 0) {
                free(chosen);
                return r;
        }
        f->total_bytes = bytes;
        f->total_messages = n;
        *ret = chosen;
        *ret_n = n;
        return 0;
}

int fetch_note_failed(Fetch *f, const FetchItem *item, const char *reason, bool for_good)
{
        _cleanup_(message_record_deinit) MessageRecord record = {
                .row = item->row,
                .octets = item->octets,
                .tries = for_good ? FETCH_TRIES + 1
                                  : (item->stored ? item->stored->record.tries : 0) + 1,
                .delivered_usec = clock_real(),
        };

        if (!item->row)
                return 0;
        return text_set(&record.reason, reason) < 0 ? -ENOMEM : fetch_update(f, &record);
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

        /* The store would give the row of the one that was not the same. */
        if (f->mistrusted)
                r = delivery_settle(f->delivery);
        for (size_t from = 0; from < n_items && r == 0; from += RESERVE_CHUNK)
                r = fetch_reserve_chunk(f, items + from,
                                        MIN(n_items - from, (size_t) RESERVE_CHUNK));
        return r;
}

/* --- what is not there any more -------------------------------------------------------------------------------------------- */

/* Known, but not listed. Where mail is deleted, we have done that ourselves and did not come to note it; the server may give the UIDL
 * to another message now (RFC 1939 section 7). Where mail stays, the row does, too. */
static int known_absent(Fetch *f, FetchKnown *known)
{
        MessageRecord *record = &known->record;
        uint64_t now = clock_real();

        if (record->state == MESSAGE_RESERVED ||
            (f->account->record.keep == KEEP_NOT && !f->protocol->names_last) ||
            (record->absent_usec && record->absent_usec + ABSENT_USEC < now))
                return delivery_drop(f->delivery, record->row);
        if (record->absent_usec)
                return 0;
        /* Rows of what we have deleted are left to be found here. */
        if (!f->protocol->names_last || f->account->record.keep == KEEP_ON_SERVER)
                f->run.gone++;
        record->absent_usec = now;
        return fetch_update(f, record);
}

int fetch_note_absent(Fetch *f)
{
        int r = 0;

        for (size_t i = 0; i < f->n_known && r == 0; i++) {
                FetchKnown *known = &f->known[i];

                if (!known->listed && !known->found)
                        r = known_absent(f, known);
                else if (known->listed && known->record.absent_usec) {
                        known->record.absent_usec = 0;
                        r = fetch_update(f, &known->record);
                }
        }
        return r;
}
