/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The five refusals and the records, against a resolver on loopback. Real time: c-ares has its own clock. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/wire/helper.h"

enum { PORT = 5300, OTHER_PORT = 5301, CLOSED_PORT = 5302 };

#define SETUP()                                                                       \
        _cleanup_(resolver_stopp) _unused_ Resolver *resolver = resolver_start(PORT); \
        _cleanup_(unlink_freep) char *conf = resolver_file(PORT);                     \
        _cleanup_(dns_freep) Dns *dns = NULL;                                         \
        _cleanup_outcome_ Outcome no = {};                                            \
        assert_int_equal(dns_new(&dns, conf), 0)

static void assert_address(const DnsAddresses *addresses, unsigned i, const char *text)
{
        char got[48];

        assert_true(i < addresses->n_addresses);
        address_text((const struct sockaddr *) &addresses->addresses[i], got);
        assert_string_equal(got, text);
}

FIBER_TEST(test_addresses)
{
        SETUP();
        _cleanup_(dns_addresses_freep) DnsAddresses *mail = NULL, *pop = NULL, *v4 = NULL,
                                                    *v6 = NULL;

        assert_int_equal(dns_addresses(&mail, dns, "mail.example.test", &no), 0);
        assert_int_equal(mail->n_addresses, 2);
        assert_address(mail, 0, "2001:db8:100::10");
        assert_address(mail, 1, "198.51.100.10");
        assert_null(mail->canonical);
        assert_int_equal(dns_addresses(&pop, dns, "pop.example.test.", &no), 0);
        assert_int_equal(pop->n_addresses, 2);
        assert_string_equal(pop->canonical, "mail.example.test");
        assert_int_equal(dns_addresses(&v4, dns, "V4.example.test.", &no), 0);
        assert_int_equal(v4->n_addresses, 2);
        assert_int_equal(v4->a, DNS_OK);
        assert_int_equal(v4->aaaa, DNS_NO_DATA);
        assert_null(v4->canonical);
        assert_int_equal(dns_addresses(&v6, dns, "v6.example.test", &no), 0);
        assert_address(v6, 0, "2001:db8:100::6");
        return 0;
}

FIBER_TEST(test_literals_ask_nobody)
{
        static const struct {
                const char *host, *address;
        } cases[] = { { "127.0.0.1", "127.0.0.1" },
                      { "2001:db8::1", "2001:db8::1" },
                      { "localhost", "::1" },
                      { "LocalHost.", "::1" } };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

                assert_int_equal(dns_addresses(&addresses, dns, cases[i].host, &no), 0);
                assert_address(addresses, 0, cases[i].address);
        }
        assert_int_equal(resolver_n_questions(resolver), 0);
        return 0;
}

FIBER_TEST(test_refusals)
{
        static const struct {
                const char *host;
                DnsStatus status;
        } cases[] = {
                { "nx.example.test", DNS_NXDOMAIN },      { "dangling.example.test", DNS_NXDOMAIN },
                { "example.test", DNS_NO_DATA },          { "servfail.example.test", DNS_SERVFAIL },
                { "refused.example.test", DNS_SERVFAIL }, { "nonsense.example.test", DNS_SERVFAIL }
        };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

                outcome_reset(&no);
                assert_int_equal(dns_addresses(&addresses, dns, cases[i].host, &no), 1);
                assert_null(addresses);
                assert_int_equal(no.kind, OUTCOME_DNS);
                assert_int_equal(no.phase, PHASE_RESOLVE);
                assert_string_equal(dns_status_name(no.dns), dns_status_name(cases[i].status));
        }
        return 0;
}

FIBER_TEST(test_bad_names_ask_nobody)
{
        static const char *const names[] = {
                "",
                ".",
                "a..b",
                ".a",
                "sp ace.test",
                "back\\032slash.test",
                "b\xc3\xbc.test",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.test",
                "a\nb.test",
        };
        char too_long[300] = "";
        SETUP();

        for (int i = 0; i < 127; i++)
                strcat(too_long, "a.");
        strcat(too_long, "aa");
        for (size_t i = 0; i <= ELEMENTS(names); i++) {
                _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
                _cleanup_(dns_records_freep) DnsRecords *records = NULL;
                const char *name = i < ELEMENTS(names) ? names[i] : too_long;

                assert_int_equal(dns_addresses(&addresses, dns, name, &no), 1);
                assert_int_equal(no.dns, DNS_NXDOMAIN);
                assert_int_equal(dns_query(&records, dns, name, DNS_MX, &no), 1);
        }
        assert_int_equal(resolver_n_questions(resolver), 0);
        return 0;
}

