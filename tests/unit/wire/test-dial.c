/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The race for a connection: who starts when, who wins, and what is said about each. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/unit/wire/helper.h"
#include "wire/dial.h"

enum { PORT = 9951 };

static DnsAddresses addresses_of(const char *const *texts)
{
        DnsAddresses addresses = {};

        for (; *texts; texts++) {
                struct sockaddr_storage *to = &addresses.addresses[addresses.n_addresses++];

                if (inet_pton(AF_INET6, *texts, &((struct sockaddr_in6 *) to)->sin6_addr) == 1)
                        to->ss_family = AF_INET6;
                else {
                        inet_pton(AF_INET, *texts, &((struct sockaddr_in *) to)->sin_addr);
                        to->ss_family = AF_INET;
                }
        }
        return addresses;
}

#define ADDRESSES(...) addresses_of((const char *const[]){ __VA_ARGS__, NULL })

static void serve_greeting(int fd, void *arg)
{
        serve_text(fd, "+OK\r\n");
        serve_until_closed(fd);
}

/* An address that lets SYNs fall: its queue of connections is full. */
typedef struct Silent {
        int listening, filling[3];
} Silent;

static void silent_deinit(Silent *silent)
{
        fd_close(silent->listening);
        for (size_t i = 0; i < ELEMENTS(silent->filling); i++)
                fd_close(silent->filling[i]);
}

static Silent silent_start(const char *address)
{
        DnsAddresses at = ADDRESSES(address);
        struct sockaddr_in *in = (struct sockaddr_in *) &at.addresses[0];
        Silent silent = { socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), { -1, -1, -1 } };

        in->sin_port = htons(PORT);
        assert_int_equal(bind(silent.listening, (struct sockaddr *) in, sizeof(*in)), 0);
        assert_int_equal(listen(silent.listening, 0), 0);
        for (size_t i = 0; i < ELEMENTS(silent.filling); i++) {
                silent.filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
                connect(silent.filling[i], (struct sockaddr *) in, sizeof(*in));
        }
        return silent;
}

FIBER_TEST(test_first_wins)
{
        _cleanup_(server_stopp)
                Server *server = server_start("::1", PORT, serve_greeting, NULL),
                       *other = server_start("127.0.0.1", PORT, serve_greeting, NULL);
        DnsAddresses addresses = ADDRESSES("127.0.0.1", "::1");
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        DialReport report;
        const char *line;
        size_t len;

        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, &report, &no), 0);
        assert_string_equal(stream_peer(stream), "::1"); /* IPv6 goes first */
        assert_int_equal(report.n_attempts, 1);
        assert_int_equal(report.winner, 0);
        assert_int_equal(report.attempts[0].error, 0);
        assert_int_equal(stream_read_line(stream, PHASE_GREETING, &line, &len, &no), 0);
        assert_int_equal(server_n_connections(other), 0);
        return 0;
}

FIBER_TEST(test_refused_then_good)
{
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.1", PORT, serve_greeting, NULL);
        DnsAddresses addresses = ADDRESSES("::1", "127.0.0.1");
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        DialReport report;
        uint64_t start = clock_now();

        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, &report, &no), 0);
        assert_true(clock_now() - start < 200 * USEC_PER_MSEC); /* at once, not after the delay */
        assert_int_equal(report.n_attempts, 2);
        assert_string_equal(report.attempts[0].address, "::1");
        assert_int_equal(report.attempts[0].error, ECONNREFUSED);
        assert_int_equal(report.winner, 1);
        return 0;
}

FIBER_TEST(test_silent_then_good)
{
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.3", PORT, serve_greeting, NULL);
        _cleanup_(silent_deinit) Silent silent = silent_start("127.0.0.2");
        DnsAddresses addresses = ADDRESSES("127.0.0.2", "127.0.0.3");
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        DialReport report;
        uint64_t start = clock_now();

        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, &report, &no), 0);
        assert_true(clock_now() - start >= 250 * USEC_PER_MSEC);
        assert_true(clock_now() - start < USEC_PER_SEC);
        assert_string_equal(stream_peer(stream), "127.0.0.3");
        assert_int_equal(report.attempts[0].error, ECANCELED);
        assert_true(report.attempts[0].usec >= 250 * USEC_PER_MSEC);
        return 0;
}

/* A refusal starts the next attempt at once, also while an earlier one is under way. */
FIBER_TEST(test_silent_refused_good)
{
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.3", PORT, serve_greeting, NULL);
        _cleanup_(silent_deinit) Silent silent = silent_start("127.0.0.2");
        DnsAddresses addresses = ADDRESSES("127.0.0.2", "127.0.0.1", "127.0.0.3");
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        DialReport report;
        uint64_t start = clock_now();

        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, &report, &no), 0);
        assert_true(clock_now() - start < 450 * USEC_PER_MSEC); /* two delays would be 500 */
        assert_int_equal(report.attempts[1].error, ECONNREFUSED);
        assert_int_equal(report.winner, 2);
        return 0;
}

