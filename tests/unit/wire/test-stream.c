/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams in clear: lines however they are cut, ceilings, deadlines, and each way a connection ends. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "tests/unit/wire/helper.h"

static void say(int fd, const void *data, size_t len)
{
        assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t) len);
}

static void assert_line(Stream *stream, const char *expected, size_t expected_len)
{
        _cleanup_outcome_ Outcome no = {};
        const char *line;
        size_t len;

        assert_int_equal(stream_read_line(stream, PHASE_LIST, &line, &len, &no), 0);
        assert_int_equal(len, expected_len);
        assert_memory_equal(line, expected, expected_len);
        assert_int_equal(line[len], 0);
}

typedef struct Feed {
        int fd;
        const char *data;
        size_t len, cut;
} Feed;

static int feed(void *arg)
{
        Feed *f = arg;

        say(f->fd, f->data, f->cut);
        if (fiber_yield() < 0 || fiber_sleep(USEC_PER_MSEC) < 0)
                return -ECANCELED;
        say(f->fd, f->data + f->cut, f->len - f->cut);
        return 0;
}

FIBER_TEST(test_lines_split_at_every_byte)
{
        static const char text[] = "+OK\r\nbare\n\r\nnul\0inside\r\ncr\rhere\r\r\n8\xff\r\n";

        for (size_t cut = 0; cut < sizeof(text); cut++) {
                int fd;
                _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
                _cleanup_close_ int other = fd;
                Feed f = { fd, text, sizeof(text) - 1, cut };
                _cleanup_(fiber_cancelp) Fiber *fiber = NULL;

                assert_int_equal(fiber_start(&fiber, "feed", feed, &f), 0);
                assert_line(stream, "+OK", 3);
                assert_line(stream, "bare", 4);
                assert_line(stream, "", 0);
                assert_line(stream, "nul\0inside", 10);
                assert_line(stream, "cr\rhere\r", 8);
                assert_line(stream, "8\xff", 2);
                assert_int_equal(stream_bytes_in(stream), sizeof(text) - 1);
        }
        return 0;
}

FIBER_TEST(test_read_some_and_lines_mix)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_close_ int other = fd;
        _cleanup_outcome_ Outcome no = {};
        const char *data;
        size_t len;

        say(fd, "one\r\ntwo three\r\nfour", 20);
        assert_line(stream, "one", 3);
        assert_int_equal(stream_read_some(stream, PHASE_TOP, &data, &len, &no), 0);
        assert_int_equal(len, 15);
        assert_memory_equal(data, "two three\r\nfour", 15);
        stream_consume(stream, 4);
        assert_int_equal(stream_pending(stream), 11);
        assert_line(stream, "three", 5);
        say(fd, "\r\nlast", 6);
        assert_int_equal(stream_pending(stream), 10);
        assert_line(stream, "four", 4);
        assert_int_equal(stream_read_some(stream, PHASE_TOP, &data, &len, &no), 0);
        assert_int_equal(len, 4);
        stream_consume(stream, 4);
        assert_int_equal(stream_pending(stream), 0);
        assert_string_equal(stream_peer(stream), "");
        assert_false(stream_is_tls(stream));
        return 0;
}

/* Writes @len times 'x' and then @end from a thread, as a socketpair's buffer is smaller. */
typedef struct Flood {
        int fd;
        size_t len;
        const char *end;
        pthread_t thread;
} Flood;

static void *flood_main(void *arg)
{
        Flood *flood = arg;
        char data[1000];

        memset(data, 'x', sizeof(data));
        for (size_t left = flood->len; left > 0;) {
                ssize_t n = send(flood->fd, data, MIN(left, sizeof(data)), MSG_NOSIGNAL);

                if (n < 0)
                        return NULL;
                left -= (size_t) n;
        }
        (void) !send(flood->fd, flood->end, strlen(flood->end), MSG_NOSIGNAL);
        return NULL;
}

FIBER_TEST(test_ceiling)
{
        static const struct {
                size_t len;
                const char *end;
                int result;
        } cases[] = { { LIMIT_LINE, "\r\n+OK\r\n", 0 },
                      { LIMIT_LINE, "\n+OK\r\n", 0 },
                      { LIMIT_LINE + 1, "\r\n+OK\r\n", 1 },
                      { LIMIT_LINE + 1, "\n+OK\r\n", 1 },
                      { 10 * LIMIT_LINE, "", 1 } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                Flood flood = { .len = cases[i].len, .end = cases[i].end };
                Stream *stream = stream_pair(&flood.fd);
                _cleanup_close_ int other = flood.fd;
                _cleanup_outcome_ Outcome no = {};
                const char *line;
                size_t len;

                pthread_create(&flood.thread, NULL, flood_main, &flood);
                assert_int_equal(stream_read_line(stream, PHASE_STAT, &line, &len, &no),
                                 cases[i].result);
                if (cases[i].result) {
                        assert_int_equal(no.kind, OUTCOME_TOO_LONG);
                        assert_int_equal(no.phase, PHASE_STAT);
                        assert_int_equal(no.first_len, 64);
                        assert_int_equal(no.first[63], 'x');
                } else {
                        assert_int_equal(len, LIMIT_LINE);
                        assert_line(stream, "+OK", 3);
                }
                stream = stream_free(stream);
                pthread_join(flood.thread, NULL);
        }
        return 0;
}

