/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between stream and tls, for nobody else: TLS on one non-blocking socket, without waiting. Stream does the waits;
 * all of OpenSSL's error queue is read in here, before anybody can suspend. */
#pragma once

#include "wire/outcome.h"
#include "wire/tls.h"

typedef struct TlsSession TlsSession;

typedef enum TlsResult {
        TLS_DONE,
        TLS_WANT_READ,
        TLS_WANT_WRITE,
        TLS_CLOSED, /* by the peer, with or without close_notify */
        TLS_BROKEN, /* see tls_session_tell() */
} TlsResult;

/* @fd is borrowed and outlives the session. Returns 0, -ENOMEM, -EINVAL (@request->host), -EIO. */
int tls_session_new(TlsSession **ret, Tls *tls, const TlsRequest *request, int fd);
/* Sends nothing, not even close_notify. */
TlsSession *tls_session_free(TlsSession *session);
DEFINE_CLEANUP(TlsSession, tls_session_free);

TlsResult tls_session_handshake(TlsSession *session);
/* @ret_len is set with TLS_DONE, at least 1. */
TlsResult tls_session_read(TlsSession *session, void *to, size_t size, size_t *ret_len);
TlsResult tls_session_write(TlsSession *session, const void *data, size_t len, size_t *ret_len);

/* Octets that can be read now; decrypts what the kernel has, as that may be no more than a session ticket. */
size_t tls_session_pending(TlsSession *session);

/* All facts after a handshake. Returns 0, -ENOMEM, -EIO. */
int tls_session_certificate(TlsSession *session, const TlsRequest *request, Certificate **ret);
/* What binds a sign-in to this connection, raw: tls-exporter (RFC 9266) under TLS 1.3, tls-unique (RFC 5929 section 3) under TLS 1.2 with the
 * extended master secret, without which it can be made to match another connection's. Returns how many octets, 0 for none. */
size_t tls_session_exporter(TlsSession *session, uint8_t to[TLS_BINDING_MAX]);
size_t tls_session_unique(const TlsSession *session, uint8_t to[TLS_BINDING_MAX]);
/* Whether what came first cannot be TLS; false while nothing came. */
bool tls_session_is_foreign(const TlsSession *session);
/* Fills error, alert, text and first after TLS_BROKEN, and first at any time during the handshake. */
void tls_session_tell(const TlsSession *session, Outcome *no);