FIBER_TEST(test_nobody)
{
        DnsAddresses addresses = ADDRESSES("127.0.0.1", "::1", "198.51.100.1");
        Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, NULL, &no), 1);
        assert_null(stream);
        assert_int_equal(no.kind, OUTCOME_CONNECT);
        assert_int_equal(no.phase, PHASE_CONNECT);
        assert_int_equal(no.error, ECONNREFUSED); /* tells more than ENETUNREACH */
        assert_int_equal(no.dial.n_attempts, 3);
        assert_int_equal(no.dial.winner, -1);
        assert_string_equal(no.dial.attempts[0].address, "::1");
        assert_string_equal(no.dial.attempts[1].address, "127.0.0.1");
        assert_int_equal(no.dial.attempts[2].error, ENETUNREACH);
        return 0;
}

/* One family not routed here, the other silent: the silence is what to look into. Virtual time. */
FIBER_TEST(test_limit)
{
        _cleanup_(silent_deinit) Silent silent = silent_start("127.0.0.2");
        DnsAddresses addresses = ADDRESSES("2001:db8::1", "127.0.0.2");
        Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        uint64_t start;

        clock_virtual_start(clock_now(), clock_real());
        start = clock_now();
        assert_int_equal(dial(&stream, &addresses, PORT, ADDRESS_LOCAL, NULL, &no), 1);
        assert_int_equal(clock_now() - start, LIMIT_CONNECT_USEC);
        clock_virtual_stop();
        assert_int_equal(no.kind, OUTCOME_CONNECT);
        assert_int_equal(no.error, ETIMEDOUT);
        assert_int_equal(no.dial.attempts[0].error, ENETUNREACH);
        assert_int_equal(no.dial.attempts[1].error, ETIMEDOUT);
        assert_true(no.dial.attempts[1].usec >= LIMIT_CONNECT_USEC - 300 * USEC_PER_MSEC);
        return 0;
}

FIBER_TEST(test_policy)
{
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.1", PORT, serve_greeting, NULL);
        DnsAddresses local = ADDRESSES("127.0.0.1", "::1", "::ffff:127.0.0.1"),
                     mixed = ADDRESSES("10.0.0.1", "127.0.0.1");
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        DialReport report;

        assert_int_equal(dial(&stream, &local, PORT, ADDRESS_PRIVATE, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_POLICY);
        assert_int_equal(no.dial.n_attempts, 3);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(no.dial.attempts[i].error, EADDRNOTAVAIL);
        assert_int_equal(server_n_connections(server), 0);

        assert_int_equal(dial(&stream, &mixed, PORT, ADDRESS_LOCAL, &report, &no), 0);
        assert_int_equal(report.n_attempts, 2);
        assert_int_equal(report.attempts[0].error, EADDRNOTAVAIL);
        assert_int_equal(report.winner, 1);
        return 0;
}

typedef struct Dialling {
        DnsAddresses addresses;
        int result;
} Dialling;

static int dial_alone(void *arg)
{
        Dialling *dialling = arg;
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};

        return dialling->result = dial(&stream, &dialling->addresses, PORT, ADDRESS_LOCAL, NULL,
                                       &no);
}

FIBER_TEST(test_cancel)
{
        _cleanup_(silent_deinit) Silent silent = silent_start("127.0.0.2");
        Dialling dialling = { ADDRESSES("127.0.0.2", "127.0.0.2", "127.0.0.2"), 7 };

        /* Before the first attempt, with one under way, and with two. */
        for (uint64_t msec = 0; msec <= 300; msec += 150) {
                Fiber *fiber = NULL;

                dialling.result = 7;
                assert_int_equal(fiber_start(&fiber, "dial", dial_alone, &dialling), 0);
                assert_int_equal(msec ? fiber_sleep(msec * USEC_PER_MSEC) : fiber_yield(), 0);
                assert_int_equal(dialling.result, 7);
                fiber_cancel(fiber);
                assert_int_equal(dialling.result, -ECANCELED);
                assert_int_equal(loop_n_fibers(loop_current()), 1);
        }
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_first_wins),       cmocka_unit_test(test_refused_then_good),
                cmocka_unit_test(test_silent_then_good), cmocka_unit_test(test_silent_refused_good),
                cmocka_unit_test(test_nobody),           cmocka_unit_test(test_limit),
                cmocka_unit_test(test_policy),           cmocka_unit_test(test_cancel),
        };

        network_own();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
