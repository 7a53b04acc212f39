/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POP3's half of a run: what the server lists, which of it is new, reading it, deleting it. Deleting begins only when everything
 * that was read has been delivered. */
#include <string.h>

#include "base/text.h"
#include "core/fetch.h"

typedef struct Pop3Run {
        /* the server's list */
        FetchItem *items;
        size_t n_items, n_allocated;
        /* what is to be read */
        FetchItem **fresh;
        uint32_t *numbers;
        size_t n_fresh;
        uint32_t *deletable; /* numbers whose mail is delivered for good */
        uint64_t *deletable_rows;
        size_t n_deletable, n_deletable_allocated;
} Pop3Run;

static void pop3_run_deinit(Fetch *f)
{
        Pop3Run *run = f->state;

        for (size_t i = 0; i < run->n_items; i++)
                free(run->items[i].uidl);
        free(run->items);
        free(run->fresh);
        free(run->numbers);
        free(run->deletable);
        free(run->deletable_rows);
}

/* --- what the server lists --------------------------------------------------------------------------------------------- */

static int list_on_uidl(void *userdata, uint32_t number, const char *uidl)
{
        Pop3Run *run = ((Fetch *) userdata)->state;
        int r = GROW(run->items, run->n_allocated, run->n_items);

        if (r < 0)
                return r;
        run->items[run->n_items] = (FetchItem){ .number = number, .uidl = strdup(uidl) };
        return run->items[run->n_items].uidl ? (int) (run->n_items++, 0) : -ENOMEM;
}

static int list_on_size(void *userdata, uint32_t number, uint64_t octets)
{
        Pop3Run *run = ((Fetch *) userdata)->state;
        size_t low = 0, high = run->n_items;

        /* Both lists ascend on every server that keeps to RFC 1939; where one does not, the hint is missing. */
        while (low < high) {
                size_t middle = (low + high) / 2;

                if (run->items[middle].number == number) {
                        run->items[middle].octets = octets;
                        return 0;
                }
                if (run->items[middle].number < number)
                        low = middle + 1;
                else
                        high = middle;
        }
        return 0;
}

static int run_list(Fetch *f)
{
        const Pop3Capabilities *c = pop3_capabilities(f->session.pop3);
        Pop3Run *run = f->state;
        int r;

        if (c->known && !c->uidl) {
                outcome_set(&f->no, OUTCOME_NOT_OFFERED, PHASE_UIDL);
                outcome_set_text(&f->no, "UIDL", 4);
                return 1;
        }
        if (c->pipelining)
                return pop3_uidl_and_list(f->session.pop3, list_on_uidl, list_on_size, f, &f->no);
        r = pop3_uidl(f->session.pop3, list_on_uidl, f, &f->no);
        if (r == 0 && run->n_items > 0)
                r = pop3_list(f->session.pop3, list_on_size, f, &f->no);
        return r;
}

/* Known, but not listed. Where mail is deleted, we have done that ourselves and did not come to note it; the server may give the UIDL
 * to another message now (RFC 1939 section 7), which would be taken for this one and deleted unread. Where mail stays, the row does,
 * too: a server that loses its list for a day would have us fetch everything again. */
static int run_forget_absent(Fetch *f)
{
        int r = 0;

        for (size_t i = 0; i < f->n_known && r == 0; i++) {
                const MessageRecord *known = &f->known[i].record;

                if (!f->known[i].listed &&
                    (known->state == MESSAGE_RESERVED ||
                     (known->state == MESSAGE_DONE && f->account->record.keep == KEEP_NOT)))
                        r = delivery_drop(f->delivery, known->row);
        }
        return r;
}

static int run_note_deletable(Pop3Run *run, uint32_t number, uint64_t row)
{
        size_t allocated = run->n_deletable_allocated;
        int r = GROW(run->deletable, run->n_deletable_allocated, run->n_deletable);

        if (r == 0)
                r = GROW(run->deletable_rows, allocated, run->n_deletable);
        if (r < 0)
                return r;
        run->deletable[run->n_deletable] = number;
        run->deletable_rows[run->n_deletable++] = row;
        return 0;
}

