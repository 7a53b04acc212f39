/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One run of one account, for the protocols' halves of it (fetch_pop3.c ...). The seam: fetch.c opens the delivery, loads what is
 * known of the account's messages, signs in, and afterwards stores what became of it; in between a protocol lists, finds out what is
 * new, reads and deletes. It has nothing to do with files, batches, commits, secrets or causes. */
#pragma once

#include "core/core_internal.h"
#include "core/delivery.h"
#include "core/identity.h"

enum { FETCH_TRIES = 3 };
#define FETCH_TOO_LARGE "larger than message-maximum" /* why it is left alone */

/* What the store knows of a message, sorted by (uidl, occurrence). */
typedef struct FetchKnown {
        MessageRecord record;
        bool listed; /* the server still has it: fetch_match() says so */
        bool found;  /* under another name: fetch_recognise() says so */
} FetchKnown;

/* One message as the server lists it. */
typedef struct FetchItem {
        char *uidl;          /* its identity, unchanged over sessions; owned */
        uint32_t occurrence; /* several with one uidl are counted */
        uint32_t number;     /* what the protocol calls it in this session */
        uint64_t octets;     /* as listed; a hint; 0 not known */
        unsigned flags;      /* MAILDIR_SEEN ..., as the server has them */
        uint64_t row;        /* 0 none yet */
        bool known; /* delivered before: in an earlier run, or it has the same octets as one that was */
        bool proven;        /* this session has seen that it is the one that was delivered */
        FetchKnown *stored; /* what was known of it when the run began; NULL nothing */
} FetchItem;

typedef struct Fetch Fetch;

typedef struct FetchProtocol {
        bool names_last;  /* a name is never given to another message */
        size_t state_len; /* octets of f->state, zeroed at first */
        /* Signed in: lists, chooses, reads, deletes, in this order:
         *   its own list of FetchItem -> fetch_match() -> (fetch_mistrust() ...) -> fetch_expect_renamed() where names may have changed
         *   -> fetch_choose() -> fetch_reserve() -> for each message fetch_message_begin(), _data(), _end() -> fetch_messages_over()
         *   -> deleting -> fetch_note_absent() where the list was complete.
         * Returns 0; 1 when the world said no (f->no tells); negative errno. Suspends. */
        int (*dialogue)(Fetch *f);
        /* These are delivered for good; their tags are the items' numbers. May be NULL. As DeliveryEnd. */
        int (*delivered)(Fetch *f, const Delivered *messages, size_t n);
        void (*deinit)(Fetch *f); /* what the state holds; may be NULL */
} FetchProtocol;

extern const FetchProtocol fetch_pop3, fetch_imap;

struct Fetch {
        Account *account;
        Core *core;
        const FetchProtocol *protocol;
        void *state;     /* the protocol's own */
        Session session; /* signed in when the protocol gets it */
        bool resumed;    /* it has waited for news since the last run; @mailbox is selected */
        ImapMailbox mailbox;
        bool read_only;
        bool parkable; /* the protocol has left @mailbox selected, and all is well: it may wait for news */
        Outcome no;
        RunRecord run;        /* a protocol counts listed, skipped, deleted */
        bool with_skipped;    /* asked for: also what could not be read three times */
        uint64_t total_bytes; /* to be read, as far as known */
        uint64_t total_messages, n_read;
        uint64_t quota; /* octets that the owner may still store */
        bool over_quota;
        uint64_t reading_usec; /* when reading began */
        uint64_t message_usec; /* and the message under way */
        FetchKnown *known;
        size_t n_known, n_known_allocated, n_known_listed;
        FetchKnown **expected; /* not listed any more, by digest */
        size_t n_expected;
        bool mistrusted;
        bool windowed; /* the server shows a part of the mailbox: the next run follows at once */
        MessageRecord *updated; /* for the run's commit */
        size_t n_updated, n_updated_allocated;
        Delivery *delivery;
        Identity *identity; /* of the message under way */
        Buffer head;        /* of a message that may be the verification mail */
        Finding finding;    /* how the dialogue ended */
};

/* Grows an array of pointers or structs: GROW(array, n_allocated, n) makes room for element n. Returns 0, -ENOMEM. */
int fetch_grow(void **array, size_t *n_allocated, size_t n, size_t size);
#define GROW(array, n_allocated, n) \
        fetch_grow((void **) &(array), &(n_allocated), (n), sizeof(*(array)))

/* --- messages (fetch_items.c) --- */

int fetch_load_known(Fetch *f);
void fetch_sort_known(Fetch *f);
void fetch_items_deinit(Fetch *f);
/* Gives each item its occurrence (in the order of numbers), its row and "known", and marks what is known as listed. */
int fetch_match(Fetch *f, FetchItem *items, size_t n_items);
/* The item is not the message that its name says: it is new, and the other one is not listed. */
int fetch_mistrust(Fetch *f, FetchItem *item);
/* From here on messages are recognised by their octets that are known and not listed: their name may have changed. Each known one stands
 * for one message only. Without this call none is recognised. */
int fetch_expect_renamed(Fetch *f);
/* Returns 1 when the message is one of those; then it is not to be delivered, its row has been told, and item->known. 0, negative errno. */
int fetch_recognise(Fetch *f, FetchItem *item, const uint8_t digest[DIGEST_LEN], uint64_t size);
/* Which of the new ones this run reads, those that failed before last, within the budget of a run; counts fresh, skipped and left. @ret is
 * the caller's to free. */
int fetch_choose(Fetch *f, FetchItem *items, size_t n_items, FetchItem ***ret, size_t *ret_n);
/* A row for each: names are known, and stored, before the first octet is written. Suspends. */
int fetch_reserve(Fetch *f, FetchItem *const *items, size_t n_items);
/* Reading it failed once more, @reason says why; after FETCH_TRIES, or @for_good, it is left alone for a day. */
int fetch_note_failed(Fetch *f, const FetchItem *item, const char *reason, bool for_good);
/* By the account's choice (keep), as far as known before this run. */
bool fetch_due_for_deletion(const Fetch *f, const FetchItem *item);
/* After a complete list: forgets or remembers what is not there any more. */
int fetch_note_absent(Fetch *f);
/* Copies @record for the run's commit. */
int fetch_update(Fetch *f, const MessageRecord *record);

/* --- the run (fetch.c) --- */

/* One message's octets. fetch_message_end() delivers it, unless it is recognised: then item->known. All may suspend. -EFBIG: it is larger
 * than any may be, -EDQUOT: the owner's space is used up; then the dialogue is over. */
int fetch_message_begin(Fetch *f, const FetchItem *item);
int fetch_message_data(Fetch *f, const char *data, size_t len);
int fetch_message_end(Fetch *f, FetchItem *item);
/* It will not be complete. Fine when none is under way. */
void fetch_message_abandon(Fetch *f);
/* After the last message, also when @r says that the dialogue broke off: what was read completely is delivered. Returns @r or
 * the negative errno that delivering ended with. Suspends. */
int fetch_messages_over(Fetch *f, int r);
/* Tells observers about the run, at most 4 times a second unless @now. */
void fetch_publish(Fetch *f, bool now);
/* Remembers a cause that does not stop the run, once. */
int fetch_note(Fetch *f, const char *cause);
/* Its time is over: no more messages are begun. */
bool fetch_late(const Fetch *f);
