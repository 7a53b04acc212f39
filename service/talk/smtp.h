/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The submission dialogue (RFC 6409 over RFC 5321, 3207, 4954). Rules as in talk/pop3.h: every function suspends; 0 done,
 * 1 the world said no (@no), negative errno. no->status is the three digits, no->code the enhanced code. */
#pragma once

#include "base/secret.h"
#include "base/transcript.h"
#include "proto/smtp.h"
#include "talk/login.h"
#include "wire/stream.h"

typedef struct Smtp Smtp;

/* Takes @stream, also on failure; reads the greeting. REPLY for 4yz/5yz, GARBAGE for another protocol. */
int smtp_open(Smtp **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no);
Smtp *smtp_free(Smtp *smtp);
DEFINE_CLEANUP(Smtp, smtp_free);

const char *smtp_greeting(const Smtp *smtp);
/* EHLO with an address literal of our own end (never the machine's name). */
int smtp_ehlo(Smtp *smtp, Outcome *no);
/* Learnt by the last EHLO, empty before; borrowed until the next one. */
const SmtpExtensions *smtp_extensions(const Smtp *smtp);
/* STARTTLS, handshake, EHLO again; NOT_OFFERED, REPLY with phase STARTTLS, INJECTED, HANDSHAKE, CERTIFICATE. */
int smtp_start_tls(Smtp *smtp, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no);
/* The best mechanism on offer for this secret, NULL when there is none: what smtp_login() will use. */
const char *smtp_login_method(const Smtp *smtp, const Login *login);
/* One login by that method. NOT_OFFERED, -EPROTO, -EINVAL as pop3_login(). */
int smtp_login(Smtp *smtp, const Login *login, Outcome *no);
/* MAIL, RCPT, RSET: may this sender send to itself? Nothing is sent. no->phase tells which was refused. */
int smtp_check_sender(Smtp *smtp, const char *from, const char *to, Outcome *no);
/* Sends one message: lines end in LF or CRLF in @message and go out as CRLF, dots stuffed. -EINVAL for bare CR or NUL.
 * With phase DATA_END a connection that ended means: unknown whether it was taken. @ret_reply (may be NULL): the server's
 * words behind 250, owned by the caller. */
int smtp_send(Smtp *smtp, const char *from, const char *to, const char *message, size_t len,
              char **ret_reply, Outcome *no);
int smtp_quit(Smtp *smtp, Outcome *no);

/* --- LMTP (RFC 2033): the same dialogue with LHLO; one recipient for each content, so that the one reply behind it is his --- */

int smtp_lhlo(Smtp *smtp, Outcome *no);
/* The server takes a content by its length (CHUNKING, RFC 3030): no octet in it has a meaning. Else the caller doubles dots. */
bool smtp_takes_length(const Smtp *smtp);
/* The empty sender, @to, and the beginning of a content of @len octets, whose lines end in CRLF. 1: refused, no->phase tells what; after
 * REPLY the dialogue can go on. */
int smtp_deliver_begin(Smtp *smtp, const char *to, uint64_t len, Outcome *no);
/* The content, piece by piece, @len octets in all. */
int smtp_deliver_write(Smtp *smtp, const char *data, size_t len, Outcome *no);
/* 0: the recipient has it. 1: REPLY, he does not; anything else with phase DATA_END: unknown. */
int smtp_deliver_end(Smtp *smtp, Outcome *no);
