/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IMAP responses (RFC 9051, 3501, 5530) in, facts out. No I/O, no clock. A response is handed in whole, its literals in place ("{3}", CRLF,
 * three octets), without its last CRLF; how much of it there may be is the caller's bound (LIMIT_RESPONSE). Only imap_parse_fetch()
 * may be given the beginning of one, because message content is never kept. Facts point into the response. */
#pragma once

#include "base/buffer.h"
#include "base/limits.h"
#include "base/util.h"

typedef enum ImapKind { IMAP_UNTAGGED, IMAP_TAGGED, IMAP_CONTINUATION } ImapKind;
/* IMAP_DATA: no status, but data such as FETCH or LIST. */
typedef enum ImapStatus {
        IMAP_DATA,
        IMAP_OK,
        IMAP_NO,
        IMAP_BAD,
        IMAP_PREAUTH,
        IMAP_BYE
} ImapStatus;

typedef struct ImapReply {
        ImapKind kind;
        const char *tag;
        size_t tag_len;
        ImapStatus status;
        /* the server's own words, from the status on: "NO [AUTHENTICATIONFAILED] wrong"; of a continuation what is behind the "+" */
        const char *words;
        size_t words_len;
        char code[48]; /* response code without its arguments, upper case: "UIDNEXT"; "" none */
        const char *arguments; /* of the code: "1234" */
        size_t arguments_len;
        const char *text; /* behind status and code */
        size_t text_len;
        /* of data: "* 23 FETCH (...)": number, name, and what is behind it */
        bool numbered;
        uint32_t number;
        char name[24]; /* upper case; a longer one is no name that we know: "" */
        const char *data;
        size_t data_len;
} ImapReply;

/* Case and missing blanks are tolerated, also a code that is no code, whatever it has in quotes. Returns 0, -EBADMSG. */
int imap_parse_reply(ImapReply *ret, const char *response, size_t len);
/* The size that a line announces at its end ("{12}", "{12+}", "~{12}"). Returns 1 and the size and how many octets at the end say so;
 * 0 when it announces none; -EBADMSG for one that cannot be (over 63 bits). */
int imap_literal_at_end(const char *line, size_t len, uint64_t *ret_size, size_t *ret_octets);

typedef struct ImapCapabilities {
        bool known;
        bool rev1, rev2, starttls, login_disabled, sasl_ir, id, idle, literal_plus, literal_minus;
        bool uidplus, special_use, enable, utf8_accept;
        char **sasl; /* mechanism names, upper case */
        char **list; /* all of them, printable, as evidence */
} ImapCapabilities;

void imap_capabilities_clear(ImapCapabilities *capabilities);
/* "IMAP4rev1 IDLE AUTH=PLAIN", from a response or a code: replaces what was known. Returns 0, -ENOMEM. */
int imap_parse_capabilities(ImapCapabilities *capabilities, const char *text, size_t len);

enum {
        IMAP_SEEN = 1 << 0,
        IMAP_ANSWERED = 1 << 1,
        IMAP_FLAGGED = 1 << 2,
        IMAP_DELETED = 1 << 3,
        IMAP_DRAFT = 1 << 4,
};

typedef enum ImapBody {
        IMAP_BODY_NONE,
        IMAP_BODY_NIL, /* the server has none for it */
        IMAP_BODY_HERE, /* quoted or a literal in place: body, body_len; a quoted one may still have its backslashes */
        IMAP_BODY_FOLLOWS, /* the response given ends where the content begins */
} ImapBody;

typedef struct ImapFetch {
        uint32_t uid; /* 0: not said (yet) */
        bool has_flags;
        unsigned flags; /* IMAP_SEEN ... */
        bool has_size;
        uint64_t size;
        ImapBody body; /* of BODY[...], BODY[...]<n>, RFC822 */
        const char *data;
        size_t data_len;
        bool quoted;
} ImapFetch;

/* The data of a FETCH response, or its beginning up to "{n}". Unknown items are skipped whatever their shape. Returns 0; 1 when it is a
 * beginning (body tells whether message content follows); -EBADMSG. */
int imap_parse_fetch(ImapFetch *ret, const char *data, size_t len);

typedef enum ImapUse {
        IMAP_USE_NONE,
        IMAP_USE_ALL,
        IMAP_USE_ARCHIVE,
        IMAP_USE_DRAFTS,
        IMAP_USE_FLAGGED,
        IMAP_USE_JUNK,
        IMAP_USE_SENT,
        IMAP_USE_TRASH,
} ImapUse;

typedef struct ImapFolder {
        bool selectable;
        ImapUse use;                 /* RFC 6154 */
        char delimiter;              /* 0: NIL */
        char name[LIMIT_FOLDER + 1]; /* as on the wire; "INBOX" in upper case */
} ImapFolder;

/* The data of a LIST response. -EBADMSG also for a name that is too long or has a control character. */
int imap_parse_list(ImapFolder *ret, const char *data, size_t len);

/* Ascending @uids as ranges ("1:3,7"), as many as fit in @max octets. Returns how many were taken, -ENOMEM. */
int imap_set_append(Buffer *to, const uint32_t *uids, size_t n, size_t max);
/* One number that is all of @text. Returns 0, -EBADMSG (also for 0). */
int imap_parse_number(const char *text, size_t len, uint32_t *ret);

/* Appends @text in quotes. Returns 0; 1 when it cannot be quoted and must go as a literal (8-bit, CR, LF); -EINVAL for NUL; -ENOMEM,
 * -ENOBUFS. */
int imap_quote(Buffer *to, const char *text, size_t len);
/* Folder names between the wire (RFC 3501 section 5.1.3, modified UTF-7) and UTF-8. Returns 0; -EINVAL for what is not well formed, -ENOMEM, -ENOBUFS. */
int imap_name_to_utf8(Buffer *to, const char *name);
int imap_name_from_utf8(Buffer *to, const char *name);
