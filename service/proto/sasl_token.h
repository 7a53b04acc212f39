/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* XOAUTH2 and OAUTHBEARER (RFC 7628): the one message that carries a token, and the server's answer to a token that it does
 * not like. GNU SASL 2.2 has neither. Pure functions of bytes; base64 is the caller's. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"

/* RFC 7628 section 3.2.2. Texts are printable and cut. */
typedef struct SaslTokenError {
        char status[32]; /* "invalid_token", "401"; "" when there was none */
        char scope[256];
        char configuration[256]; /* an address: where the issuer describes itself */
        char text[384];          /* all of it, printable */
} SaslTokenError;

/* Appends the message in clear. @bearer: OAUTHBEARER, which names @host and @port, instead of XOAUTH2.
 * Returns 0, -ENOMEM, -ENOBUFS; -EINVAL for a user or a token with octets that would end a field (RFC 6750 section 2.1). */
int sasl_token_message(Buffer *to, bool bearer, const char *user, const Secret *token,
                       const char *host, uint16_t port);
/* Reads the decoded challenge. What is no JSON is kept as text: it is evidence in any case. */
void sasl_token_error_read(SaslTokenError *to, const void *data, size_t len);
