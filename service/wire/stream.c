/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See stream.h. Everything that reads goes through stream_fill(), everything that waits through stream_wait(). The
 * end of the connection is remembered: whoever asks again hears the same. Reader and writer have a watch each, on
 * two descriptors of one socket, because a loop watches one descriptor only once. */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "base/text.h"
#include "wire/address.h"
#include "wire/stream.h"
#include "wire/tls_session.h"

enum {
        CHUNK = 16 * 1024,    /* octets asked for at once; also what a TLS record holds */
        ROUNDS_IN_A_ROW = 32, /* reads or writes that need no waiting, until others get a turn */
};

struct Stream {
        int fd, write_fd;
        FdWatch *read_watch, *write_watch;
        TlsSession *session;
        Buffer input;
        size_t taken;   /* octets at the front of @input that the reader has had */
        size_t scanned; /* octets behind @taken in which no LF was found */
        uint64_t bytes_in;
        unsigned n_rounds;
        bool closed, broken;
        int error;
        char peer[48], local[48];
};

Stream *stream_free(Stream *stream)
{
        if (!stream)
                return NULL;
        tls_session_free(stream->session);
        fd_watch_free(stream->read_watch);
        fd_watch_free(stream->write_watch);
        fd_close(stream->write_fd);
        fd_close(stream->fd);
        buffer_deinit(&stream->input);
        free(stream);
        return NULL;
}

static void stream_name_ends(Stream *stream)
{
        struct sockaddr_storage address;
        socklen_t len = sizeof(address);

        if (getpeername(stream->fd, (struct sockaddr *) &address, &len) == 0)
                address_text((struct sockaddr *) &address, stream->peer);
        len = sizeof(address);
        if (getsockname(stream->fd, (struct sockaddr *) &address, &len) == 0)
                address_text((struct sockaddr *) &address, stream->local);
}

int stream_new(Stream **ret, int fd_take)
{
        _cleanup_close_ int fd = fd_take;
        _cleanup_(stream_freep) Stream *stream = calloc(1, sizeof(*stream));
        int flags, one = 1, r;

        if (!stream)
                return -ENOMEM;
        stream->fd = stream->write_fd = -1;
        stream->input = BUFFER_SECRET(LIMIT_LINE + 2 + CHUNK);
        flags = fcntl(fd, F_GETFL);
        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        /* Commands are small and written whole; waiting for more would only cost a round trip. */
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        r = fd_watch_new(&stream->read_watch, fd);
        if (r < 0)
                return r;
        stream->fd = fd;
        fd = -1;
        stream_name_ends(stream);
        *ret = TAKE(stream);
        return 0;
}

/* --- waiting ----------------------------------------------------------------------------------------------- */

static int stream_outcome(Phase phase, int r, Outcome *no)
{
        return r == -ETIME ? outcome_set(no, OUTCOME_TIMEOUT, phase) : r;
}

static int stream_watch_for_writer(Stream *stream)
{
        if (stream->write_watch)
                return 0;
        stream->write_fd = fcntl(stream->fd, F_DUPFD_CLOEXEC, 3);
        if (stream->write_fd < 0)
                return -errno;
        return fd_watch_new(&stream->write_watch, stream->write_fd);
}

/* A server that writes twice (TLS tickets, then its greeting) and has not switched off Nagle's algorithm holds the second back
 * until we have acknowledged the first, and we would do that 40 ms later: whoever only waits acknowledges at once. The kernel
 * forgets this wish when we send. */