FIBER_TEST(test_closed)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_outcome_ Outcome no = {};
        const char *line;
        size_t len;

        say(fd, "+OK\r\n-ERR go", 12);
        close(fd);
        assert_line(stream, "+OK", 3);
        for (int twice = 0; twice < 2; twice++) {
                outcome_reset(&no);
                assert_int_equal(stream_read_line(stream, PHASE_LOGIN, &line, &len, &no), 1);
                assert_int_equal(no.kind, OUTCOME_CLOSED);
                assert_int_equal(no.phase, PHASE_LOGIN);
                assert_int_equal(no.first_len, 7);
                assert_memory_equal(no.first, "-ERR go", 7);
        }
        return 0;
}

static void reset_after_greeting(int fd, void *arg)
{
        char unused[16];

        serve_text(fd, "+OK hello\r\n");
        if (recv(fd, unused, sizeof(unused), 0) > 0)
                serve_reset(fd);
}

FIBER_TEST(test_reset)
{
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.1", 0, reset_after_greeting, NULL);
        _cleanup_(stream_freep) Stream *stream = stream_to(server_port(server));
        _cleanup_outcome_ Outcome no = {};
        const char *line;
        size_t len;

        assert_string_equal(stream_peer(stream), "127.0.0.1");
        assert_string_equal(stream_local(stream), "127.0.0.1");
        assert_line(stream, "+OK hello", 9);
        assert_int_equal(stream_write(stream, PHASE_STAT, "STAT\r\n", 6, &no), 0);
        for (int twice = 0; twice < 2; twice++) {
                outcome_reset(&no);
                assert_int_equal(stream_read_line(stream, PHASE_STAT, &line, &len, &no), 1);
                assert_int_equal(no.kind, OUTCOME_RESET);
                assert_int_equal(no.error, ECONNRESET);
        }
        return 0;
}

/* SIGPIPE would end the program: the tests do not ignore it. */
FIBER_TEST(test_write_to_the_gone)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_outcome_ Outcome no = {};

        close(fd);
        assert_int_equal(stream_write(stream, PHASE_QUIT, "QUIT\r\n", 6, &no), 1);
        assert_int_equal(no.kind, OUTCOME_RESET);
        assert_int_equal(no.phase, PHASE_QUIT);
        assert_int_equal(no.error, EPIPE);
        return 0;
}

static int dribble(void *arg)
{
        int fd = *(int *) arg, r = 0;

        while (r == 0) {
                say(fd, "x", 1);
                r = fiber_sleep(50 * USEC_PER_MSEC);
        }
        return r;
}

/* The limit is for the whole step: a server that says one octet at a time does not move it. Virtual time. */
FIBER_TEST(test_timeout_despite_dribble)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_close_ int other = fd;
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;
        _cleanup_outcome_ Outcome no = {};
        const char *line;
        size_t len;
        uint64_t start;

        clock_virtual_start(clock_now(), clock_real());
        start = clock_now();
        assert_int_equal(fiber_start(&fiber, "dribble", dribble, &fd), 0);
        {
                FIBER_DEADLINE(LIMIT_GREETING_USEC);
                assert_int_equal(stream_read_line(stream, PHASE_GREETING, &line, &len, &no), 1);
        }
        assert_int_equal(no.kind, OUTCOME_TIMEOUT);
        assert_int_equal(no.phase, PHASE_GREETING);
        assert_int_equal(clock_now() - start, LIMIT_GREETING_USEC);
        assert_true(no.first_len > 0);
        fiber = fiber_cancel(fiber);
        clock_virtual_stop();
        return 0;
}

static int drain_slowly(void *arg)
{
        int fd = *(int *) arg;
        char data[32 * 1024];

        for (;;) {
                int r = fiber_sleep(USEC_PER_MSEC);

                if (r < 0)
                        return r;
                while (recv(fd, data, sizeof(data), MSG_DONTWAIT) > 0)
                        ;
        }
}

