/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signing in by SASL, the same for POP3 (RFC 5034), SMTP (RFC 4954) and IMAP (RFC 9051 section 6.2.2): the dialogue says how it begins and
 * how it reads an answer, the exchange between is here. One call is one attempt by one mechanism; who tries another one counts the refusals. */
#pragma once

#include "proto/sasl.h"
#include "talk/dialogue.h"

/* Who signs in, and by what. All borrowed for the call. */
typedef struct Login {
        const char *user;
        const Secret *secret; /* NULL where only the method is asked for */
        const char *host;     /* the name that the user approved, and the port */
        uint16_t port;
        const char
                *unlisted; /* a mechanism that this provider takes without offering it; NULL none */
        const char *after; /* the mechanism that was refused before; NULL: the best one */
        bool token;        /* @secret is an OAuth access token */
        bool allow_cleartext;
} Login;

/* How a dialogue carries the exchange. */
typedef struct LoginWire {
        const char *service; /* "pop", "smtp", "imap" */
        const char *command; /* "AUTH", "a1 AUTHENTICATE" */
        size_t line_max; /* octets of a command line, CRLF included, up to which a first response goes along; 0: never */
        /* Reads what the server says: 0 it is done, 1 refused or ended (@no), 2 it asks: the challenge, base64, borrowed until the next
         * call. Suspends. */
        int (*read)(void *userdata, const char **ret_challenge, size_t *ret_len, Outcome *no);
        void *userdata;
} LoginWire;

/* The best of @offered for @login on this connection; NULL none. */
const char *login_choose(const Dialogue *dialogue, char *const *offered, const Login *login);
/* One sign-in by @mechanism. The caller has begun the command and ends it. What the server says of a token is in @no (sasl, sasl_text), also
 * in that of the refusal which follows; no->unjudged tells that the secret was not looked at. Suspends.
 * Returns 0; 1 with @no; -EINVAL for what the mechanism cannot carry, before anything is said; negative errno. */
int login_exchange(Dialogue *dialogue, const LoginWire *wire, const Login *login,
                   const char *mechanism, Outcome *no);
