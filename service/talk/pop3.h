/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The POP3 dialogue (RFC 1939, 2449, 2595, 3206, 5034) over a stream: one function for each thing that is said. Every
 * function suspends. Each returns 0 when the server did it; 1 when the world said no (@no: REPLY with code and text, or
 * how the connection ended); negative errno. After anything but 0 and REPLY the session is good for nothing but being
 * freed. The transcript shows every line, secrets as "******". */
#pragma once

#include "base/secret.h"
#include "base/transcript.h"
#include "proto/pop3.h"
#include "talk/login.h"
#include "wire/stream.h"

typedef struct Pop3 Pop3;

/* Takes @stream, also on failure; reads the greeting (LIMIT_GREETING_USEC at most, or the caller's deadline).
 * @transcript may be NULL (one more reference is taken), @label is borrowed for the session ("incoming").
 * 1: REPLY for an "-ERR" greeting, GARBAGE for one that is not POP3 (no->first tells), or the end of the connection. */
int pop3_open(Pop3 **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no);
Pop3 *pop3_free(Pop3 *pop3);
DEFINE_CLEANUP(Pop3, pop3_free);

/* The text behind "+OK", printable, borrowed. Forgotten after STARTTLS. */
const char *pop3_greeting(const Pop3 *pop3);
/* Asks CAPA anew. A server that knows no CAPA is no failure: 0, and capabilities->known is false. */
int pop3_ask_capabilities(Pop3 *pop3, Outcome *no);
/* What was learnt last, empty before; borrowed until the next question. */
const Pop3Capabilities *pop3_capabilities(const Pop3 *pop3);

/* STLS and the handshake; forgets all that was learnt in clear. NOT_OFFERED when a known CAPA lacks STLS, REPLY with phase
 * STARTTLS when refused, INJECTED, HANDSHAKE, CERTIFICATE. */
int pop3_start_tls(Pop3 *pop3, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no);

/* What pop3_login() will use: the best mechanism that SASL offers for this secret, "USER" where nothing better is there and USER is
 * offered or nothing is known, NULL when there is none. */
const char *pop3_login_method(const Pop3 *pop3, const Login *login);
/* One login by that method. NOT_OFFERED when there is none; -EPROTO on a stream that is not under TLS unless allowed;
 * -EINVAL for a user or secret that the method cannot carry (control characters). A connection that is closed as the answer
 * to the password is CLOSED or RESET with phase LOGIN. */
int pop3_login(Pop3 *pop3, const Login *login, Outcome *no);

int pop3_stat(Pop3 *pop3, uint64_t *ret_messages, uint64_t *ret_octets, Outcome *no);
/* Streams entries to @entry in the server's order; a negative value of it ends the session and is returned. Lines that are
 * not entries are GARBAGE. */
typedef int (*Pop3ListEntry)(void *userdata, uint32_t number, uint64_t octets);
typedef int (*Pop3UidlEntry)(void *userdata, uint32_t number, const char *uidl);
int pop3_list(Pop3 *pop3, Pop3ListEntry entry, void *userdata, Outcome *no);
int pop3_uidl(Pop3 *pop3, Pop3UidlEntry entry, void *userdata, Outcome *no);
/* Both, in that order, asked for at once: one round trip less. NOT_OFFERED when the server has not announced PIPELINING. After a
 * REPLY of phase UIDL the session is good for nothing but being freed. */
int pop3_uidl_and_list(Pop3 *pop3, Pop3UidlEntry uidl, Pop3ListEntry entry, void *userdata,
                       Outcome *no);

/* Where message content goes. Negative values end the session and are returned. @index counts in the array of numbers. */
typedef struct Pop3Sink {
        int (*begin)(void *userdata, size_t index);
        /* Dots unstuffed, CRLF became LF, otherwise untouched (bare CR and bare LF stay). */
        int (*data)(void *userdata, size_t index, const char *data, size_t len);
        /* The terminator was seen: the message is complete. */
        int (*end)(void *userdata, size_t index);
        /* This one was answered by -ERR; the others go on. */
        int (*refused)(void *userdata, size_t index, const Outcome *no);
} Pop3Sink;

/* RETR for each of @numbers, pipelined where announced (a bounded window), in order. Each wait for octets is limited to
 * LIMIT_IDLE_USEC. 0: every one was answered, by end() or by refused(). */
int pop3_retrieve(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, const Pop3Sink *sink,
                  void *userdata, Outcome *no);
/* TOP n @lines for each, the same way. NOT_OFFERED when a known CAPA lacks TOP. */
int pop3_top(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, unsigned lines,
             const Pop3Sink *sink, void *userdata, Outcome *no);
/* DELE for each, pipelined where announced. @ret_deleted (n_numbers flags, may be NULL) tells which were accepted. */
int pop3_delete(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, bool *ret_deleted,
                Outcome *no);
/* The only way to make deletions last. 0 only when the server answered +OK. */
int pop3_quit(Pop3 *pop3, Outcome *no);
/* Octets of message content and replies so far. */
uint64_t pop3_bytes(const Pop3 *pop3);
