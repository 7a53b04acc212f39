/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is stored of an account, of a run and of a message: plain data, owned strings, no behaviour. */
#pragma once

#include <sys/types.h>

#include "base/secret.h"
#include "base/util.h"
#include "probe/endpoint.h"

enum { ID_LEN = 16, ID_SIZE = 2 * ID_LEN + 1 }; /* random ids: 32 hex digits */
enum { DIGEST_LEN = 32 };                       /* of a message */

typedef enum Keep {
        KEEP_ON_SERVER, /* the default */
        KEEP_NOT,       /* delete after the fetch is durable */
        KEEP_DAYS,      /* delete keep_days after it was fetched */
} Keep;

typedef struct AccountRecord {
        char id[ID_SIZE];
        uid_t uid;
        char *user_name; /* of @uid when the account was made; a mismatch later blocks the account */
        char *address, *display_name;
        Endpoint incoming, outgoing; /* outgoing.host NULL: receive-only */
        bool same_secret;            /* outgoing signs in with the incoming secret */
        Keep keep;
        uint64_t keep_days; /* with KEEP_DAYS */
        char *delivery;     /* how mail is handed over: NULL into the Maildir, "lmtp" */
        char *folders; /* of IMAP, besides INBOX: names in UTF-8, each ended by LF; NULL none */
        uint64_t interval_usec;     /* the user's wish */
        uint64_t poll_minimum_usec; /* what the server demands: LOGIN-DELAY, checkInterval */
        char *location;             /* the Maildir */
        bool can_send, paused;
        char *cause; /* why it does not fetch; NULL: it does */
        uint64_t since_usec, last_success_usec, created_usec; /* since 1970 */
        uint64_t failures;                                    /* in a row, for the back-off */
        uint64_t messages_fetched, bytes_fetched;
} AccountRecord;

enum { KEEP_TEXT = 24 };
/* The contract's word: "server", "none", "30d". Returns @to. */
const char *keep_text(const AccountRecord *record, char to[KEEP_TEXT]);
void account_record_deinit(AccountRecord *record);
/* A deep copy; frees what @to held. Returns 0, -ENOMEM. */
int account_record_copy(AccountRecord *to, const AccountRecord *from);

/* What a server showed last, and the exception that was made for it. */
typedef struct CertificateRecord {
        char *host; /* NULL: nothing was seen yet */
        char spki[65];
        uint64_t not_after_usec;
        uint64_t changed_usec; /* when the key became another one; 0 never */
        uint64_t
                approved_until_usec; /* it does not verify, and was approved until then; 0: not needed */
} CertificateRecord;

void certificate_record_deinit(CertificateRecord *record);
int certificate_record_copy(CertificateRecord *to, const CertificateRecord *from);

typedef struct RunRecord {
        uint64_t id;
        uint64_t started_usec, ended_usec; /* since 1970; ended 0 while it runs */
        char *cause;                       /* NULL: went well */
        char *text;                        /* the server's last words, printable; NULL */
        char *notes; /* causes that did not stop it, separated by blanks; NULL */
        uint64_t listed, fresh, skipped, delivered, deleted, bytes;
        uint64_t duplicates; /* listed as new, but delivered before: known by their content */
        uint64_t gone;       /* known, listed before, not any more */
        uint64_t left;       /* new, but for the next run: the budget of this one is spent */
        bool manual;
} RunRecord;

void run_record_deinit(RunRecord *record);

/* A message's life: reserved -> (tmp written, fsynced) -> staged -> (renamed into new/, fsynced) -> done -> (DELE and QUIT
 * answered) gone: the row is removed. While mail is left on the server rows stay, so that a server that lists too little once
 * does not make us fetch everything again. */
typedef enum MessageState { MESSAGE_RESERVED, MESSAGE_STAGED, MESSAGE_DONE } MessageState;

typedef struct MessageRecord {
        uint64_t row; /* the row id; names the file */
        char *uidl;   /* as listed */
        uint32_t
                occurrence; /* 0 for the first message of this session's list with this UIDL, 1 for the second ... */
        MessageState state;
        uint64_t size;   /* octets delivered; 0 before */
        uint64_t octets; /* as the server listed it; 0 not known */
        bool has_digest;
        uint8_t digest[DIGEST_LEN]; /* of the content, see core/identity.h */
        uint64_t delivered_usec;    /* since 1970; 0 not known */
        uint64_t absent_usec;       /* since when the server does not list it; 0 it does */
        unsigned flags;             /* MAILDIR_SEEN ..., with which it is delivered */
        char *folder;               /* of the Maildir, where it is delivered; NULL into itself */
        uint32_t tries;             /* how often reading it has failed */
        char *reason;               /* why, the last time; NULL */
} MessageRecord;

void message_record_deinit(MessageRecord *record);
