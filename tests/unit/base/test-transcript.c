/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever a server says back, no secret is read in a transcript: plain, in base64, cut, repeated, overlapping. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/buffer.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/transcript.h"

static const char password[] = "Tr0ub4dor&3";

static Transcript *transcript_with(const char *const *secrets)
{
        Transcript *transcript;

        assert_int_equal(transcript_new(&transcript), 0);
        for (; *secrets; secrets++) {
                _cleanup_(secret_unrefp) Secret *secret = NULL;

                assert_int_equal(secret_new(&secret, *secrets, strlen(*secrets)), 0);
                assert_int_equal(transcript_hide(transcript, secret), 0);
        }
        return transcript;
}

#define WITH(...) transcript_with((const char *const[]){ __VA_ARGS__, NULL })

static void say(Transcript *transcript, const char *text)
{
        transcript_line(transcript, NULL, TRANSCRIPT_SERVER, text, strlen(text));
}

/* What is shown of the last line, behind its "S: ". */
static const char *last(Transcript *transcript)
{
        const char *text = transcript_text(transcript), *found = NULL;

        for (const char *p = text; (p = strstr(p, " S: ")); p++)
                found = p + 4;
        assert_non_null(found);
        return found;
}

static void test_form(void **state)
{
        _cleanup_(transcript_unrefp) Transcript *transcript = NULL;

        clock_virtual_start(USEC_PER_SEC, USEC_PER_SEC);
        assert_int_equal(transcript_new(&transcript), 0);
        assert_string_equal(transcript_text(transcript), "");
        clock_virtual_advance(2 * USEC_PER_SEC + 34567);
        transcript_line(transcript, "incoming", TRANSCRIPT_CLIENT, "CAPA", 4);
        transcript_line(transcript, NULL, TRANSCRIPT_SERVER, "+OK\t\x1b\xff", 6);
        transcript_note(transcript, "outgoing", "port %d", 465);
        transcript_line(NULL, NULL, TRANSCRIPT_SERVER, "x", 1);
        transcript_note(NULL, NULL, "x");
        assert_string_equal(transcript_text(transcript), "   1.034 incoming C: CAPA\n"
                                                         "   1.034 S: +OK ?\xef\xbf\xbd\n"
                                                         "   1.034 outgoing -- port 465\n");
        clock_virtual_stop();
}

static void test_plain(void **state)
{
        static const struct {
                const char *said, *shown;
        } table[] = {
                { "nothing of it", "nothing of it\n" },
                { "Tr0ub4dor&3", "******\n" },
                { "PASS Tr0ub4dor&3 was wrong", "PASS ****** was wrong\n" },
                { "Tr0ub4dor&3Tr0ub4dor&3", "************\n" },
                { "Tr0uTr0ub4dor&3b4dor&3", "Tr0u******b4dor&3\n" },
                { "", "\n" },
        };
        _cleanup_(transcript_unrefp) Transcript *transcript = WITH(password);

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                say(transcript, table[i].said);
                assert_string_equal(last(transcript), table[i].shown);
        }
        transcript_note(transcript, NULL, "the server answered: %s", password);
        assert_null(strstr(transcript_text(transcript), "Tr0ub4"));
}

/* The digits of the secret's base64 that are its own or half its own, at each alignment and with any neighbours. */
static void check_base64(const char *secret)
{
        for (size_t before = 0; before < 9; before++)
                for (size_t behind = 0; behind < 4; behind++) {
                        _cleanup_(transcript_unrefp) Transcript *transcript = WITH(secret);
                        _cleanup_buffer_ Buffer plain = BUFFER(512), text = BUFFER(1024);
                        _cleanup_buffer_ Buffer expected = BUFFER(1024);
                        size_t from = before * 8 / 6;
                        size_t to = ((before + strlen(secret)) * 8 + 5) / 6;

                        for (size_t i = 0; i < before; i++)
                                assert_int_equal(buffer_append(&plain, "\x5a", 1), 0);
                        assert_int_equal(buffer_append_text(&plain, secret), 0);
                        for (size_t i = 0; i < behind; i++)
                                assert_int_equal(buffer_append(&plain, "\xa5", 1), 0);
                        assert_int_equal(buffer_append_text(&text, "+ "), 0);
                        assert_int_equal(base64_encode(&text, plain.data, plain.len), 0);
                        assert_int_equal(buffer_printf(&expected, "%.*s%.*s%s\n", (int) from + 2,
                                                       text.data, (int) MIN(to - from, 6u),
                                                       "******", text.data + 2 + to),
                                         0);
                        say(transcript, text.data);
                        assert_string_equal(last(transcript), expected.data);
                }
}

static void test_base64(void **state)
{
        check_base64(password);
        check_base64("hunter2");
        check_base64("abc");
        check_base64("four");
        check_base64("fiver");
        check_base64("a longer secret than the others, as tokens are 0123456789");
}

static void test_sasl_plain(void **state)
{
        /* \0jo@example.org\0Tr0ub4dor&3 */
        _cleanup_(transcript_unrefp) Transcript *transcript = WITH(password);
        _cleanup_buffer_ Buffer text = BUFFER(256);

        assert_int_equal(base64_encode(&text, "\0jo@example.org\0Tr0ub4dor&3", 27), 0);
        say(transcript, text.data);
        assert_string_equal(last(transcript), "AGpvQGV4YW1wbGUub3JnA******\n");
}

