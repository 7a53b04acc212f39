/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See peer.h. */
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/buffer.h"
#include "tests/unit/talk/peer.h"

enum { TURNS = 3, ALL = -1 };

struct Peer {
        int fd;
        FdWatch *watch;
        Buffer in;
        const char *const *script;
        PeerServe serve;
        size_t chunk; /* octets sent at once; 0 for all */
        size_t cut;   /* one more split, at this octet of all that is sent; 0 for none */
        size_t sent;
        bool ended;
};

typedef struct Client {
        Stream *stream;
        Transcript *transcript;
        Play play;
        bool done;
} Client;

static void turns(unsigned n)
{
        while (n-- > 0)
                (void) fiber_yield();
}

static void send_piece(Peer *peer, const char *data, size_t len)
{
        while (len > 0 && !peer->ended) {
                ssize_t n = send(peer->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno == EAGAIN) {
                        peer->ended = fd_watch_wait(peer->watch, EPOLLOUT) < 0;
                        continue;
                }
                peer->ended = n < 0; /* the client has gone: it may */
                data += n > 0 ? n : 0;
                len -= n > 0 ? (size_t) n : 0;
        }
}

void peer_send(Peer *peer, const char *data, size_t len)
{
        while (len > 0 && !peer->ended) {
                size_t n = peer->chunk ? MIN(peer->chunk, len) : len;

                if (peer->cut > peer->sent && peer->cut - peer->sent < n)
                        n = peer->cut - peer->sent;
                send_piece(peer, data, n);
                peer->sent += n;
                data += n;
                len -= n;
                if (peer->chunk || peer->sent == peer->cut)
                        turns(TURNS);
        }
}

static bool receive(Peer *peer)
{
        char *to;
        ssize_t n;

        assert_int_equal(buffer_reserve(&peer->in, 4096, &to), 0);
        for (;;) {
                n = recv(peer->fd, to, 4096, MSG_DONTWAIT);
                if (n > 0) {
                        buffer_commit(&peer->in, (size_t) n);
                        return true;
                }
                if (n == 0 || errno != EAGAIN || fd_watch_wait(peer->watch, EPOLLIN) < 0)
                        return false;
        }
}

bool peer_read(Peer *peer, char *line, size_t size)
{
        char *end;
        size_t len;

        while (!peer->in.data || !(end = memmem(peer->in.data, peer->in.len, "\r\n", 2)))
                if (!receive(peer))
                        return false;
        len = (size_t) (end - peer->in.data);
        assert_true(len < size);
        memcpy(line, peer->in.data, len);
        line[len] = 0;
        buffer_consume(&peer->in, len + 2);
        return true;
}

size_t peer_waiting(Peer *peer)
{
        size_t n = 0;

        turns(TURNS);
        for (;;) {
                char *to;
                ssize_t got;

                assert_int_equal(buffer_reserve(&peer->in, 4096, &to), 0);
                got = recv(peer->fd, to, 4096, MSG_DONTWAIT);
                if (got <= 0)
                        break;
                buffer_commit(&peer->in, (size_t) got);
        }
        for (size_t i = 0; i < peer->in.len; i++)
                n += peer->in.data[i] == '\n';
        return n;
}

static void wrong(const char *expected, const char *line)
{
        fprintf(stderr, "expected: %s\nthe client said: %s\n", expected, line);
        abort();
}

static void expect(Peer *peer, const char *text, bool strict)
{
        char line[8192];

        if (!peer_read(peer, line, sizeof(line))) {
                peer->ended = true; /* the client's own checks know whether it might */
                return;
        }
        if (strcmp(line, text) != 0)
                wrong(text, line);
        if (strict && (peer_waiting(peer) > 0 || peer->in.len > 0))
                wrong("nothing more", peer->in.data);
}

static void play_script(Peer *peer)
{
        for (const char *const *step = peer->script; *step && !peer->ended; step++) {
                const char *text = strlen(*step) > 3 ? *step + 3 : "";

                switch (**step) {
                case 'S':
                        peer_send(peer, text, strlen(text));
                        peer_send(peer, "\r\n", 2);
                        break;
                case 'R':
                        peer_send(peer, text, strlen(text));
                        break;
                case 'C':
                case 'c':
                        expect(peer, text, **step == 'C');
                        break;
                case 'L':
                        turns((unsigned) strtoul(text, NULL, 10));
                        break;
                case 'X':
                        shutdown(peer->fd, SHUT_WR);
                        break;
                default:
                        wrong("a step", *step);
                }
        }
}

static int peer_main(void *arg)
{
        Peer *peer = arg;
        char line[8192];

        if (peer->serve)
                peer->serve(peer);
        else
                play_script(peer);
        if (!peer->ended && peer_read(peer, line, sizeof(line)))
                wrong("the end", line);
        shutdown(peer->fd, SHUT_RDWR);
        return 0;
}

static int client_main(void *arg)
{
        Client *client = arg;

        client->play(TAKE(client->stream), client->transcript);
        client->done = true;
        return 0;
}

static void check_transcript(const Transcript *transcript)
{
        const char *text = transcript_text(transcript);

        assert_null(strstr(text, PASSWORD));
        assert_null(strstr(text, PASSWORD_BASE64));
        assert_null(strstr(text, PLAIN_BASE64));
}

/* Returns whether the client came to its end; @n_turns of the loop, then it is cancelled (ALL: never). */
static bool run(Loop *loop, Peer peer, Play play, int n_turns, size_t *ret_sent)
{
        Client client = { .play = play };
        Fiber *server = NULL, *user = NULL;
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(stream_new(&client.stream, fds[0]), 0);
        assert_int_equal(transcript_new(&client.transcript), 0);
        peer.fd = fds[1];
        peer.in = BUFFER(1 << 20);
        assert_int_equal(fd_watch_new(&peer.watch, peer.fd), 0);
        assert_int_equal(fiber_start(&server, "peer", peer_main, &peer), 0);
        assert_int_equal(fiber_start(&user, "client", client_main, &client), 0);
        while (n_turns != 0 && !(fiber_ended(user) && fiber_ended(server))) {
                assert_int_equal(loop_step(loop, 20 * USEC_PER_SEC), 1);
                n_turns -= n_turns > 0;
        }
        fiber_cancel(user);
        fiber_cancel(server);
        stream_free(client.stream);
        fd_watch_free(peer.watch);
        fd_close(peer.fd);
        buffer_deinit(&peer.in);
        check_transcript(client.transcript);
        transcript_unref(client.transcript);
        if (ret_sent)
                *ret_sent = peer.sent;
        return client.done;
}

void peer_play(Loop *loop, const char *const *script, Play play)
{
        size_t total;

        assert_true(run(loop, (Peer){ .script = script }, play, ALL, &total));
        assert_true(run(loop, (Peer){ .script = script, .chunk = 1 }, play, ALL, NULL));
        for (size_t cut = 1; cut < total; cut++)
                assert_true(run(loop, (Peer){ .script = script, .cut = cut }, play, ALL, NULL));
}

void peer_play_cancelled(Loop *loop, const char *const *script, Play play)
{
        for (int n = 0; n < 10000; n++)
                if (run(loop, (Peer){ .script = script, .chunk = 7 }, play, n, NULL))
                        return;
        assert_true(false);
}

void peer_play_serve(Loop *loop, PeerServe serve, Play play)
{
        assert_true(run(loop, (Peer){ .serve = serve }, play, ALL, NULL));
}

Secret *peer_password(void)
{
        Secret *secret = NULL;

        assert_int_equal(secret_new(&secret, PASSWORD, strlen(PASSWORD)), 0);
        return secret;
}
