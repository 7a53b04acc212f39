/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SASL client exchanges by GNU SASL: challenge in, response out, both in base64 as POP3, SMTP and IMAP carry them. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"

typedef struct Sasl Sasl;

/* @mechanism: "PLAIN" or "LOGIN". @host and @service ("pop", "smtp") are for those that bind to them. Returns 0, -ENOMEM,
 * -EOPNOTSUPP; -EINVAL for a secret with a NUL in it. */
int sasl_new(Sasl **ret, const char *mechanism, const char *user, const Secret *secret,
             const char *service, const char *host);
Sasl *sasl_free(Sasl *sasl);
DEFINE_CLEANUP(Sasl, sasl_free);
/* Can it speak first (SASL-IR)? PLAIN: yes, LOGIN: no. */
bool sasl_client_first(const Sasl *sasl);
/* One step: @challenge is base64 text ("" for none); appends the base64 answer to @response (make it BUFFER_SECRET).
 * Returns 0 more to come, 1 we are done, -EBADMSG for a challenge that makes no sense, -ENOMEM,
 * -ENOBUFS. */
int sasl_step(Sasl *sasl, const char *challenge, size_t len, Buffer *response);