/* The secret lies across the place where the line is cut, at every offset. */
static void test_across_cut(void **state)
{
        for (size_t at = 560; at < 620; at++) {
                _cleanup_(transcript_unrefp) Transcript *transcript = WITH(password);
                char line[800];

                memset(line, '.', sizeof(line));
                memcpy(line + at, password, strlen(password));
                transcript_line(transcript, NULL, TRANSCRIPT_SERVER, line, sizeof(line));
                assert_null(strstr(transcript_text(transcript), "T"));
                assert_non_null(strstr(transcript_text(transcript), " [...]\n"));
        }
}

/* A note is cut as well, and a secret in it is found before that. */
static void test_note_across_cut(void **state)
{
        for (size_t at = 560; at < 620; at++) {
                _cleanup_(transcript_unrefp) Transcript *transcript = WITH(password);

                transcript_note(transcript, NULL, "%0*d%s", (int) at, 0, password);
                assert_null(strstr(transcript_text(transcript), "T"));
        }
}

/* A server says the secret so often that starring it out shrinks the longest line that is looked at to nearly
 * nothing: the beginning of one more at its very end must not come into sight. */
static void test_repeated_to_the_limit(void **state)
{
        enum { N = 3000 };
        static char secret[N + 1], line[LIMIT_LINE + N];
        _cleanup_(transcript_unrefp) Transcript *transcript = NULL;

        for (size_t i = 0; i < N; i++)
                secret[i] = (char) ('a' + i % 23);
        secret[0] = 'Z';
        for (size_t i = 0; i < sizeof(line); i++)
                line[i] = secret[i % N];
        transcript = WITH(secret);
        transcript_line(transcript, NULL, TRANSCRIPT_SERVER, line, sizeof(line));
        assert_null(strstr(transcript_text(transcript), "Z"));
        assert_null(strstr(transcript_text(transcript), "bcd"));
}

/* Secrets of stars must not be looked for in their own stars for ever. */
static void test_secret_of_stars(void **state)
{
        static const char *const secrets[] = { "***", "******", "*******", "****************" };

        for (size_t i = 0; i < ELEMENTS(secrets); i++) {
                _cleanup_(transcript_unrefp) Transcript *transcript = WITH(secrets[i]);

                say(transcript, "a ******************************** b");
                assert_memory_equal(last(transcript), "a *", 3);
        }
}

static void test_secret_in_secret(void **state)
{
        _cleanup_(transcript_unrefp)
                Transcript *transcript = WITH("secret", "secret2024", "my-secret2024!");

        say(transcript, "secret secret2024 my-secret2024! 2024");
        assert_string_equal(last(transcript), "****** ****** ****** 2024\n");
}

static void test_hide_bounds(void **state)
{
        _cleanup_(transcript_unrefp) Transcript *transcript = WITH(
                "one1", "two22", "three", "four", "five5", "six66", "seven", "eight");
        _cleanup_(secret_unrefp) Secret *more = NULL, *same = NULL;

        assert_int_equal(secret_new(&more, "nine9", 5), 0);
        assert_int_equal(secret_new(&same, "three", 5), 0);
        assert_int_equal(transcript_hide(transcript, more), -ENOBUFS);
        assert_int_equal(transcript_hide(transcript, same), 0); /* known already */
        assert_int_equal(transcript_hide(transcript, NULL), 0);
        say(transcript, "one1 two22 three four five5 six66 seven eight nine9");
        assert_string_equal(last(transcript),
                            "**** ***** ***** **** ***** ***** ***** ***** nine9\n");
}

static void test_bounded(void **state)
{
        _cleanup_(transcript_unrefp) Transcript *transcript = NULL, *shared = NULL;
        char line[64];

        assert_int_equal(transcript_new(&transcript), 0);
        shared = transcript_ref(transcript);
        for (int i = 0; i < 20000; i++) {
                snprintf(line, sizeof(line), "line %d", i);
                say(transcript, line);
                assert_true(strlen(transcript_text(transcript)) <= LIMIT_TRANSCRIPT);
        }
        assert_string_equal(last(transcript), "line 19999\n");
        assert_int_equal(strncmp(transcript_text(transcript), "-- (older lines left out)\n", 26),
                         0);
        assert_null(strstr(transcript_text(transcript) + 1, "-- (older"));
        assert_true(strlen(transcript_text(transcript)) > LIMIT_TRANSCRIPT / 3);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_form),
                cmocka_unit_test(test_plain),
                cmocka_unit_test(test_base64),
                cmocka_unit_test(test_sasl_plain),
                cmocka_unit_test(test_across_cut),
                cmocka_unit_test(test_note_across_cut),
                cmocka_unit_test(test_repeated_to_the_limit),
                cmocka_unit_test(test_secret_of_stars),
                cmocka_unit_test(test_secret_in_secret),
                cmocka_unit_test(test_hide_bounds),
                cmocka_unit_test(test_bounded),
        };

        return cmocka_run_group_tests_name("transcript", tests, NULL, NULL);
}
