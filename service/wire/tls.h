/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all TLS connections of the process share: trust anchors, floor of versions, session tickets by host. */
#pragma once

#include "base/util.h"

typedef struct Tls Tls;

enum { TLS_BINDING_MAX = 64 };

typedef struct TlsRequest {
        const char *
                host; /* the name the user approved: for SNI and for verification, A-labels; may be an IP literal */
        const char *
                approved_spki; /* hex SHA-256 of the one key accepted although it does not verify; NULL none */
        unsigned
                relax; /* TlsRelax bits: a handshake to learn from. It never becomes a connection: stream_start_tls() then returns 1 with
                         * OUTCOME_CERTIFICATE and all facts, also when nothing is wrong with them. */
} TlsRequest;

typedef enum TlsRelax {
        TLS_RELAX_VERSION = 1 << 0, /* TLS 1.0 and 1.1 too */
        TLS_RELAX_LEVEL = 1 << 1,   /* any cipher, key and group that the library has */
        TLS_RELAX_LEGACY = 1 << 2,  /* servers without RFC 5746 */
        TLS_RELAX_NO_NAME = 1 << 3, /* without SNI */
        TLS_RELAX_LOOK = 1 << 4,    /* nothing else than usual: only look */
} TlsRelax;

/* @ca_file NULL: the system's trust store. TLS 1.2 at least, security level 2, no common name fallback, no
 * environment variables obeyed. Returns 0, -ENOMEM, -ENOENT or -EBADMSG (@ca_file cannot be read). */
int tls_new(Tls **ret, const char *ca_file);
/* For another library's SSL_CTX: it trusts what @tls trusts, without reading a hundred anchors again. */
void tls_lend_trust(const Tls *tls, void *ssl_context);
/* For the same: certificates are checked as ever, except for the time, which is what is asked about. */
void tls_ignore_time(void *ssl_context);
Tls *tls_free(Tls *tls);
DEFINE_CLEANUP(Tls, tls_free);