static void stream_ack_at_once(const Stream *stream)
{
        int one = 1;

        (void) setsockopt(stream->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static int stream_wait(Stream *stream, FdWatch *watch, TlsResult wanted, Phase phase, Outcome *no)
{
        int r;

        if (wanted != TLS_WANT_WRITE)
                stream_ack_at_once(stream);
        r = fd_watch_wait(watch, wanted == TLS_WANT_WRITE ? EPOLLOUT : EPOLLIN);
        stream->n_rounds = 0;
        return r > 0 ? 0 : stream_outcome(phase, r, no);
}

/* A peer that always has more to say must neither stop the others nor outlive the deadline. */
static int stream_give_turn(Stream *stream, Phase phase, Outcome *no)
{
        if (++stream->n_rounds < ROUNDS_IN_A_ROW)
                return fiber_cancelled() ? -ECANCELED : 0;
        stream->n_rounds = 0;
        return stream_outcome(phase, fiber_yield(), no);
}

/* --- the socket -------------------------------------------------------------------------------------------- */

static TlsResult plain_read(Stream *stream, void *to, size_t size, size_t *ret_len)
{
        ssize_t n;

        do
                n = recv(stream->fd, to, size, 0);
        while (n < 0 && errno == EINTR);
        if (n > 0) {
                *ret_len = (size_t) n;
                return TLS_DONE;
        }
        if (n == 0)
                return TLS_CLOSED;
        if (errno == EAGAIN)
                return TLS_WANT_READ;
        stream->error = errno;
        return TLS_BROKEN;
}

static TlsResult plain_write(Stream *stream, const void *data, size_t len, size_t *ret_len)
{
        ssize_t n;

        do
                n = send(stream->fd, data, len, MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        if (n >= 0) {
                *ret_len = (size_t) n;
                return TLS_DONE;
        }
        if (errno == EAGAIN)
                return TLS_WANT_WRITE;
        stream->error = errno;
        return TLS_BROKEN;
}

/* Ends the stream for its readers or writers. Returns 1. */
static int stream_ended(Stream *stream, Phase phase, Outcome *no)
{
        if (stream->session)
                tls_session_tell(stream->session, no);
        if (stream->closed)
                return outcome_set(no, OUTCOME_CLOSED, phase);
        if (!stream->session)
                no->error = stream->error;
        return outcome_set(no, OUTCOME_RESET, phase);
}

/* Appends what is there to the input without waiting: TLS_DONE or why not. -ENOMEM and -ENOBUFS are ours. */
static int stream_pump(Stream *stream, TlsResult *ret)
{
        size_t n = 0;
        char *to;
        int r;

        if (stream->closed || stream->broken) {
                *ret = stream->closed ? TLS_CLOSED : TLS_BROKEN;
                return 0;
        }
        if (stream->taken > 0) {
                buffer_consume(&stream->input, stream->taken);
                stream->taken = 0;
        }
        r = buffer_reserve(&stream->input, CHUNK, &to);
        if (r < 0)
                return r;
        *ret = stream->session ? tls_session_read(stream->session, to, CHUNK, &n)
                               : plain_read(stream, to, CHUNK, &n);
        if (*ret == TLS_DONE) {
                buffer_commit(&stream->input, n);
                stream->bytes_in += n;
        }
        stream->closed = *ret == TLS_CLOSED;
        stream->broken = *ret == TLS_BROKEN;
        return 0;
}

/* Waits until at least one more octet is in the input. */
static int stream_fill(Stream *stream, Phase phase, Outcome *no)
{
        for (;;) {
                TlsResult result;
                int r = stream_give_turn(stream, phase, no);

                if (r)
                        return r;
                r = stream_pump(stream, &result);
                if (r < 0)
                        return r;
                switch (result) {
                case TLS_DONE:
                        return 0;
                case TLS_WANT_READ:
                case TLS_WANT_WRITE:
                        r = stream_wait(stream, stream->read_watch, result, phase, no);
                        if (r)
                                return r;
                        break;
                case TLS_CLOSED:
                case TLS_BROKEN:
                        return stream_ended(stream, phase, no);
                }
        }
}

/* --- reading ----------------------------------------------------------------------------------------------- */

static const char *stream_rest(const Stream *stream, size_t *ret_len)
{
        *ret_len = stream->input.len - stream->taken;
        return stream->input.data ? stream->input.data + stream->taken : "";
}

/* What there is of a line that does not end, as the proof. */
static void stream_tell_rest(Stream *stream, Outcome *no)
{
        size_t len;
        const char *rest = stream_rest(stream, &len);

        no->first_len = MIN(len, sizeof(no->first));
        memcpy(no->first, rest, no->first_len);
}

static bool stream_cut_line(Stream *stream, const char **ret, size_t *ret_len)
{
        char *start = stream->input.data + stream->taken, *end;
        size_t len = stream->input.len - stream->taken;

        end = len > stream->scanned ? memchr(start + stream->scanned, '\n', len - stream->scanned)
                                    : NULL;
        if (!end) {
                stream->scanned = len;
                return false;
        }
        stream->scanned = 0;
        stream->taken += (size_t) (end - start) + 1;
        if (end > start && end[-1] == '\r')
                end--;
        *end = 0;
        *ret = start;
        *ret_len = (size_t) (end - start);
        return true;
}

int stream_read_line(Stream *stream, Phase phase, const char **ret, size_t *ret_len, Outcome *no)
{
        for (;;) {
                const char *line;
                size_t len;
                int r;

                if (stream->input.data && stream_cut_line(stream, &line, &len)) {
                        if (len > LIMIT_LINE) {
                                no->first_len = sizeof(no->first);
                                memcpy(no->first, line, no->first_len);
                                return outcome_set(no, OUTCOME_TOO_LONG, phase);
                        }
                        *ret = line;
                        *ret_len = len;
                        return 0;
                }
                if (stream->scanned > LIMIT_LINE + 1) {
                        stream_tell_rest(stream, no);
                        return outcome_set(no, OUTCOME_TOO_LONG, phase);
                }
                r = stream_fill(stream, phase, no);
                if (r == 1)
                        stream_tell_rest(stream, no);
                if (r)
                        return r;
        }
}

int stream_read_some(Stream *stream, Phase phase, const char **ret, size_t *ret_len, Outcome *no)
{
        while (stream->taken == stream->input.len) {
                int r = stream_fill(stream, phase, no);

                if (r)
                        return r;
        }
        *ret = stream_rest(stream, ret_len);
        return 0;
}

void stream_consume(Stream *stream, size_t len)
{
        assert(len <= stream->input.len - stream->taken);
        stream->taken += len;
        stream->scanned = 0;
}

size_t stream_pending(Stream *stream)
{
        size_t len = stream->input.len - stream->taken;
        int waiting = 0;

        if (stream->session)
                return len + tls_session_pending(stream->session);
        if (ioctl(stream->fd, FIONREAD, &waiting) < 0 || waiting < 0)
                waiting = 0;
        return len + (size_t) waiting;
}

/* --- writing ----------------------------------------------------------------------------------------------- */

static int stream_wait_to_write(Stream *stream, TlsResult result, Phase phase, Outcome *no)
{
        int r = stream_watch_for_writer(stream);

        return r < 0 ? r : stream_wait(stream, stream->write_watch, result, phase, no);
}

int stream_write(Stream *stream, Phase phase, const void *data, size_t len, Outcome *no)
{
        const char *at = data;

        while (len > 0) {
                size_t n = 0;
                TlsResult result;
                int r = stream_give_turn(stream, phase, no);

                if (r)
                        return r;
                result = stream->session ? tls_session_write(stream->session, at, len, &n)
                                         : plain_write(stream, at, len, &n);
                switch (result) {
                case TLS_DONE:
                        at += n;
                        len -= n;
                        break;
                case TLS_WANT_READ:
                case TLS_WANT_WRITE:
                        r = stream_wait_to_write(stream, result, phase, no);
                        if (r)
                                return r;
                        break;
                case TLS_CLOSED:
                case TLS_BROKEN:
                        if (stream->session)
                                tls_session_tell(stream->session, no);
                        else
                                no->error = stream->error;
                        return outcome_set(
                                no, result == TLS_CLOSED ? OUTCOME_CLOSED : OUTCOME_RESET, phase);
                }
        }
        return 0;
}

/* --- TLS --------------------------------------------------------------------------------------------------- */

/* RFC 8314 and the "command injection" faults of 2011 and 2021: what waits behind the STARTTLS answer came from
 * somebody who could not know that TLS begins. On a fresh connection the handshake itself finds out. */
static int stream_refuse_waiting(Stream *stream, Outcome *no)
{
        ssize_t n;

        if (stream->bytes_in == 0)
                return 0;
        if (stream->taken < stream->input.len) {
                stream_tell_rest(stream, no);
                return outcome_set(no, OUTCOME_INJECTED, PHASE_STARTTLS);
        }
        n = recv(stream->fd, no->first, sizeof(no->first), MSG_PEEK | MSG_DONTWAIT);
        if (n <= 0)
                return 0;
        no->first_len = (size_t) n;
        return outcome_set(no, OUTCOME_INJECTED, PHASE_STARTTLS);
}

static int handshake_failed(TlsSession *session, TlsResult result, Outcome *no)
{
        tls_session_tell(session, no);
        if (tls_session_is_foreign(session) || no->alert || no->error == EPROTO)
                return outcome_set(no, OUTCOME_HANDSHAKE, PHASE_HANDSHAKE);
        return outcome_set(no, result == TLS_CLOSED ? OUTCOME_CLOSED : OUTCOME_RESET,
                           PHASE_HANDSHAKE);
}

static int stream_shake_hands(Stream *stream, TlsSession *session, Outcome *no)
{
        for (;;) {
                TlsResult result = tls_session_handshake(session);
                int r;

                switch (result) {
                case TLS_DONE:
                        return 0;
                case TLS_WANT_READ:
                case TLS_WANT_WRITE:
                        r = stream_wait(stream, stream->read_watch, result, PHASE_HANDSHAKE, no);
                        if (r < 0)
                                return r;
                        if (r > 0 && tls_session_is_foreign(session))
                                return handshake_failed(session, result, no);
                        if (r > 0)
                                return r;
                        break;
                case TLS_CLOSED:
                case TLS_BROKEN:
                        return handshake_failed(session, result, no);
                }
        }
}

int stream_start_tls(Stream *stream, Tls *tls, const TlsRequest *request,
                     Certificate **ret_certificate, Outcome *no)
{
        _cleanup_(tls_session_freep) TlsSession *session = NULL;
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        int r;

        if (stream->session)
                return -EALREADY;
        if (fiber_cancelled())
                return -ECANCELED;
        FIBER_DEADLINE(LIMIT_HANDSHAKE_USEC);
        r = stream_refuse_waiting(stream, no);
        if (r)
                return r;
        r = tls_session_new(&session, tls, request, stream->fd);
        if (r < 0)
                return r;
        r = stream_shake_hands(stream, session, no);
        if (r)
                return r;
        r = tls_session_certificate(session, request, &certificate);
        if (r < 0)
                return r;
        if ((certificate->faults && !certificate->approved) || request->relax) {
                certificate_free(no->certificate);
                no->certificate = TAKE(certificate);
                return outcome_set(no, OUTCOME_CERTIFICATE, PHASE_HANDSHAKE);
        }
        stream->session = TAKE(session);
        if (ret_certificate)
                *ret_certificate = TAKE(certificate);
        return 0;
}

bool stream_is_tls(const Stream *stream)
{
        return stream->session;
}

size_t stream_tls_exporter(Stream *stream, uint8_t to[TLS_BINDING_MAX])
{
        return stream->session ? tls_session_exporter(stream->session, to) : 0;
}

size_t stream_tls_unique(const Stream *stream, uint8_t to[TLS_BINDING_MAX])
{
        return stream->session ? tls_session_unique(stream->session, to) : 0;
}

const char *stream_peer(const Stream *stream)
{
        return stream->peer;
}

const char *stream_local(const Stream *stream)
{
        return stream->local;
}

uint64_t stream_bytes_in(const Stream *stream)
{
        return stream->bytes_in;
}
