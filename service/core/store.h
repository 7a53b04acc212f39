/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one SQLite file (WAL, synchronous=FULL): accounts with their sealed secrets, messages, runs, refused logins. One writer
 * thread with its own connection; each change is one job and one transaction (jobs queued at one moment are committed as a group),
 * never open across a suspension, never cancelled: when the waiting fiber is, the job still commits. Reading happens on the loop
 * through a read-only connection. All writers suspend and return after the commit is durable; they return -ECANCELED or -ETIME
 * when the caller may not wait for it.
 * -EIO, -ENOSPC: the disk; -EBUSY never: there is one writer. */
#pragma once

#include "base/buffer.h"
#include "core/record.h"

typedef struct Store Store;

/* Opens or makes @directory/waypost.db and migrates it. -EPROTONOSUPPORT when a newer program wrote it, -EEXIST when another
 * service has it open (a lock file), -EBADMSG when it is damaged. */
int store_open(Store **ret, const char *directory);
/* Waits for queued jobs. */
Store *store_close(Store *store);
DEFINE_CLEANUP(Store, store_close);

/* --- accounts (store_account.c) --- */

typedef struct SealedSecrets {
        const void *incoming, *outgoing, *grant; /* NULL: none */
        size_t incoming_len, outgoing_len, grant_len;
} SealedSecrets;

/* All accounts, on the loop, without suspending. The record is borrowed by @each; when that returns negative, so does this, at
 * once. @each must not call the same function again. */
int store_accounts(Store *store, int (*each)(void *userdata, const AccountRecord *record),
                   void *userdata);
/* Account and secrets in one transaction. -EEXIST: (uid, protocol, host, user) is taken. */
int store_account_insert(Store *store, const AccountRecord *record, const SealedSecrets *secrets);
/* Everything but secrets. -ENOENT; -EEXIST as above. */
int store_account_update(Store *store, const AccountRecord *record);
/* A side, or grant, that is NULL keeps its secret; one of length 0 loses it; all in one transaction. -ENOENT. */
int store_account_set_secrets(Store *store, const char *id, const SealedSecrets *secrets);
/* Account, secrets, messages and runs in one transaction. -ENOENT. */
int store_account_delete(Store *store, const char *id);
/* "incoming" or "outgoing"; into @to. -ENOENT. On the loop, without suspending. */
int store_secret(Store *store, const char *id, const char *side, Buffer *to);
/* The ids of accounts that have a grant; borrowed by @each, which may read others of them. */
int store_granted(Store *store, int (*each)(void *userdata, const char *id), void *userdata);
/* The sealed grant, the same way. */
int store_grant(Store *store, const char *id, Buffer *to);

/* --- certificates (store_certificate.c) --- */

/* On the loop. -ENOENT: none was seen yet. @ret is freed and filled. */
int store_certificate(Store *store, const char *id, Side side, CertificateRecord *ret);
/* -ENOENT: no such account. */
int store_certificate_put(Store *store, const char *id, Side side, const CertificateRecord *record);

/* --- messages (store_message.c) --- */

/* All of one account in the order of their rows, on the loop. The record is borrowed by @each, as above. */
int store_messages(Store *store, const char *id,
                   int (*each)(void *userdata, const MessageRecord *record), void *userdata);
/* Reserves a row for each (uidl, occurrence, size ignored) and stores the row ids in the records. One that a crash left reserved
 * is given again; the records' states say what stands. -ENOENT: no such account. */
int store_messages_reserve(Store *store, const char *id, MessageRecord *records, size_t n);
/* What a commit says about messages besides its own subject. */
typedef struct MessageChanges {
        const uint64_t *done;    /* rows that go from MESSAGE_STAGED to MESSAGE_DONE */
        const uint64_t *dropped; /* rows that are removed */
        const MessageRecord *
                updated; /* rows that get all of this record's values, but for uidl and occurrence; none is fine */
        size_t n_done, n_dropped, n_updated;
} MessageChanges;

/* Moves rows to MESSAGE_STAGED with their size, octets, digest and time and, in the same commit, makes @changes (NULL: none). -ENOENT
 * (and nothing is changed): no such account, or a staged row is not reserved. */
int store_messages_stage(Store *store, const char *id, const MessageRecord *staged, size_t n_staged,
                         const MessageChanges *changes);

/* --- runs (store_run.c) --- */

/* The id of the next run, which callers may be told before it ends: rises for the whole service. On the loop. */
uint64_t store_next_run(Store *store);
/* Stores a run that has ended, the account's record with it, @changes as above, all in one commit; keeps the newest LIMIT_HISTORY. A
 * run without an id is given one. */
int store_run_end(Store *store, const AccountRecord *account, RunRecord *run,
                  const MessageChanges *changes);
/* The newest first, at most @max, on the loop. */
int store_runs(Store *store, const char *id, unsigned max,
               int (*each)(void *userdata, const RunRecord *run), void *userdata);

/* --- the ledger of refused logins (store_ledger.c) --- */

/* How often this mark was refused; on the loop. Returns the count or negative errno. */
int store_refused_logins(Store *store, const uint8_t mark[32]);
int store_refused_login_add(Store *store, const uint8_t mark[32]);
int store_refused_login_clear(Store *store, const uint8_t mark[32]);
