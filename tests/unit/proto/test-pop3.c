/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POP3 lines in, facts out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/text.h"
#include "proto/pop3.h"

static void test_reply(void **state)
{
        static const struct {
                const char *line;
                int r;
                bool ok;
                const char *code, *text;
        } table[] = {
                { "+OK", 0, true, "", "" },
                { "+OK ready", 0, true, "", "ready" },
                { "+ok ready", 0, true, "", "ready" },
                { "+OKready", 0, true, "", "ready" },
                { "+OK  two", 0, true, "", "two" },
                { "-ERR", 0, false, "", "" },
                { "-err No", 0, false, "", "No" },
                { "-ERR [AUTH] wrong", 0, false, "AUTH", "wrong" },
                { "-ERR [auth]wrong", 0, false, "AUTH", "wrong" },
                { "-ERR [SYS/TEMP] later", 0, false, "SYS/TEMP", "later" },
                { "-ERR [IN-USE]", 0, false, "IN-USE", "" },
                { "-ERR [] x", 0, false, "", "[] x" },
                { "-ERR [AUTH wrong", 0, false, "", "[AUTH wrong" },
                { "-ERR [not a code] x", 0, false, "", "[not a code] x" },
                { "-ERR said [AUTH] x", 0, false, "", "said [AUTH] x" },
                { "+OK [12345678901234567890123456789012345678901234567] x", 0, true,
                  "12345678901234567890123456789012345678901234567", "x" },
                { "+OK [123456789012345678901234567890123456789012345678] x", 0, true, "",
                  "[123456789012345678901234567890123456789012345678] x" },
                { "", -EBADMSG, false, NULL, NULL },
                { "+", -EBADMSG, false, NULL, NULL },
                { "+O", -EBADMSG, false, NULL, NULL },
                { "+ ", -EBADMSG, false, NULL, NULL },
                { "-ER", -EBADMSG, false, NULL, NULL },
                { "* OK IMAP4rev1", -EBADMSG, false, NULL, NULL },
                { "220 smtp ready", -EBADMSG, false, NULL, NULL },
                { " +OK", -EBADMSG, false, NULL, NULL },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                Pop3Reply reply;
                int r = pop3_parse_reply(&reply, table[i].line, strlen(table[i].line));

                assert_int_equal(r, table[i].r);
                if (r < 0)
                        continue;
                assert_int_equal(reply.ok, table[i].ok);
                assert_string_equal(reply.code, table[i].code);
                assert_int_equal(reply.text_len, strlen(table[i].text));
                assert_memory_equal(reply.text, table[i].text, reply.text_len);
        }
}

static void feed(Pop3Capabilities *capabilities, const char *line)
{
        assert_int_equal(pop3_parse_capability(capabilities, line, strlen(line)), 0);
}

static void test_capabilities(void **state)
{
        Pop3Capabilities c = {};

        feed(&c, "TOP");
        feed(&c, "user");
        feed(&c, "UIDL");
        feed(&c, "STLS");
        feed(&c, "PIPELINING");
        feed(&c, "RESP-CODES");
        feed(&c, "AUTH-RESP-CODE");
        feed(&c, "UTF8 USER");
        feed(&c, "SASL plain  LOGIN PLAIN A-MECHANISM-OF-21-CHRS");
        feed(&c, "LOGIN-DELAY 900 USER");
        feed(&c, "EXPIRE 0");
        feed(&c, "IMPLEMENTATION Some Server \x1b[31m v1");
        feed(&c, "X-UNKNOWN thing");
        feed(&c, "");
        assert_true(c.top && c.user && c.uidl && c.stls && c.pipelining && c.resp_codes &&
                    c.auth_resp_code && c.utf8);
        assert_int_equal(list_len(c.sasl), 2);
        assert_string_equal(c.sasl[0], "PLAIN");
        assert_string_equal(c.sasl[1], "LOGIN");
        assert_true(c.has_login_delay && c.login_delay_by_user);
        assert_int_equal(c.login_delay_sec, 900);
        assert_int_equal(c.expire, POP3_EXPIRE_DAYS);
        assert_int_equal(c.expire_days, 0);
        assert_false(c.expire_by_user);
        assert_string_equal(c.implementation, "Some Server ?[31m v1");
        assert_int_equal(list_len(c.lines), 14);
        pop3_capabilities_clear(&c);
        assert_null(c.lines);
        assert_false(c.top);
}

