/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages on their way from a server to where the account's mail goes, in the order that loses and doubles nothing
 * (docs/architecture.md, "the life of a run"). Knows nothing of a protocol: it is told rows and octets, and tells which rows are
 * there for good. Two fibers work at the same time: the caller's writes messages as fast as a server sends them, the committer
 * makes batches of them durable and moves them to their place. After a negative result a delivery is good for nothing but
 * delivery_unsettled() and being freed; what it had delivered stays so. */
#pragma once

#include "core/maildir.h"
#include "core/store.h"

typedef struct Account Account;
typedef struct Delivery Delivery;

typedef struct Delivered {
        uint64_t row, size;
        uint32_t tag; /* the caller's, of delivery_begin() */
        /* for the store, see MessageRecord */
        uint64_t octets;
        unsigned flags; /* MAILDIR_SEEN ... */
        uint8_t digest[DIGEST_LEN];
} Delivered;

/* On the committer's fiber; do not suspend. A negative value ends the delivery. */
typedef struct DeliveryEvents {
        /* These are delivered for good: the server may be told to delete them. */
        int (*delivered)(void *userdata, const Delivered *messages, size_t n, uint64_t bytes);
        /* This one is not wanted where it should go, for good: others are. */
        int (*rejected)(void *userdata, const Delivered *message, const char *why);
} DeliveryEvents;

/* Opens the place of @account's mail; nothing is written yet. */
int delivery_open(Delivery **ret, Account *account, const DeliveryEvents *events, void *userdata);
/* Cancels what is under way. */
Delivery *delivery_free(Delivery *delivery);
DEFINE_CLEANUP(Delivery, delivery_free);
/* Once, first: what a crash left. @staged (rows ascend) are the messages whose delivery was certain to come; everything else that was
 * half-written is removed. Suspends. */
int delivery_recover(Delivery *delivery, const MessageRecord *const *staged, size_t n_staged);
/* From here on messages go into this folder of the Maildir (NULL: into itself), after those before have been delivered. By LMTP there are no
 * folders. Suspends. */
int delivery_into(Delivery *delivery, const char *folder);

/* One message after the other; its row is reserved in the store. All may suspend. @message: row, tag, octets; the rest is ignored. */
int delivery_begin(Delivery *delivery, const Delivered *message);
int delivery_write(Delivery *delivery, const char *data, size_t len);
/* Octets written of the message under way. */
uint64_t delivery_size(const Delivery *delivery);
/* The message is complete. It is delivered with its batch, and with @flags where that can be. */
int delivery_end(Delivery *delivery, const uint8_t digest[DIGEST_LEN], unsigned flags);
/* The message will not be complete: what there is of it is removed. Fine when none is under way. */
void delivery_abandon(Delivery *delivery);
/* Waits until all messages that ended are delivered. Suspends. */
int delivery_flush(Delivery *delivery);

/* The row is of no more use (its message is gone from the server): removed with the next commit. */
int delivery_drop(Delivery *delivery, uint64_t row);
/* Why it ended with -EREMOTEIO: where the mail should go is a server that said no. The cause; @ret_why its words (may be NULL). */
const char *delivery_cause(const Delivery *delivery, const char **ret_why);
/* Commits that now. Suspends. */
int delivery_settle(Delivery *delivery);
/* What the next commit has to carry, for store_run_end(); borrowed until the next call of this delivery. */
MessageChanges delivery_unsettled(const Delivery *delivery);