FIBER_TEST(test_timeout)
{
        SETUP();
        DnsAddresses *addresses = NULL;
        uint64_t start = clock_now();

        assert_int_equal(dns_addresses(&addresses, dns, "silent.example.test", &no), 1);
        assert_int_equal(no.dns, DNS_TIMEOUT);
        assert_true(clock_now() - start <= LIMIT_DNS_USEC + USEC_PER_SEC);
        assert_true(resolver_n_questions(resolver) >= 4); /* two for each family */
        return 0;
}

FIBER_TEST(test_outer_deadline_is_a_timeout)
{
        SETUP();
        DnsRecords *records = NULL;
        FIBER_DEADLINE(50 * USEC_PER_MSEC);

        assert_int_equal(dns_query(&records, dns, "silent.example.test", DNS_MX, &no), 1);
        assert_int_equal(no.dns, DNS_TIMEOUT);
        return 0;
}

/* RFC 8305 section 3: the family that answers is not kept waiting by the one that does not. */
FIBER_TEST(test_resolution_delay)
{
        SETUP();
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        uint64_t start = clock_now(), took;

        assert_int_equal(dns_addresses(&addresses, dns, "slow6.example.test", &no), 0);
        took = clock_now() - start;
        assert_true(took >= 45 * USEC_PER_MSEC && took < USEC_PER_SEC);
        assert_int_equal(addresses->n_addresses, 1);
        assert_int_equal(addresses->aaaa, DNS_TIMEOUT);
        return 0;
}

FIBER_TEST(test_no_resolver)
{
        _cleanup_(unlink_freep) char *closed = resolver_file(CLOSED_PORT);
        const char *const files[] = { closed, "/nonexistent/resolv.conf" };

        for (size_t i = 0; i < ELEMENTS(files); i++) {
                _cleanup_(dns_freep) Dns *dns = NULL;
                _cleanup_outcome_ Outcome no = {};
                DnsAddresses *addresses = NULL;
                uint64_t start = clock_now();

                assert_int_equal(dns_new(&dns, files[i]), 0);
                assert_int_equal(dns_addresses(&addresses, dns, "mail.example.test", &no), 1);
                assert_string_equal(dns_status_name(no.dns), "no-resolver");
                assert_true(clock_now() - start < USEC_PER_SEC);
        }
        return 0;
}

FIBER_TEST(test_mx)
{
        SETUP();
        _cleanup_(dns_records_freep) DnsRecords *mx = NULL, *null = NULL, *none = NULL;

        assert_int_equal(dns_query(&mx, dns, "example.test", DNS_MX, &no), 0);
        assert_int_equal(mx->n_mx, 3);
        assert_string_equal(mx->mx[0].host, "a.example.test");
        assert_string_equal(mx->mx[1].host, "z.example.test");
        assert_string_equal(mx->mx[2].host, "b.example.test");
        assert_int_equal(mx->mx[2].preference, 20);
        assert_int_equal(dns_query(&null, dns, "nullmx.example.test", DNS_MX, &no), 0);
        assert_int_equal(null->n_mx, 1);
        assert_string_equal(null->mx[0].host, "");
        assert_int_equal(dns_query(&none, dns, "mail.example.test", DNS_MX, &no), 1);
        assert_int_equal(no.dns, DNS_NO_DATA);
        assert_int_equal(dns_query(&none, dns, "badmx.example.test", DNS_MX, &no), 1);
        assert_int_equal(no.dns, DNS_SERVFAIL);
        assert_int_equal(dns_query(&none, dns, "nx.example.test", DNS_MX, &no), 1);
        assert_int_equal(no.dns, DNS_NXDOMAIN);
        return 0;
}

FIBER_TEST(test_srv)
{
        SETUP();
        _cleanup_(dns_records_freep) DnsRecords *srv = NULL, *not_offered = NULL;

        assert_int_equal(dns_query(&srv, dns, "_pop3s._tcp.example.test", DNS_SRV, &no), 0);
        assert_int_equal(srv->n_srv, 3);
        assert_string_equal(srv->srv[0].target, "heavy.example.test");
        assert_int_equal(srv->srv[0].port, 1995);
        assert_string_equal(srv->srv[1].target, "light.example.test");
        assert_string_equal(srv->srv[2].target, "second.example.test");
        assert_int_equal(dns_query(&not_offered, dns, "_pop3._tcp.example.test", DNS_SRV, &no), 0);
        assert_int_equal(not_offered->n_srv, 1);
        assert_string_equal(not_offered->srv[0].target, "");
        return 0;
}