static void test_capability_numbers(void **state)
{
        static const struct {
                const char *line;
                Pop3Expire expire;
                uint64_t days;
                bool by_user, has_delay;
                uint64_t delay;
        } table[] = {
                { "EXPIRE NEVER", POP3_EXPIRE_NEVER, 0, false, false, 0 },
                { "expire never", POP3_EXPIRE_NEVER, 0, false, false, 0 },
                { "EXPIRE 30 USER", POP3_EXPIRE_DAYS, 30, true, false, 0 },
                { "EXPIRE 99999999999999999999", POP3_EXPIRE_DAYS, 1000000, false, false, 0 },
                { "EXPIRE", POP3_EXPIRE_UNKNOWN, 0, false, false, 0 },
                { "EXPIRE soon", POP3_EXPIRE_UNKNOWN, 0, false, false, 0 },
                { "EXPIRE -1", POP3_EXPIRE_UNKNOWN, 0, false, false, 0 },
                { "LOGIN-DELAY 60", POP3_EXPIRE_UNKNOWN, 0, false, true, 60 },
                { "LOGIN-DELAY 6x", POP3_EXPIRE_UNKNOWN, 0, false, false, 0 },
                { "LOGIN-DELAY", POP3_EXPIRE_UNKNOWN, 0, false, false, 0 },
                { "LOGIN-DELAY 99999999999999999999999", POP3_EXPIRE_UNKNOWN, 0, false, true,
                  2678400 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                Pop3Capabilities c = {};

                feed(&c, table[i].line);
                assert_int_equal(c.expire, table[i].expire);
                assert_int_equal(c.expire_days, table[i].days);
                assert_int_equal(c.expire_by_user, table[i].by_user);
                assert_int_equal(c.has_login_delay, table[i].has_delay);
                assert_int_equal(c.login_delay_sec, table[i].delay);
                pop3_capabilities_clear(&c);
        }
}

static void test_stat_and_list(void **state)
{
        static const struct {
                const char *text;
                int r;
                uint64_t messages, octets;
        } table[] = {
                { "2 320", 0, 2, 320 },
                { " 2  320 ", 0, 2, 320 },
                { "0 0", 0, 0, 0 },
                { "2 320 and more", 0, 2, 320 },
                { "2 9223372036854775807", 0, 2, INT64_MAX },
                { "2 9223372036854775808", -EBADMSG, 0, 0 },
                { "4294967296 1", -EBADMSG, 0, 0 },
                { "2", -EBADMSG, 0, 0 },
                { "", -EBADMSG, 0, 0 },
                { "two 320", -EBADMSG, 0, 0 },
                { "2x 320", -EBADMSG, 0, 0 },
                { "-2 320", -EBADMSG, 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                uint64_t messages = 77, octets = 77;
                uint32_t number = 77;
                size_t len = strlen(table[i].text);

                assert_int_equal(pop3_parse_stat(table[i].text, len, &messages, &octets),
                                 table[i].r);
                assert_int_equal(messages, table[i].r < 0 ? 77 : table[i].messages);
                assert_int_equal(octets, table[i].r < 0 ? 77 : table[i].octets);
                /* A list has no message 0. */
                assert_int_equal(pop3_parse_list_entry(table[i].text, len, &number, &octets),
                                 messages == 0 ? -EBADMSG : table[i].r);
                if (table[i].r == 0 && messages != 0)
                        assert_int_equal(number, messages);
        }
}

static void test_uidl(void **state)
{
        char line[300] = "7 ", uidl[LIMIT_UIDL + 1], digest[SHA256_HEX];
        uint32_t number = 0;

        assert_int_equal(pop3_parse_uidl_entry("1 a~!Z", 6, &number, uidl), 0);
        assert_int_equal(number, 1);
        assert_string_equal(uidl, "a~!Z");
        assert_int_equal(pop3_parse_uidl_entry("  22   id  ", 11, &number, uidl), 0);
        assert_int_equal(number, 22);
        assert_string_equal(uidl, "id");

        memset(line + 2, 'q', 255);
        assert_int_equal(pop3_parse_uidl_entry(line, 2 + 70, &number, uidl), 0);
        assert_int_equal(strlen(uidl), 70);
        assert_int_equal(uidl[69], 'q');
        assert_int_equal(pop3_parse_uidl_entry(line, 2 + 71, &number, uidl), 0);
        assert_int_equal(sha256_text(line + 2, 71, digest), 0);
        assert_int_equal(strlen(uidl), 70);
        assert_memory_equal(uidl, "sha256:", 7);
        assert_memory_equal(uidl + 7, digest, 63);
        assert_int_equal(pop3_parse_uidl_entry(line, 2 + 255, &number, uidl), 0);
        memset(line + 2, 'q', 256);
        assert_int_equal(pop3_parse_uidl_entry(line, 2 + 256, &number, uidl), -EBADMSG);

        assert_int_equal(pop3_parse_uidl_entry("0 a", 3, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("1", 1, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("1 ", 2, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("1 a b", 5, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("x a", 3, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("1 a\0b", 5, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("1 \xc3\xa4", 4, &number, uidl), -EBADMSG);
        assert_int_equal(pop3_parse_uidl_entry("4294967296 a", 12, &number, uidl), -EBADMSG);
}

/* A server that never stops listing costs a bounded amount of memory. */
static void test_capabilities_bounded(void **state)
{
        Pop3Capabilities c = {};
        char line[40];

        for (int i = 0; i < 2 * LIMIT_REPLY_LINES; i++) {
                int n = snprintf(line, sizeof(line), "SASL M%d", i);

                assert_int_equal(pop3_parse_capability(&c, line, (size_t) n), 0);
        }
        assert_int_equal(list_len(c.lines), LIMIT_REPLY_LINES);
        assert_int_equal(list_len(c.sasl), 32);
        pop3_capabilities_clear(&c);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_reply),
                cmocka_unit_test(test_capabilities),
                cmocka_unit_test(test_capability_numbers),
                cmocka_unit_test(test_stat_and_list),
                cmocka_unit_test(test_uidl),
                cmocka_unit_test(test_capabilities_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
