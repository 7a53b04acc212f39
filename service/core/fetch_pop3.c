/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POP3's half of a run: what the server lists, which of it is new, reading it, deleting it. Deleting begins only when everything
 * that was read has been delivered, and never goes by a name that an earlier session has learnt: a server may give it to another
 * message (RFC 1939 section 7), so what an unclean end has left is looked at first. */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "core/fetch.h"

/* A header that is longer is none. */
enum { HEADER_MAX = 1024 * 1024 };
/* Until it is known what is to be read, however slowly a server tells. */
#define LISTING_USEC (10 * USEC_PER_MINUTE)
/* Between two of them there is a pause of one round trip, in which the run can end. */
enum { READ_MESSAGES = 1000, READ_BYTES = 64 * 1024 * 1024 };
/* So many deleted at once may have been a part of more. */
enum { WINDOW_LEAST = 50, EMPTIED_LEAST = 3 };

typedef struct Pop3Run {
        /* the server's list */
        FetchItem *items;
        size_t n_items, n_allocated;
        /* what is to be read */
        FetchItem **fresh;
        size_t n_fresh;
        size_t from, n_part; /* what of them is being read */
        size_t answered;     /* of the part */
        uint32_t *deletable; /* numbers whose mail is delivered for good */
        uint64_t *deletable_rows;
        size_t n_deletable, n_deletable_allocated;
        FetchItem **looked_at; /* by TOP */
        uint64_t header_len;   /* of the one under way */
        bool named;            /* by the server: it has UIDL */
} Pop3Run;

static void pop3_run_deinit(Fetch *f)
{
        Pop3Run *run = f->state;

        for (size_t i = 0; i < run->n_items; i++)
                free(run->items[i].uidl);
        free(run->items);
        free(run->fresh);
        free(run->deletable);
        free(run->deletable_rows);
        free(run->looked_at);
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

/* --- looking at headers --------------------------------------------------------------------------------------------------- */

static int numbers_of(FetchItem *const *items, size_t n, uint32_t **ret)
{
        uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

        if (!numbers)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                numbers[i] = items[i]->number;
        *ret = numbers;
        return 0;
}

static int top_begin(void *userdata, size_t index)
{
        Pop3Run *run = ((Fetch *) userdata)->state;

        run->header_len = 0;
        return 0;
}

static int top_data(void *userdata, size_t index, const char *data, size_t len)
{
        Fetch *f = userdata;
        Pop3Run *run = f->state;

        run->header_len += len;
        return run->header_len > HEADER_MAX ? -EFBIG : identity_add(f->identity, data, len);
}

/* A header is enough to know a message again that has the same name; it is never enough to know one by. */
static int top_end(void *userdata, size_t index)
{
        Fetch *f = userdata;
        FetchItem *item = ((Pop3Run *) f->state)->looked_at[index];
        uint8_t digest[DIGEST_LEN];
        int r = identity_end(f->identity, digest);

        if (r < 0)
                return r;
        if (!item->uidl) {
                char hex[2 * IDENTITY_HALF + 1];

                hex_encode(hex, digest, IDENTITY_HALF);
                return text_format(&item->uidl, "header:%s", hex);
        }
        if (memcmp(digest, item->stored->record.digest, IDENTITY_HALF) != 0)
                return fetch_mistrust(f, item);
        item->proven = true;
        if (item->octets == item->stored->record.octets)
                return 0;
        /* Some servers count the notes that they keep in the header. */
        item->stored->record.octets = item->octets;
        return fetch_update(f, &item->stored->record);
}

/* Then it is not sure what it is: it is neither read nor deleted. */
static int top_refused(void *userdata, size_t index, const Outcome *no)
{
        Fetch *f = userdata;
        FetchItem *item = ((Pop3Run *) f->state)->looked_at[index];

        return item->uidl ? 0
                          : text_format(&item->uidl, "unread:%ju:%u", (uintmax_t) f->run.id,
                                        item->number);
}

static int look_at_headers(Fetch *f, size_t n)
{
        static const Pop3Sink sink = { top_begin, top_data, top_end, top_refused };
        Pop3Run *run = f->state;
        _cleanup_free_ uint32_t *numbers = NULL;
        int r = f->identity ? 0 : identity_new(&f->identity);

        if (r == 0)
                r = numbers_of(run->looked_at, n, &numbers);
        if (r == 0)
                r = pop3_top(f->session.pop3, numbers, n, 0, &sink, f, &f->no);
        return r == -EFBIG ? outcome_set(&f->no, OUTCOME_TOO_LONG, PHASE_TOP) : r;
}

static bool run_has_top(const Fetch *f)
{
        const Pop3Capabilities *c = pop3_capabilities(f->session.pop3);

        return !c->known || c->top;
}

/* --- listing ---------------------------------------------------------------------------------------------------------------- */

static int list_on_number(void *userdata, uint32_t number, uint64_t octets)
{
        Pop3Run *run = ((Fetch *) userdata)->state;
        int r = GROW(run->items, run->n_allocated, run->n_items);

        if (r == 0)
                run->items[run->n_items++] = (FetchItem){ .number = number, .octets = octets };
        return r;
}

/* Without UIDL a message is named by its header; where there is no TOP either, only its octets tell whether it is known, when it
 * has been read: its name is for this run alone. */
static int run_list_unnamed(Fetch *f)
{
        Pop3Run *run = f->state;
        int r;

        r = fetch_note(f, "fetch.uidl-unsupported");
        if (r == 0)
                r = pop3_list(f->session.pop3, list_on_number, f, &f->no);
        if (r)
                return r;
        run->looked_at = calloc(run->n_items + 1, sizeof(*run->looked_at));
        if (!run->looked_at)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_items && r == 0; i++) {
                run->looked_at[i] = &run->items[i];
                if (!run_has_top(f))
                        r = text_format(&run->items[i].uidl, "unnamed:%ju:%u",
                                        (uintmax_t) f->run.id, run->items[i].number);
        }
        return r == 0 && run_has_top(f) && run->n_items > 0 ? look_at_headers(f, run->n_items) : r;
}

