/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all line dialogues share: a stream, its transcript, lines out and in, the first words, and care for secrets. Knows no
 * protocol. A dialogue is busy from a command until its whole answer was read; one that stays busy (an answer that
 * never came, one that made no sense, a cancelled call) is refused every further command, so that a late answer is never
 * taken for another command's. */
#pragma once

#include "base/buffer.h"
#include "base/transcript.h"
#include "wire/stream.h"

typedef struct Dialogue {
        Stream *stream;
        Transcript *transcript;
        const char *label;
        Buffer out; /* commands that wait for dialogue_flush() */
        bool busy;
        Secret *secret;         /* what must not be repeated from answers */
        Buffer response;        /* and the line that carried it */
        bool challenges_hidden; /* a SCRAM's salt and signature are enough to guess at the password */
} Dialogue;

/* Takes @stream; takes one more reference of @transcript (may be NULL). */
void dialogue_init(Dialogue *dialogue, Stream *stream_take, Transcript *transcript,
                   const char *label);
void dialogue_deinit(Dialogue *dialogue);

/* Begins a command: empties @no, marks the dialogue busy. Returns 0, -ENOTCONN when it still is. */
int dialogue_begin(Dialogue *dialogue, Outcome *no);
/* The answer is complete: returns @r, so that "return dialogue_end(d, r)" ends a command. */
int dialogue_end(Dialogue *dialogue, int r);

/* Puts one line (without its end) behind the others. @shown is what the transcript gets instead (NULL: the line itself).
 * Returns 0, -ENOMEM, -ENOBUFS. */
int dialogue_say(Dialogue *dialogue, const char *shown, const char *format, ...) _printf_(3, 4);
/* Sends what was put together, in one piece. Suspends. Results of stream_write(). */
int dialogue_flush(Dialogue *dialogue, Phase phase, Outcome *no);
/* stream_read_line() into the transcript. */
int dialogue_read_line(Dialogue *dialogue, Phase phase, const char **ret, size_t *ret_len,
                       Outcome *no);
/* The first line of a server, which begins with one of the characters in @expected. Any other first line, and octets
 * that are no line at all, are GARBAGE. Suspends. */
int dialogue_read_greeting(Dialogue *dialogue, const char *expected, const char **ret,
                           size_t *ret_len, Outcome *no);
/* outcome_set_text() for what the server said: some echo the secret, which is not repeated. */
void dialogue_set_text(const Dialogue *dialogue, Outcome *no, const char *text, size_t len);
/* Fills @no with what came instead of an answer; returns 1. */
int dialogue_garbage(const Dialogue *dialogue, Outcome *no, Phase phase, const char *line,
                     size_t len);
/* Fills @no: the server lacks @what. Returns 1. */
int dialogue_not_offered(Outcome *no, Phase phase, const char *what);
/* The handshake, with a remark in the transcript. Suspends. Results of stream_start_tls(). */
int dialogue_start_tls(Dialogue *dialogue, Tls *tls, const TlsRequest *request,
                       Certificate **ret_certificate, Outcome *no);

/* --- logins ------------------------------------------------------------------------------------------------- */

/* Keeps @secret out of the transcript and of all outcomes from now on. Returns 0, -ENOMEM. */
int dialogue_hide(Dialogue *dialogue, const Secret *secret);
/* dialogue_say() for a line that carries the secret: "@before@response"; the transcript gets stars. */
int dialogue_say_secret(Dialogue *dialogue, const char *before, const char *response);
/* Valid UTF-8 without control and invisible characters. */
bool login_user_is_plain(const char *user);
/* No control characters. */
bool login_secret_is_plain(const Secret *secret);
