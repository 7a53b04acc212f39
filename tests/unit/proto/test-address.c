/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses and host names as people type them. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "proto/address.h"

#define X8 "xxxxxxxx"
#define X64 X8 X8 X8 X8 X8 X8 X8 X8

static void test_accepted(void **state)
{
        static const struct {
                const char *typed, *address, *local, *domain, *shown;
        } table[] = {
                { "tim@example.org", "tim@example.org", "tim", "example.org", "example.org" },
                { " Tim@Example.ORG\n", "Tim@example.org", "Tim", "example.org", "example.org" },
                { "tim@example.org.", "tim@example.org", "tim", "example.org", "example.org" },
                { "Tim T. <tim@example.org>", "tim@example.org", "tim", "example.org",
                  "example.org" },
                { "\"a <b>\" <tim@example.org> ", "tim@example.org", "tim", "example.org",
                  "example.org" },
                { "<tim@example.org>", "tim@example.org", "tim", "example.org", "example.org" },
                { "a.b+c@example.co.uk", "a.b+c@example.co.uk", "a.b+c", "example.co.uk",
                  "example.co.uk" },
                { "!#$%&'*+-/=?^_`{|}~@a.bc", "!#$%&'*+-/=?^_`{|}~@a.bc", "!#$%&'*+-/=?^_`{|}~",
                  "a.bc", "a.bc" },
                { "\"a b\"@example.org", "\"a b\"@example.org", "\"a b\"", "example.org",
                  "example.org" },
                { "\"a@\\\"b\"@example.org", "\"a@\\\"b\"@example.org", "\"a@\\\"b\"",
                  "example.org", "example.org" },
                { "j\xc3\xb6rg@example.org", "j\xc3\xb6rg@example.org", "j\xc3\xb6rg",
                  "example.org", "example.org" },
                { "a@B\xc3\x9c"
                  "CHER.example",
                  "a@xn--bcher-kva.example", "a", "xn--bcher-kva.example",
                  "b\xc3\xbc"
                  "cher.example" },
                { "a@xn--BCHER-KVA.example", "a@xn--bcher-kva.example", "a",
                  "xn--bcher-kva.example",
                  "b\xc3\xbc"
                  "cher.example" },
                { X64 "@example.org", X64 "@example.org", X64, "example.org", "example.org" },
                /* a Cyrillic a among Latin letters */
                { "a@p\xd0\xb0ypal.com", "a@xn--pypal-4ve.com", "a", "xn--pypal-4ve.com",
                  "xn--pypal-4ve.com" },
                /* wholly Cyrillic: one that imitates, one that does not */
                { "a@\xd0\xb0\xd1\x80\xd1\x80\xd3\x8f\xd0\xb5.com", "a@xn--80ak6aa92e.com", "a",
                  "xn--80ak6aa92e.com", "xn--80ak6aa92e.com" },
                { "a@\xd0\xbf\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0.example", "a@xn--80a1acny.example",
                  "a", "xn--80a1acny.example", "\xd0\xbf\xd0\xbe\xd1\x87\xd1\x82\xd0\xb0.example" },
                { "a@xn--zzzzzzzzzzz.example", "a@xn--zzzzzzzzzzz.example", "a",
                  "xn--zzzzzzzzzzz.example", "xn--zzzzzzzzzzz.example" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(mail_address_freep) MailAddress *address = NULL;
                const char *why = "untouched";

                if (mail_address_parse(&address, table[i].typed, &why) != 0)
                        fail_msg("%s: %s", table[i].typed, why);
                assert_string_equal(address->address, table[i].address);
                assert_string_equal(address->local, table[i].local);
                assert_string_equal(address->domain, table[i].domain);
                assert_string_equal(address->domain_unicode, table[i].shown);
                assert_string_equal(why, "untouched");
        }
}

static void test_refused(void **state)
{
        static const char *const table[] = {
                "",
                "   ",
                "tim",
                "@example.org",
                "tim@",
                "tim@example",
                "tim@localhost",
                "tim@[192.0.2.1]",
                "tim@192.0.2.1",
                "tim@1.2.3",
                "tim@2001:db8::1",
                "tim@example.org@example.org",
                "tim tom@example.org",
                ".tim@example.org",
                "tim.@example.org",
                "t..m@example.org",
                "\"tim@example.org",
                "\"tim\"x@example.org",
                "tim@exa mple.org",
                "tim@exa_mple.org",
                "tim@-example.org",
                "tim@example-.org",
                "tim@example..org",
                "tim@.org",
                "tim@" X64 "x.org",
                X64 "x@example.org",
                "tim@example.org\r\nRCPT TO:<x@y.z>",
                "t\x01m@example.org",
                "tim\xe2\x80\xae@example.org",
                "tim@ex\xe2\x80\x8b"
                "ample.org",
                "t\xffm@example.org",
                "a@\xff.example",
                "tim@example.org, tom@example.org",
                "(comment)tim@example.org",
        };
        char huge[5000];

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                MailAddress *address = NULL;
                const char *why = NULL;

                if (mail_address_parse(&address, table[i], &why) != -EINVAL)
                        fail_msg("accepted: %s", table[i]);
                assert_null(address);
                assert_non_null(why);
                assert_int_equal(mail_address_parse(&address, table[i], NULL), -EINVAL);
        }
        memset(huge, 'a', sizeof(huge));
        huge[sizeof(huge) - 1] = 0;
        memcpy(huge + 1, "@", 1);
        assert_int_equal(mail_address_parse(&(MailAddress *){ NULL }, huge, NULL), -EINVAL);
}