static int run_list(Fetch *f)
{
        const Pop3Capabilities *c = pop3_capabilities(f->session.pop3);
        Pop3Run *run = f->state;
        int r;

        run->named = !c->known || c->uidl;
        if (!run->named)
                return run_list_unnamed(f);
        if (c->pipelining)
                return pop3_uidl_and_list(f->session.pop3, list_on_uidl, list_on_size, f, &f->no);
        r = pop3_uidl(f->session.pop3, list_on_uidl, f, &f->no);
        /* Without CAPA one learns it by asking. */
        if (r == 1 && !c->known && f->no.kind == OUTCOME_REPLY) {
                outcome_reset(&f->no);
                run->named = false;
                return run_list_unnamed(f);
        }
        if (r == 0 && run->n_items > 0)
                r = pop3_list(f->session.pop3, list_on_size, f, &f->no);
        return r;
}

/* One that is known, and about which something is odd, or which would be deleted without having been read in this session. */
static bool item_doubtful(const Fetch *f, const FetchItem *item)
{
        if (!item->known || !item->stored->record.has_digest)
                return false;
        return fetch_due_for_deletion(f, item) || (item->octets && item->stored->record.octets &&
                                                   item->octets != item->stored->record.octets);
}

/* RFC 1939 section 7 asks servers never to give a UIDL twice. Some do. */
static int run_look_at_doubtful(Fetch *f)
{
        Pop3Run *run = f->state;
        size_t n = 0;
        int r = 0;

        if (!run->named)
                return 0;
        run->looked_at = calloc(run->n_items + 1, sizeof(*run->looked_at));
        if (!run->looked_at)
                return -ENOMEM;
        for (size_t i = 0; i < run->n_items; i++)
                if (item_doubtful(f, &run->items[i]))
                        run->looked_at[n++] = &run->items[i];
        if (run_has_top(f))
                return n > 0 ? look_at_headers(f, n) : 0;
        /* Read again: if it is the same after all, it will be recognised. */
        for (size_t i = 0; i < n && r == 0; i++)
                r = fetch_mistrust(f, run->looked_at[i]);
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

/* Delivered before, still there: an earlier session did not come to its QUIT, or its days are over. */
static int run_choose(Fetch *f)
{
        Pop3Run *run = f->state;
        int r = 0;

        for (size_t i = 0; i < run->n_items && r == 0; i++) {
                FetchItem *item = &run->items[i];

                if (item->known &&
                    (item->proven || !item->stored->record.has_digest || !run->named) &&
                    fetch_due_for_deletion(f, item))
                        r = run_note_deletable(run, item->number, item->row);
        }
        f->run.listed = run->n_items;
        return r < 0 ? r : fetch_choose(f, run->items, run->n_items, &run->fresh, &run->n_fresh);
}

/* --- reading ------------------------------------------------------------------------------------------------------------ */

static FetchItem *run_item(Pop3Run *run, size_t index)
{
        return run->fresh[run->from + index];
}

static int sink_begin(void *userdata, size_t index)
{
        Fetch *f = userdata;

        return fetch_message_begin(f, run_item(f->state, index));
}

static int sink_data(void *userdata, size_t index, const char *data, size_t len)
{
        return fetch_message_data(userdata, data, len);
}

static int sink_end(void *userdata, size_t index)
{
        Fetch *f = userdata;
        Pop3Run *run = f->state;
        FetchItem *item = run_item(run, index);
        int r = fetch_message_end(f, item);

        run->answered = index + 1;
        /* It has just been seen to be the one that was delivered. */
        if (r == 0 && item->known && (item->proven || !run->named) &&
            f->account->record.keep == KEEP_NOT)
                r = run_note_deletable(run, item->number, item->row);
        return r;
}

/* One that cannot be read does not hold up the others. */
static int sink_refused(void *userdata, size_t index, const Outcome *no)
{
        Fetch *f = userdata;
        Pop3Run *run = f->state;
        int r = text_set(&f->run.text, no->text);

        run->answered = index + 1;
        f->run.skipped++;
        if (r == 0)
                r = fetch_note(f, "fetch.message-unreadable");
        return r < 0 ? r : fetch_note_failed(f, run_item(run, index), no->text, false);
}

/* The dialogue ended in one message, or in front of it: if it is that message which does it, it is found out in time. */
static int run_note_broken(Fetch *f, int result)
{
        Pop3Run *run = f->state;
        FetchItem *item = run_item(run, run->answered);
        int r;

        if (run->answered >= run->n_part || (result != 1 && result != -EFBIG && result != -ETIME))
                return result;
        if (result == -ETIME)
                result = outcome_set(&f->no, OUTCOME_TIMEOUT, PHASE_RETRIEVE);
        if (result == 1) {
                r = fetch_note_failed(
                        f, item, f->no.text[0] ? f->no.text : outcome_kind_name(f->no.kind), false);
                return r < 0 ? r : result;
        }
        f->run.skipped++;
        f->run.left = run->n_fresh - run->from - run->answered - 1;
        r = fetch_note(f, "fetch.message-too-large");
        return r < 0 ? r : fetch_note_failed(f, item, FETCH_TOO_LARGE, true);
}

/* Numbers the next part: so many messages, so many octets as listed. */
static int run_part(Pop3Run *run, uint32_t **ret)
{
        uint64_t bytes = 0;

        run->n_part = run->answered = 0;
        while (run->from + run->n_part < run->n_fresh && run->n_part < READ_MESSAGES &&
               (run->n_part == 0 || bytes < READ_BYTES))
                bytes += run->fresh[run->from + run->n_part++]->octets;
        return numbers_of(run->fresh + run->from, run->n_part, ret);
}

static int run_read(Fetch *f)
{
        static const Pop3Sink sink = { sink_begin, sink_data, sink_end, sink_refused };
        Pop3Run *run = f->state;
        bool broken = false;
        int r;

        r = run->n_fresh > 0 ? fetch_reserve(f, run->fresh, run->n_fresh) : 0;
        while (r == 0 && run->from < run->n_fresh && !broken) {
                _cleanup_free_ uint32_t *numbers = NULL;

                if (fetch_late(f)) {
                        f->run.left += run->n_fresh - run->from;
                        break;
                }
                r = run_part(run, &numbers);
                if (r == 0)
                        r = pop3_retrieve(f->session.pop3, numbers, run->n_part, &sink, f, &f->no);
                broken = r == -EFBIG;
                if (r != 0)
                        r = run_note_broken(f, r);
                run->from += run->n_part;
        }
        r = run->n_fresh > 0 ? fetch_messages_over(f, r) : r;
        /* The rest of the message is still on the wire: this dialogue is over. */
        if (broken && r == 0)
                session_close(&f->session);
        return r;
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
        if (run->n_deletable == 0 || f->account->record.keep == KEEP_ON_SERVER)
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

/* --- what the lists say ---------------------------------------------------------------------------------------------------- */

/* Most of what is listed had other names before. */
static bool run_was_renamed(const Fetch *f)
{
        return f->run.duplicates > 0 && 2 * f->run.duplicates > f->run.listed;
}

/* All that was known has gone at once, of a mailbox in which mail should stay, and nothing has come. */
static bool run_was_emptied(const Fetch *f)
{
        return f->account->record.keep != KEEP_NOT && f->run.gone >= EMPTIED_LEAST &&
               f->n_known_listed == 0 && f->run.fresh == 0;
}

static int run_note_findings(Fetch *f)
{
        const Provider *provider;
        Pop3Run *run = f->state;
        int r = 0;

        if (run->named && run_was_renamed(f))
                r = fetch_note(f, "fetch.uid-reset");
        if (r == 0)
                r = fetch_note_absent(f);
        /* What was read is hidden, although nobody deleted it, and other mail has come in its place. */
        provider = provider_by_host(f->core->providers, f->account->record.incoming.host);
        if (r == 0 && provider && provider->pop_window && f->run.listed == 0 &&
            f->account->record.messages_fetched == 0)
                r = fetch_note(f, "fetch.pop-window-consumed");
        if (r == 0 && run_was_emptied(f) && !(provider && provider->pop_window))
                r = fetch_note(f, "fetch.other-client-deletes");
        f->windowed = f->run.delivered > 0 && f->n_known_listed == 0 && !run_was_renamed(f) &&
                      (f->run.gone > 0 || f->run.deleted >= WINDOW_LEAST);
        return r;
}

static int run_learn(Fetch *f)
{
        Pop3Run *run = f->state;
        int r;

        FIBER_DEADLINE(LISTING_USEC);
        r = run_list(f);
        if (r == 0)
                r = fetch_match(f, run->items, run->n_items);
        return r ? r : run_look_at_doubtful(f);
}

static int run_dialogue(Fetch *f)
{
        int r;

        r = run_learn(f);
        if (r == 0)
                r = fetch_expect_renamed(f);
        if (r == 0)
                r = run_choose(f);
        if (r == 0) {
                fetch_publish(f, true);
                r = run_read(f);
        }
        if (r == 0 && f->session.pop3)
                r = run_delete(f);
        return r ? r : run_note_findings(f);
}

const FetchProtocol fetch_pop3 = {
        .state_len = sizeof(Pop3Run),
        .dialogue = run_dialogue,
        .delivered = run_on_delivered,
        .deinit = pop3_run_deinit,
};