FIBER_TEST(test_txt)
{
        SETUP();
        _cleanup_(dns_records_freep) DnsRecords *txt = NULL, *big = NULL;

        assert_int_equal(dns_query(&txt, dns, "example.test", DNS_TXT, &no), 0);
        assert_int_equal(list_len(txt->txt), 2);
        assert_string_equal(txt->txt[0], "v=spf1 mx -all");
        assert_string_equal(txt->txt[1], "bell?");
        /* Too much for a datagram: over TCP by itself. */
        assert_int_equal(dns_query(&big, dns, "big.example.test", DNS_TXT, &no), 0);
        assert_int_equal(list_len(big->txt), 1);
        assert_int_equal(strlen(big->txt[0]), 2000);
        return 0;
}

static void rewrite(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

        assert_int_equal(write(fd, text, strlen(text)), (ssize_t) strlen(text));
        close(fd);
}

/* In place and of equal length, as `echo >` does it: neither inode nor size tells. */
FIBER_TEST(test_conf_changes)
{
        SETUP();
        _cleanup_(resolver_stopp) Resolver *other = NULL;

        for (int i = 0; i < 3; i++) {
                _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

                assert_int_equal(dns_addresses(&addresses, dns, "v4.example.test", &no), 0);
        }
        assert_int_equal(resolver_n_questions(resolver), 6);
        rewrite(conf, "nameserver 127.0.0.1:5301\n");
        DnsAddresses *none = NULL;
        assert_int_equal(dns_addresses(&none, dns, "v4.example.test", &no), 1);
        assert_int_equal(no.dns, DNS_NO_RESOLVER);
        other = resolver_start(OTHER_PORT);
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        assert_int_equal(dns_addresses(&addresses, dns, "v4.example.test", &no), 0);
        assert_int_equal(resolver_n_questions(other), 2);
        assert_int_equal(resolver_n_questions(resolver), 6);
        return 0;
}

typedef struct Ask {
        Dns *dns;
        const char *name;
        int result;
        Outcome no;
} Ask;

static int ask(void *arg)
{
        Ask *question = arg;
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

        return question->result = dns_addresses(&addresses, question->dns, question->name,
                                                &question->no);
}

/* A question in flight keeps its old channel while others already ask the new resolver. */
FIBER_TEST(test_conf_changes_under_way)
{
        SETUP();
        _cleanup_(resolver_stopp) Resolver *other = resolver_start(OTHER_PORT);
        Ask slow = { .dns = dns, .name = "silent.example.test" };
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

        assert_int_equal(fiber_start(&fiber, "ask", ask, &slow), 0);
        assert_int_equal(fiber_sleep(20 * USEC_PER_MSEC), 0);
        rewrite(conf, "nameserver 127.0.0.1:5301\n");
        assert_int_equal(dns_addresses(&addresses, dns, "v4.example.test", &no), 0);
        assert_int_equal(resolver_n_questions(other), 2);
        assert_int_equal(fiber_join(&fiber, NULL), 0);
        assert_int_equal(slow.result, 1);
        assert_int_equal(slow.no.dns, DNS_TIMEOUT);
        assert_true(resolver_n_questions(resolver) >= 4);
        return 0;
}

/* Cancelled at each moment: before it runs, while the answers are under way, and with one answer there. */
FIBER_TEST(test_cancel_in_flight)
{
        static const char *const names[] = { "silent.example.test", "mail.example.test",
                                             "slow6.example.test" };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(names); i++)
                for (int yields = 0; yields < 4; yields++) {
                        Ask question = { .dns = dns, .name = names[i], .result = 7 };
                        Fiber *fiber = NULL;

                        assert_int_equal(fiber_start(&fiber, "ask", ask, &question), 0);
                        for (int n = 0; n < yields; n++)
                                assert_int_equal(fiber_yield(), 0);
                        if (!fiber_ended(fiber)) {
                                fiber_cancel(fiber);
                                assert_int_equal(question.result, yields ? -ECANCELED : 7);
                        } else
                                fiber_cancel(fiber);
                }
        /* Late answers come in now, to nobody. */
        assert_int_equal(fiber_sleep(100 * USEC_PER_MSEC), 0);
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        assert_int_equal(dns_addresses(&addresses, dns, "mail.example.test", &no), 0);
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_addresses),
                cmocka_unit_test(test_literals_ask_nobody),
                cmocka_unit_test(test_refusals),
                cmocka_unit_test(test_bad_names_ask_nobody),
                cmocka_unit_test(test_outer_deadline_is_a_timeout),
                cmocka_unit_test(test_resolution_delay),
                cmocka_unit_test(test_no_resolver),
                cmocka_unit_test(test_mx),
                cmocka_unit_test(test_srv),
                cmocka_unit_test(test_txt),
                cmocka_unit_test(test_conf_changes),
                cmocka_unit_test(test_conf_changes_under_way),
                cmocka_unit_test(test_cancel_in_flight),
                cmocka_unit_test(test_timeout),
        };

        network_own();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