/* 254 octets are the most that fit a path of RFC 5321 section 4.5.3.1.3. */
static void test_length(void **state)
{
        _cleanup_(mail_address_freep) MailAddress *address = NULL;
        char text[300] = X64 "@";

        for (size_t n = strlen(text); n < 254; n++)
                text[n] = n % 50 == 0 ? '.' : 'd';
        text[253] = 'd';
        assert_int_equal(mail_address_parse(&address, text, NULL), 0);
        assert_int_equal(strlen(address->address), 254);
        address = mail_address_free(address);
        text[254] = 'd';
        assert_int_equal(mail_address_parse(&address, text, NULL), -EINVAL);
}

static void test_hosts(void **state)
{
        static const struct {
                const char *typed, *host;
                bool literal;
        } table[] = {
                { "Mail.Example.ORG.", "mail.example.org", false },
                { "localhost", "localhost", false },
                { "m\xc3\xbcnchen.example", "xn--mnchen-3ya.example", false },
                { "mail_1.example.org", "mail_1.example.org", false },
                { "r3---sn-x.example.org", "r3---sn-x.example.org", false },
                { "192.0.2.1", "192.0.2.1", true },
                { "2001:DB8:0::1", "2001:db8::1", true },
                { "[2001:db8::1]", "2001:db8::1", true },
                { "[192.0.2.1]", NULL, false },
                { "fe80::1%eth0", NULL, false },
                { "192.0.2", NULL, false },
                { "192.0.2.256", NULL, false },
                { "0x7f.1", NULL, false },
                { "mail.0x7f", NULL, false },
                { "0177.0.0.1", NULL, false },
                { "", NULL, false },
                { ".", NULL, false },
                { "a..b", NULL, false },
                { "a b", NULL, false },
                { "a/b", NULL, false },
                { "user@host", NULL, false },
                { "host:995", NULL, false },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *host = NULL;
                int r = host_normalize(&host, table[i].typed);

                if (r != (table[i].host ? 0 : -EINVAL))
                        fail_msg("%s: %d", table[i].typed, r);
                if (table[i].host)
                        assert_string_equal(host, table[i].host);
                assert_int_equal(host_is_literal(table[i].typed), table[i].literal);
        }
}

static void test_organisations(void **state)
{
        static const struct {
                const char *host, *domain;
        } table[] = {
                { "mail.example.co.uk", "example.co.uk" },
                { "example.com", "example.com" },
                { "a.b.c.example.com", "example.com" },
                { "mail.example.test", "example.test" },
                { "co.uk", "co.uk" },
                { "localhost", "localhost" },
                { "192.0.2.1", "192.0.2.1" },
                { "2001:db8::1", "2001:db8::1" },
                { "someone.github.io", "someone.github.io" },
                { "mail.xn--bcher-kva.de", "xn--bcher-kva.de" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_free_ char *domain = NULL;

                assert_int_equal(host_registrable(&domain, table[i].host), 0);
                assert_string_equal(domain, table[i].domain);
        }
        assert_true(host_same_organisation("pop.example.co.uk", "example.co.uk"));
        assert_false(host_same_organisation("one.co.uk", "two.co.uk"));
        assert_false(host_same_organisation("one.github.io", "two.github.io"));
        assert_false(host_same_organisation("192.0.2.1", "192.0.2.2"));
        assert_false(host_same_organisation("1.0.2.1", "9.0.2.1"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_accepted),      cmocka_unit_test(test_refused),
                cmocka_unit_test(test_length),        cmocka_unit_test(test_hosts),
                cmocka_unit_test(test_organisations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
