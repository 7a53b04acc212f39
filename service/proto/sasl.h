/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SASL client exchanges: challenge in, response out, both in base64 as POP3, SMTP and IMAP carry them; and the choice among the
 * mechanisms that a server offers. Passwords by GNU SASL, tokens (XOAUTH2, OAUTHBEARER) by proto/sasl_token. The dialogues do not
 * call this themselves: talk/login runs the exchange for all of them. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"
#include "proto/sasl_token.h"

typedef struct Sasl Sasl;

/* Data that bind a sign-in to the TLS connection it runs on (RFC 5929, 9266), in base64. Both NULL: none. */
typedef struct SaslBinding {
        char *exporter; /* tls-exporter, TLS 1.3 */
        char *unique;   /* tls-unique, TLS 1.2 */
} SaslBinding;

/* Who signs in, and by what. All borrowed for the call. */
typedef struct SaslLogin {
        const char *user;
        const Secret *secret;
        const char *service; /* "pop", "smtp", "imap" */
        const char *host;    /* the name that the user approved */
        uint16_t port;
        const SaslBinding *binding; /* may be NULL */
} SaslLogin;

typedef struct SaslChoice {
        bool token;           /* what there is is an access token, not a password */
        bool tls;             /* CRAM-MD5 is for TLS only: its answer can be guessed at leisure */
        bool binding;         /* there are data to bind to */
        const Secret *secret; /* NULL while it is not known */
        const char
                *unlisted; /* a mechanism that this provider takes without offering it; NULL none */
        const char *after; /* only what ranks below this one, which was refused; NULL: any */
} SaslChoice;

/* The best mechanism of @offered (a NULL-terminated list, any case), in static memory; NULL when none will do. For passwords
 * SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, PLAIN, LOGIN, CRAM-MD5; for tokens OAUTHBEARER, XOAUTH2. What a
 * challenge-response makes of a password beyond ASCII is no agreed thing: such a password goes by PLAIN or LOGIN. */
const char *sasl_choose(char *const *offered, const SaslChoice *choice);
bool sasl_takes_token(const char *mechanism);

/* Returns 0, -ENOMEM, -EOPNOTSUPP (not one of the above); -EINVAL for a user or secret that the mechanism cannot carry. */
int sasl_new(Sasl **ret, const char *mechanism, const SaslLogin *login);
Sasl *sasl_free(Sasl *sasl);
DEFINE_CLEANUP(Sasl, sasl_free);
/* Can it speak first (SASL-IR)? LOGIN and CRAM-MD5 wait for the server. */
bool sasl_client_first(const Sasl *sasl);
/* One step: @challenge is base64 text ("" for none; LOGIN's is not looked at, servers ask in any words); appends the base64 answer
 * to @response (make it BUFFER_SECRET), which may be nothing.
 * Returns 0 more to come, 1 we are done, -EBADMSG for a challenge that makes no sense, -ENOMEM, -ENOBUFS. */
int sasl_step(Sasl *sasl, const char *challenge, size_t len, Buffer *response);
/* May a server's word that all is well be believed? SCRAM wants proof that it knows the password too (RFC 5802 section 3). */
bool sasl_proven(const Sasl *sasl);
/* Has the server been told what it needs to judge the secret? A SCRAM that ends before says nothing about the password. */
bool sasl_judged(const Sasl *sasl);
/* What the server said of a token; NULL: nothing (yet). Borrowed. */
const SaslTokenError *sasl_token_error(const Sasl *sasl);
