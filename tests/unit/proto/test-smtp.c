/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SMTP replies and EHLO keywords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/text.h"
#include "proto/smtp.h"

static void test_line(void **state)
{
        static const struct {
                const char *line;
                int r;
                unsigned status;
                bool last;
                const char *code, *text;
        } table[] = {
                { "250 Ok", 0, 250, true, "", "Ok" },
                { "250-SIZE 10", 0, 250, false, "", "SIZE 10" },
                { "250", 0, 250, true, "", "" },
                { "250 ", 0, 250, true, "", "" },
                { "250-", 0, 250, false, "", "" },
                { "535 5.7.8 wrong", 0, 535, true, "5.7.8", "wrong" },
                { "534-5.7.9 Application-specific", 0, 534, false, "5.7.9",
                  "Application-specific" },
                { "535 5.7.139", 0, 535, true, "5.7.139", "" },
                { "535 5.7.1234 x", 0, 535, true, "", "5.7.1234 x" },
                { "535 5.7.8x", 0, 535, true, "", "5.7.8x" },
                { "535 5.7. x", 0, 535, true, "", "5.7. x" },
                { "535 5..8 x", 0, 535, true, "", "5..8 x" },
                { "220 1.2.3 host", 0, 220, true, "", "1.2.3 host" },
                { "334 UGFzc3dvcmQ6", 0, 334, true, "", "UGFzc3dvcmQ6" },
                { "199 x", -EBADMSG, 0, false, NULL, NULL },
                { "600 x", -EBADMSG, 0, false, NULL, NULL },
                { "25", -EBADMSG, 0, false, NULL, NULL },
                { "", -EBADMSG, 0, false, NULL, NULL },
                { "2500 x", -EBADMSG, 0, false, NULL, NULL },
                { "+OK POP3", -EBADMSG, 0, false, NULL, NULL },
                { "HTTP/1.1 400", -EBADMSG, 0, false, NULL, NULL },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                SmtpLine line;
                int r = smtp_parse_line(&line, table[i].line, strlen(table[i].line));

                assert_int_equal(r, table[i].r);
                if (r < 0)
                        continue;
                assert_int_equal(line.status, table[i].status);
                assert_int_equal(line.last, table[i].last);
                assert_string_equal(line.code, table[i].code);
                assert_int_equal(line.text_len, strlen(table[i].text));
                assert_memory_equal(line.text, table[i].text, line.text_len);
        }
}

static void feed(SmtpExtensions *extensions, const char *line)
{
        assert_int_equal(smtp_parse_extension(extensions, line, strlen(line)), 0);
}

static void test_extensions(void **state)
{
        SmtpExtensions e = {};

        feed(&e, "STARTTLS");
        feed(&e, "pipelining");
        feed(&e, "8BITMIME");
        feed(&e, "SMTPUTF8");
        feed(&e, "ENHANCEDSTATUSCODES");
        feed(&e, "CHUNKING");
        feed(&e, "SIZE 36700160");
        feed(&e, "AUTH plain LOGIN");
        feed(&e, "AUTH=LOGIN  XOAUTH2 ");
        feed(&e, "X-THING");
        feed(&e, "");
        assert_true(e.starttls && e.pipelining && e.eight_bit_mime && e.smtputf8 &&
                    e.enhanced_codes && e.chunking && e.has_size);
        assert_int_equal(e.size, 36700160);
        assert_int_equal(list_len(e.auth), 3);
        assert_string_equal(e.auth[0], "PLAIN");
        assert_string_equal(e.auth[1], "LOGIN");
        assert_string_equal(e.auth[2], "XOAUTH2");
        assert_int_equal(list_len(e.lines), 11);
        smtp_extensions_clear(&e);
        assert_null(e.auth);
}

static void test_sizes(void **state)
{
        static const struct {
                const char *line;
                uint64_t size;
        } table[] = {
                { "SIZE", 0 },
                { "SIZE 0", 0 },
                { "size 12", 12 },
                { "SIZE x", 0 },
                { "SIZE 99999999999999999999999", 0 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                SmtpExtensions e = {};

                feed(&e, table[i].line);
                assert_true(e.has_size);
                assert_int_equal(e.size, table[i].size);
                smtp_extensions_clear(&e);
        }
}

static void test_bounded(void **state)
{
        SmtpExtensions e = {};
        char line[64];

        for (int i = 0; i < 2 * LIMIT_REPLY_LINES; i++) {
                snprintf(line, sizeof(line), "AUTH M%d A-MECHANISM-OF-21-CHRS", i);
                feed(&e, line);
        }
        assert_int_equal(list_len(e.lines), LIMIT_REPLY_LINES);
        assert_int_equal(list_len(e.auth), 32);
        smtp_extensions_clear(&e);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_line),
                cmocka_unit_test(test_extensions),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_bounded),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
