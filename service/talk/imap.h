/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IMAP dialogue (RFC 9051, 3501, 2177, 2971, 4315, 4959, 7888) over a stream: one function for each thing that is said. Rules as
 * in talk/pop3.h: every function suspends; 0 the server did it, 1 the world said no (@no: REPLY with code and text, or how the connection
 * ended), negative errno. no->text begins with the server's status word ("NO [AUTHENTICATIONFAILED] wrong"). A server that says BYE has
 * ended the session: REPLY, and nothing more can be said. The transcript shows every line but those of listings and messages. */
#pragma once

#include "base/transcript.h"
#include "proto/imap.h"
#include "talk/login.h"
#include "wire/stream.h"

typedef struct Imap Imap;

/* Takes @stream, also on failure; reads the greeting. 1: REPLY for a "BYE" greeting, GARBAGE for what is no IMAP. */
int imap_open(Imap **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no);
Imap *imap_free(Imap *imap);
DEFINE_CLEANUP(Imap, imap_free);

/* The text of the greeting, printable, borrowed. Forgotten after STARTTLS. */
const char *imap_greeting(const Imap *imap);
/* The server greeted with PREAUTH: nobody needs to sign in. Only believed under TLS. */
bool imap_signed_in(const Imap *imap);
/* The last [ALERT], printable; RFC 9051 section 7.1 wants it shown. NULL: none. Borrowed. */
const char *imap_alert(const Imap *imap);
/* Asks unless the server has said it with its last answer (greeting, login). */
int imap_ask_capabilities(Imap *imap, Outcome *no);
/* What was learnt last; empty before, after STARTTLS and after a login whose answer did not tell. Borrowed until the next question. */
const ImapCapabilities *imap_capabilities(const Imap *imap);

/* STARTTLS and the handshake; forgets all that was learnt in clear. NOT_OFFERED when the list lacks it or the greeting was PREAUTH,
 * after which no STARTTLS can come; REPLY with phase STARTTLS, INJECTED, HANDSHAKE, CERTIFICATE. */
int imap_start_tls(Imap *imap, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no);

/* What imap_login() will use: the best mechanism, "LOGIN-COMMAND" where nothing better is there and it is not disabled, NULL: none. */
const char *imap_login_method(const Imap *imap, const Login *login);
/* One login by that method; the answer's capabilities, or those asked for at once, are known afterwards. An OK with an error inside it
 * ([Error="UserDisabled" ...]) is a REPLY. Results as of pop3_login(). */
int imap_login(Imap *imap, const Login *login, Outcome *no);
/* ID, when it is offered: some servers open no mailbox before. Refusals do not matter. */
int imap_identify(Imap *imap, Outcome *no);

/* Folders as LIST has them, with their uses; at most LIMIT_FOLDERS. Negative values of @each end the session. */
typedef int (*ImapEachFolder)(void *userdata, const ImapFolder *folder);
int imap_list(Imap *imap, ImapEachFolder each, void *userdata, Outcome *no);

typedef struct ImapMailbox {
        uint32_t exists;
        uint32_t uid_validity; /* 0: the server does not say, UIDs last for this session only */
        uint32_t uid_next;     /* 0: not said */
        bool read_only, uids_not_sticky;
} ImapMailbox;

/* EXAMINE (@read_only, without side effects) or SELECT. @name as on the wire. */
int imap_select(Imap *imap, const char *name, bool read_only, ImapMailbox *ret, Outcome *no);
/* Have messages come into it since it was selected, or this was asked last? */
bool imap_take_news(Imap *imap);
/* Messages in the selected mailbox, by what the server has said last. */
uint32_t imap_exists(const Imap *imap);
/* UIDs from @from on, in the server's order. */
typedef int (*ImapEachUid)(void *userdata, uint32_t uid);
int imap_list_uids(Imap *imap, uint32_t from, ImapEachUid each, void *userdata, Outcome *no);

/* Where message content goes. Negative values end the session and are returned. @index counts in the array of UIDs. */
typedef struct ImapSink {
        /* @octets as announced, before CRLF becomes LF. */
        int (*begin)(void *userdata, size_t index, uint64_t octets);
        int (*data)(void *userdata, size_t index, const char *data, size_t len);
        /* Complete. @flags are IMAP_SEEN ... */
        int (*end)(void *userdata, size_t index, uint32_t uid, unsigned flags);
        /* The server will not give this one; the others go on. NULL: does not matter. */
        int (*refused)(void *userdata, size_t index, const Outcome *no);
        /* It is not there any more. NULL: does not matter. */
        int (*gone)(void *userdata, size_t index);
} ImapSink;

/* The whole content of each of @uids (ascending), \Seen untouched, in sets, several commands under way. Each wait for octets is limited to
 * LIMIT_IDLE_USEC. 0: for every one end(), refused() or gone() was called, in the server's order. After a REPLY, which means that the server
 * gives no messages at all, the session is good for nothing but being freed. */
int imap_retrieve(Imap *imap, const uint32_t *uids, size_t n_uids, const ImapSink *sink,
                  void *userdata, Outcome *no);
/* The first @octets of the @n newest messages; @index counts from 0 as they come. */
int imap_peek(Imap *imap, uint32_t n, uint32_t octets, const ImapSink *sink, void *userdata,
              Outcome *no);
/* \Deleted and UID EXPUNGE for exactly @uids. NOT_OFFERED without UIDPLUS (plain EXPUNGE would remove what others have marked).
 * Stops at the first refusal. @ret_deleted (n_uids flags) tells which are gone for good, by our doing: not those that somebody else had removed,
 * or moved away, before. */
int imap_delete(Imap *imap, const uint32_t *uids, size_t n_uids, bool *ret_deleted, Outcome *no);

/* Waits until the server reports a change in the number of messages, at most until @usec have passed. NOT_OFFERED without IDLE.
 * Returns 0 with *ret_news. The DONE that ends it goes out with the next command. */
int imap_idle(Imap *imap, uint64_t usec, bool *ret_news, Outcome *no);
int imap_noop(Imap *imap, Outcome *no);
/* RFC 9051 section 6.1.3: BYE and OK; who just closes afterwards is fine. */
int imap_logout(Imap *imap, Outcome *no);
/* Octets of message content and responses so far. */
uint64_t imap_bytes(const Imap *imap);
