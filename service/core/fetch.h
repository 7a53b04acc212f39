/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One run of one account, for the protocols' halves of it (fetch_pop3.c ...). The seam: fetch.c opens the delivery, loads what is
 * known of the account's messages, signs in, and afterwards stores what became of it; in between a protocol lists, finds out what is
 * new, reads and deletes. It has nothing to do with files, batches, commits, secrets or causes. */
#pragma once

#include "core/core_internal.h"
#include "core/delivery.h"

/* What the store knows of a message, sorted by (uidl, occurrence). */
typedef struct FetchKnown {
        MessageRecord record;
        bool listed; /* the server still has it: fetch_match() says so */
} FetchKnown;

/* One message as the server lists it. */
typedef struct FetchItem {
        char *uidl;          /* its identity, unchanged over sessions; owned */
        uint32_t occurrence; /* several with one uidl are counted */
        uint32_t number;     /* what the protocol calls it in this session */
        uint64_t octets;     /* as listed; a hint; 0 not known */
        uint64_t row;        /* 0 none yet */
        bool known;          /* delivered in an earlier run */
} FetchItem;

typedef struct Fetch Fetch;

typedef struct FetchProtocol {
        size_t state_len; /* octets of f->state, zeroed at first */
        /* Signed in: lists, chooses, reads, deletes. Sets run.listed, run.fresh, total_bytes. Returns 0; 1 when the world said no (f->no tells);
         * negative errno. Suspends. Before reading, everything that the run will deliver is reserved. */
        int (*dialogue)(Fetch *f);
        /* These are delivered for good. May be NULL. As DeliveryEnd. */
        int (*delivered)(Fetch *f, const Delivered *messages, size_t n);
        void (*deinit)(Fetch *f); /* what the state holds; may be NULL */
} FetchProtocol;

extern const FetchProtocol fetch_pop3;

struct Fetch {
        Account *account;
        Core *core;
        const FetchProtocol *protocol;
        void *state;     /* the protocol's own */
        Session session; /* signed in when the protocol gets it */
        Outcome no;
        RunRecord run;        /* a protocol counts listed, fresh, skipped, deleted */
        uint64_t total_bytes; /* to be read, as far as known */
        FetchKnown *known;
        size_t n_known, n_known_allocated;
        Delivery *delivery;
        Buffer head;     /* of a message that may be the verification mail */
        Finding finding; /* how the dialogue ended */
};

/* Grows an array of pointers or structs: GROW(array, n_allocated, n) makes room for element n. Returns 0, -ENOMEM. */
int fetch_grow(void **array, size_t *n_allocated, size_t n, size_t size);
#define GROW(array, n_allocated, n) \
        fetch_grow((void **) &(array), &(n_allocated), (n), sizeof(*(array)))
/* Gives each item its occurrence (in the order of numbers), its row and "known", and marks what is known as listed. */
int fetch_match(Fetch *f, FetchItem *items, size_t n_items);
/* A row for each: names are known, and stored, before the first octet is written. Suspends. */
int fetch_reserve(Fetch *f, FetchItem *const *items, size_t n_items);
/* One message's octets. @tag is given back to delivered(). All may suspend. */
int fetch_message_begin(Fetch *f, const FetchItem *item, uint32_t tag);
int fetch_message_data(Fetch *f, const char *data, size_t len);
int fetch_message_end(Fetch *f);
/* After the last message, also when @r says that the dialogue broke off: what was read completely is delivered. Returns @r or
 * the negative errno that delivering ended with. Suspends. */
int fetch_messages_over(Fetch *f, int r);
/* Tells observers about the run, at most 4 times a second unless @now. */
void fetch_publish(Fetch *f, bool now);