FIBER_TEST(test_write_more_than_fits)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_close_ int other = fd;
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;
        _cleanup_outcome_ Outcome no = {};
        size_t len = 4 << 20;
        _cleanup_free_ char *data = calloc(1, len);

        assert_int_equal(fiber_start(&fiber, "drain", drain_slowly, &fd), 0);
        assert_int_equal(stream_write(stream, PHASE_DATA, data, len, &no), 0);
        fiber = fiber_cancel(fiber);
        /* And when nobody reads: the deadline. */
        FIBER_DEADLINE(50 * USEC_PER_MSEC);
        assert_int_equal(stream_write(stream, PHASE_DATA, data, len, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TIMEOUT);
        assert_int_equal(no.phase, PHASE_DATA);
        return 0;
}

typedef struct Both {
        Stream *stream;
        int result;
} Both;

static int write_much(void *arg)
{
        Both *both = arg;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_free_ char *data = calloc(1, 1 << 20);

        return both->result = stream_write(both->stream, PHASE_DATA, data, 1 << 20, &no);
}

/* One fiber waits to write while the other waits to read the same socket. */
FIBER_TEST(test_read_while_writing)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_close_ int other = fd;
        _cleanup_(fiber_cancelp) Fiber *drain = NULL, *writer = NULL;
        Both both = { stream, 7 };
        Feed f = { fd, "+OK\r\n", 5, 2 };
        _cleanup_(fiber_cancelp) Fiber *feeder = NULL;

        assert_int_equal(fiber_start(&writer, "write", write_much, &both), 0);
        assert_int_equal(fiber_sleep(5 * USEC_PER_MSEC), 0);
        assert_int_equal(both.result, 7);
        assert_int_equal(fiber_start(&feeder, "feed", feed, &f), 0);
        assert_line(stream, "+OK", 3);
        assert_int_equal(both.result, 7);
        assert_int_equal(fiber_start(&drain, "drain", drain_slowly, &fd), 0);
        assert_int_equal(fiber_join(&writer, NULL), 0);
        assert_int_equal(both.result, 0);
        return 0;
}

static int read_a_line(void *arg)
{
        Both *both = arg;
        _cleanup_outcome_ Outcome no = {};
        const char *line;
        size_t len;

        return both->result = stream_read_line(both->stream, PHASE_GREETING, &line, &len, &no);
}

FIBER_TEST(test_cancel)
{
        int fd;
        _cleanup_(stream_freep) Stream *stream = stream_pair(&fd);
        _cleanup_close_ int other = fd;
        Both both = { stream, 7 };
        Fiber *fiber = NULL;

        assert_int_equal(fiber_start(&fiber, "read", read_a_line, &both), 0);
        assert_int_equal(fiber_yield(), 0);
        assert_int_equal(both.result, 7);
        fiber_cancel(fiber);
        assert_int_equal(both.result, -ECANCELED);
        return 0;
}

static int count(void *arg)
{
        unsigned *n = arg;

        for (;;) {
                int r = fiber_sleep(USEC_PER_MSEC);

                if (r < 0)
                        return r;
                (*n)++;
        }
}

static int swallow(void *arg)
{
        Both *both = arg;
        _cleanup_outcome_ Outcome no = {};
        const char *data;
        size_t len;
        int r;

        FIBER_DEADLINE(100 * USEC_PER_MSEC);
        do {
                r = stream_read_some(both->stream, PHASE_RETRIEVE, &data, &len, &no);
                if (r == 0)
                        stream_consume(both->stream, len);
        } while (r == 0);
        return both->result = no.kind == OUTCOME_TIMEOUT;
}

/* A server that never stops talking neither stops the other fibers nor outlives the deadline. */
FIBER_TEST(test_flood_is_fair)
{
        Flood flood = { .len = SIZE_MAX, .end = "" };
        Stream *stream = stream_pair(&flood.fd);
        _cleanup_close_ int other = flood.fd;
        _cleanup_(fiber_cancelp) Fiber *counter = NULL, *reader = NULL;
        Both both = { stream, 7 };
        unsigned n = 0;

        pthread_create(&flood.thread, NULL, flood_main, &flood);
        assert_int_equal(fiber_start(&counter, "count", count, &n), 0);
        assert_int_equal(fiber_start(&reader, "swallow", swallow, &both), 0);
        assert_int_equal(fiber_join(&reader, NULL), 0);
        assert_int_equal(both.result, 1);
        assert_true(n > 5);
        stream_free(stream);
        pthread_join(flood.thread, NULL);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lines_split_at_every_byte),
                cmocka_unit_test(test_read_some_and_lines_mix),
                cmocka_unit_test(test_ceiling),
                cmocka_unit_test(test_closed),
                cmocka_unit_test(test_reset),
                cmocka_unit_test(test_write_to_the_gone),
                cmocka_unit_test(test_timeout_despite_dribble),
                cmocka_unit_test(test_write_more_than_fits),
                cmocka_unit_test(test_read_while_writing),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_flood_is_fair),
        };

        network_own();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