static int run_choose(Fetch *f)
{
        Pop3Run *run = f->state;
        int r = 0;

        run->fresh = calloc(run->n_items + 1, sizeof(*run->fresh));
        run->numbers = calloc(run->n_items + 1, sizeof(*run->numbers));
        if (!run->fresh || !run->numbers)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_items && r == 0; i++) {
                FetchItem *item = &run->items[i];

                if (item->known) {
                        /* Delivered before, still there: an earlier session did not come to its QUIT. */
                        if (f->account->record.keep == KEEP_NOT)
                                r = run_note_deletable(run, item->number, item->row);
                        continue;
                }
                run->numbers[run->n_fresh] = item->number;
                run->fresh[run->n_fresh++] = item;
                f->total_bytes += item->octets;
        }
        f->run.listed = run->n_items;
        f->run.fresh = run->n_fresh;
        return r;
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static int sink_begin(void *userdata, size_t index)
{
        Fetch *f = userdata;
        const FetchItem *item = ((Pop3Run *) f->state)->fresh[index];

        return fetch_message_begin(f, item, item->number);
}

static int sink_data(void *userdata, size_t index, const char *data, size_t len)
{
        return fetch_message_data(userdata, data, len);
}

static int sink_end(void *userdata, size_t index)
{
        return fetch_message_end(userdata);
}

/* One that cannot be read does not hold up the others. */
static int sink_refused(void *userdata, size_t index, const Outcome *no)
{
        Fetch *f = userdata;

        f->run.skipped++;
        return text_set(&f->run.text, no->text);
}

static int run_read(Fetch *f)
{
        static const Pop3Sink sink = { sink_begin, sink_data, sink_end, sink_refused };
        Pop3Run *run = f->state;
        int r;

        if (run->n_fresh == 0)
                return 0;
        r = fetch_reserve(f, run->fresh, run->n_fresh);
        if (r == 0)
                r = pop3_retrieve(f->session.pop3, run->numbers, run->n_fresh, &sink, f, &f->no);
        return fetch_messages_over(f, r);
}

static int run_on_delivered(Fetch *f, const Delivered *messages, size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0 && f->account->record.keep == KEEP_NOT; i++)
                r = run_note_deletable(f->state, messages[i].tag, messages[i].row);
        return r;
}

/* --- deleting ------------------------------------------------------------------------------------------------------------ */

/* DELE, and QUIT, whose answer alone makes it true (RFC 1939 section 6). */
static int run_delete(Fetch *f)
{
        _cleanup_free_ bool *deleted = NULL;
        Pop3Run *run = f->state;
        int r;

        /* Somebody may have chosen to keep the mail after all while it was read. */
        if (run->n_deletable == 0 || f->account->record.keep != KEEP_NOT)
                return 0;
        deleted = calloc(run->n_deletable, sizeof(*deleted));
        if (!deleted)
                return -ENOMEM;
        r = pop3_delete(f->session.pop3, run->deletable, run->n_deletable, deleted, &f->no);
        if (r == 0)
                r = pop3_quit(f->session.pop3, &f->no);
        for (size_t i = 0; i < run->n_deletable && r == 0; i++)
                if (deleted[i]) {
                        f->run.deleted++;
                        r = delivery_drop(f->delivery, run->deletable_rows[i]);
                }
        return r;
}

static int run_dialogue(Fetch *f)
{
        Pop3Run *run = f->state;
        int r;

        r = run_list(f);
        if (r == 0)
                r = fetch_match(f, run->items, run->n_items);
        if (r == 0)
                r = run_forget_absent(f);
        if (r == 0)
                r = run_choose(f);
        if (r == 0) {
                fetch_publish(f, true);
                r = run_read(f);
        }
        return r ? r : run_delete(f);
}

const FetchProtocol fetch_pop3 = {
        .state_len = sizeof(Pop3Run),
        .dialogue = run_dialogue,
        .delivered = run_on_delivered,
        .deinit = pop3_run_deinit,
};
