/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verification mail: made, and recognised in what servers make of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "proto/verification.h"

#define TOKEN "000102030405060708090a0b0c0d0e0f"

static VerificationMail make(const char *address)
{
        uint8_t random[16];
        VerificationMail mail;

        for (uint8_t i = 0; i < 16; i++)
                random[i] = i;
        /* 2026-11-24 05:37:07 UTC, a Tuesday */
        assert_int_equal(verification_format(&mail, address, random, 7000042,
                                             UINT64_C(1795498627) * USEC_PER_SEC),
                         0);
        return mail;
}

static void test_format(void **state)
{
        _cleanup_(verification_deinit) VerificationMail mail = make("tim@example.org");
        size_t line = 0;

        assert_string_equal(mail.token, TOKEN);
        assert_string_equal(mail.code, "000042");
        assert_int_equal(mail.len, strlen(mail.message));
        assert_non_null(strstr(mail.message, "Date: Tue, 24 Nov 2026 05:37:07 +0000\n"));
        assert_non_null(strstr(mail.message, "\nFrom: <tim@example.org>\nTo: <tim@example.org>\n"));
        assert_non_null(
                strstr(mail.message, "\nMessage-ID: <waypost-check." TOKEN "@example.org>\n"));
        assert_non_null(strstr(mail.message, "\nX-Waypost-Check: " TOKEN "\n"));
        assert_non_null(strstr(mail.message, "\nAuto-Submitted: auto-generated\n"));
        assert_non_null(strstr(mail.message, "    000042\n"));
        assert_null(strstr(mail.message, "http"));
        assert_null(strchr(mail.message, '\r'));
        assert_int_equal(mail.message[mail.len - 1], '\n');
        for (const char *p = mail.message; *p; p++) {
                line = *p == '\n' ? 0 : line + 1;
                assert_true(line <= 78);
                assert_true((*p >= ' ' && *p <= '~') || *p == '\n');
        }
}

static void test_format_refuses(void **state)
{
        VerificationMail mail;
        uint8_t random[16] = {};

        assert_int_equal(verification_format(&mail, "a@b.org>\nBcc: <x@y.org", random, 0, 0),
                         -EINVAL);
}

static VerificationMatch match(const char *text)
{
        VerificationMatch m = verification_match(text, strlen(text), TOKEN);
        _cleanup_buffer_ Buffer crlf = BUFFER(1 << 20);

        for (const char *p = text; *p; p++)
                assert_int_equal(buffer_append(&crlf, *p == '\n' ? "\r\n" : p, *p == '\n' ? 2 : 1),
                                 0);
        assert_int_equal(verification_match(crlf.data, crlf.len, TOKEN), m);
        return m;
}

static void test_match(void **state)
{
        static const struct {
                const char *text;
                VerificationMatch match;
        } table[] = {
                { "X-Waypost-Check: " TOKEN "\n\nbody\n", VERIFICATION_OURS },
                { "x-waypost-check:" TOKEN "\n\n", VERIFICATION_OURS },
                { "X-WAYPOST-CHECK:\n " TOKEN "\n", VERIFICATION_OURS },
                { "X-Waypost-Check: 000102030405060708090A0B0C0D0E0F\n\n", VERIFICATION_OURS },
                { "Received: from a\n\tby b\nMessage-ID: <waypost-check." TOKEN "@example.org>\n\n",
                  VERIFICATION_OURS },
                { "Message-Id:\n\t<waypost-check." TOKEN "@example.org>\n\n", VERIFICATION_OURS },
                { "Message-ID: <new@server>\nX-Microsoft-Original-Message-ID: <waypost-check." TOKEN
                  "@example.org>\n\n",
                  VERIFICATION_OURS },
                { "Return-Path: <tim@example.org>\nX-Waypost-Check: " TOKEN "\n\n",
                  VERIFICATION_OURS },
                /* somebody answers or quotes: not ours */
                { "In-Reply-To: <waypost-check." TOKEN
                  "@example.org>\nMessage-ID: <x@y>\n\n> " TOKEN "\n",
                  VERIFICATION_NO },
                { "Subject: hello\n\nX-Waypost-Check: " TOKEN "\n", VERIFICATION_NO },
                { "Subject: X-Waypost-Check: " TOKEN "\n\n", VERIFICATION_NO },
                { "X-Waypost-Check: 100102030405060708090a0b0c0d0e0f\n\n", VERIFICATION_NO },
                { "X-Waypost-Check: 000102030405060708090a0b0c0d0e0\n\n", VERIFICATION_NO },
                { "", VERIFICATION_NO },
                { "\n", VERIFICATION_NO },
                { ":\n", VERIFICATION_NO },
                /* reports */
                { "Return-Path: <>\nSubject: failure\n\n...\nX-Waypost-Check: " TOKEN "\n",
                  VERIFICATION_BOUNCE },
                { "Content-Type: Multipart/Report;\n report-type=delivery-status\n\nMessage-ID: "
                  "<waypost-check." TOKEN "@example.org>\n",
                  VERIFICATION_BOUNCE },
                { "Return-path:  < >\nX-Waypost-Check: " TOKEN "\n\n", VERIFICATION_BOUNCE },
                { "Return-Path: <>\n\nof another mail\n", VERIFICATION_NO },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (match(table[i].text) != table[i].match)
                        fail_msg("case %zu: %s", i, table[i].text);
        assert_int_equal(verification_match("X-Waypost-Check: \n\n", 19, ""), VERIFICATION_NO);
}

static void test_round(void **state)
{
        _cleanup_(verification_deinit)
                VerificationMail mail = make("\"a b\"@xn--bcher-kva.example");

        assert_int_equal(match(mail.message), VERIFICATION_OURS);
        for (size_t n = 0; n < mail.len; n++)
                (void) verification_match(mail.message, n, mail.token);
}

/* A header field without an end is cut, not kept. */
static void test_long_field(void **state)
{
        _cleanup_buffer_ Buffer text = BUFFER(1 << 20);

        assert_int_equal(buffer_append_text(&text, "Received: a\n"), 0);
        while (text.len < 100000)
                assert_int_equal(buffer_append_text(&text, " and on and on\n"), 0);
        assert_int_equal(buffer_append_text(&text, "X-Waypost-Check: " TOKEN "\n\n"), 0);
        assert_int_equal(match(text.data), VERIFICATION_OURS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_format),     cmocka_unit_test(test_format_refuses),
                cmocka_unit_test(test_match),      cmocka_unit_test(test_round),
                cmocka_unit_test(test_long_field),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
