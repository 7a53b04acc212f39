/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A connection: bytes in and out with deadline and ceiling, in clear or under TLS. A stream can also be one end of a
 * socketpair. Waits end by the deadline in force (FIBER_DEADLINE): the call returns 1 with OUTCOME_TIMEOUT.
 * @phase of each call is what outcomes carry. One fiber at a time reads, one writes. */
#pragma once

#include "base/fiber.h"
#include "base/secret.h"
#include "wire/outcome.h"
#include "wire/tls.h"

typedef struct Stream Stream;

/* Takes @fd (non-blocking is set here), also when it fails. Returns 0, -ENOMEM, negative errno. */
int stream_new(Stream **ret, int fd_take);
/* Closes without ceremony. */
Stream *stream_free(Stream *stream);
DEFINE_CLEANUP(Stream, stream_free);

/* The next line without its CRLF or LF; NUL-terminated, borrowed until the next call, may contain NUL. Suspends.
 * Returns 0; 1 with @no (CLOSED, RESET, TIMEOUT, TOO_LONG over LIMIT_LINE); negative errno. */
int stream_read_line(Stream *stream, Phase phase, const char **ret, size_t *ret_len, Outcome *no);
/* At least one byte of what came, all that is there; stays until stream_consume(). Suspends. Results as above. */
int stream_read_some(Stream *stream, Phase phase, const char **ret, size_t *ret_len, Outcome *no);
void stream_consume(Stream *stream, size_t len);
/* Writes all. Suspends. Returns 0; 1 with @no; negative errno. */
int stream_write(Stream *stream, Phase phase, const void *data, size_t len, Outcome *no);
/* Bytes that have come and were not read, in our buffer or ready in TLS or the kernel. Does not suspend. */
size_t stream_pending(Stream *stream);

/* Makes the stream a TLS client. Bytes that are pending from before end it: 1 with OUTCOME_INJECTED. Suspends.
 * Returns 0 and the facts (@ret_certificate may be NULL) when the certificate verifies or its key is the approved one.
 * Returns 1 with @no: HANDSHAKE; CLOSED, RESET or TIMEOUT (at most LIMIT_HANDSHAKE_USEC) with PHASE_HANDSHAKE; or
 * CERTIFICATE with all facts in no->certificate; nothing was sent after the handshake and the stream is good for
 * nothing but being freed. Negative errno. */
int stream_start_tls(Stream *stream, Tls *tls, const TlsRequest *request,
                     Certificate **ret_certificate, Outcome *no);
bool stream_is_tls(const Stream *stream);
/* Octets that only the two ends of this very TLS connection know, for sign-ins that bind themselves to it: tls-exporter (TLS 1.3) or
 * tls-unique (TLS 1.2). Each writes at most TLS_BINDING_MAX and returns how many, 0 for none. */
size_t stream_tls_exporter(Stream *stream, uint8_t to[TLS_BINDING_MAX]);
size_t stream_tls_unique(const Stream *stream, uint8_t to[TLS_BINDING_MAX]);
/* The peer in presentation form, "" for a socketpair. Borrowed. */
const char *stream_peer(const Stream *stream);
/* The local address in presentation form, for EHLO literals. "" for a socketpair. Borrowed. */
const char *stream_local(const Stream *stream);
/* Octets read so far, in clear or TLS payload. */
uint64_t stream_bytes_in(const Stream *stream);
