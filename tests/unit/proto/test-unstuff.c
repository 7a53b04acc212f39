/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Unstuffing against a reference that holds the whole reply, split at every pair of places. With an argument: a measurement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "proto/unstuff.h"

/* The rule in one sentence: at a line's beginning (the start, behind CRLF) "." CRLF ends, any other dot goes; CRLF becomes LF.
 * Returns the octets consumed, 0 without a terminator. */
static size_t reference(const char *in, size_t len, char *out, size_t *ret_out)
{
        size_t n = 0, i = 0;
        bool start = true;

        while (i < len) {
                if (start && in[i] == '.') {
                        if (i + 2 < len && in[i + 1] == '\r' && in[i + 2] == '\n') {
                                *ret_out = n;
                                return i + 3;
                        }
                        start = false;
                        i++;
                        continue;
                }
                start = i + 1 < len && in[i] == '\r' && in[i + 1] == '\n';
                out[n++] = start ? '\n' : in[i];
                i += start ? 2 : 1;
        }
        return 0;
}

/* Feeds the pieces, checking that only the room that the header speaks of is used. Returns the octets consumed. */
static size_t feed_split(const char *in, size_t len, size_t a, size_t b, char *out, size_t *ret_out)
{
        const size_t ends[] = { a, b, len };
        Unstuff unstuff = {};
        size_t at = 0, n = 0;

        for (size_t i = 0; i < 3; i++) {
                char piece[256];
                size_t consumed, produced;
                int r;

                if (ends[i] < at)
                        continue;
                memset(piece, '#', sizeof(piece));
                r = unstuff_feed(&unstuff, in + at, ends[i] - at, &consumed, piece, &produced);
                assert_true(produced <= ends[i] - at + 2);
                assert_int_equal(piece[ends[i] - at + 2], '#');
                memcpy(out + n, piece, produced);
                n += produced;
                if (r == 1) {
                        *ret_out = n;
                        return at + consumed;
                }
                assert_int_equal(r, 0);
                assert_int_equal(consumed, ends[i] - at);
                at = ends[i];
        }
        *ret_out = n;
        return 0;
}

static void check(const char *in, size_t len)
{
        char expected[256], got[256];
        size_t expected_len = 0, got_len, consumed = reference(in, len, expected, &expected_len);

        for (size_t a = 0; a <= len; a++)
                for (size_t b = a; b <= len; b++) {
                        assert_int_equal(feed_split(in, len, a, b, got, &got_len), consumed);
                        if (consumed == 0)
                                continue;
                        assert_int_equal(got_len, expected_len);
                        assert_memory_equal(got, expected, expected_len);
                }
}

static void test_known(void **state)
{
        static const struct {
                const char *in, *out;
                size_t rest;
        } table[] = {
                { ".\r\n", "", 0 },
                { ".\r\n+OK", "", 3 },
                { "a\r\n.\r\n", "a\n", 0 },
                { "..\r\n.\r\n", ".\n", 0 },
                { "...a\r\n.\r\n+OK\r\n", "..a\n", 5 },
                { ".a\r\n.\r\n", "a\n", 0 },
                { "\r\n.\r\n", "\n", 0 },
                { "a\n.\n.\r\n\r\n.\r\n", "a\n.\n.\n\n", 0 },
                { "a\n.\r\nb\r\n.\r\n", "a\n.\nb\n", 0 },
                { "a\r.\r\n.\r\n", "a\r.\n", 0 },
                { "a\r\r\n.\r\n", "a\r\n", 0 },
                { ".\rx\r\n.\r\n", "\rx\n", 0 },
                { ".\r\r\n.\r\n", "\r\n", 0 },
                { ".\n\r\n.\r\n", "\n\n", 0 },
                { "a\r\n.\n.\r\n.\r\n", "a\n\n.\n", 0 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                size_t len = strlen(table[i].in), out_len, consumed;
                char out[256];

                consumed = feed_split(table[i].in, len, len, len, out, &out_len);
                assert_int_equal(consumed, len - table[i].rest);
                assert_int_equal(out_len, strlen(table[i].out));
                assert_memory_equal(out, table[i].out, out_len);
                check(table[i].in, len);
        }
}

/* Every text of up to 7 octets over the alphabet that matters, with the terminator behind it. */
static void test_exhaustive(void **state)
{
        static const char alphabet[] = { 'a', '.', '\r', '\n' };

        for (size_t len = 0; len <= 7; len++)
                for (unsigned code = 0; code < 1u << (2 * len); code++) {
                        char in[16];

                        for (size_t i = 0; i < len; i++)
                                in[i] = alphabet[code >> (2 * i) & 3];
                        memcpy(in + len, "\r\n.\r\n", 5);
                        check(in, len + 5);
                }
}

static void test_after_the_end(void **state)
{
        Unstuff unstuff = {};
        size_t consumed, out_len;
        char out[16];

        assert_int_equal(unstuff_feed(&unstuff, ".\r\nx", 4, &consumed, out, &out_len), 1);
        assert_int_equal(consumed, 3);
        assert_int_equal(unstuff_feed(&unstuff, "x", 1, &consumed, out, &out_len), 1);
        assert_int_equal(consumed, 0);
        assert_int_equal(unstuff_feed(&unstuff, NULL, 0, &consumed, out, &out_len), 1);
}

static int measure(void)
{
        enum { PIECE = 64 * 1024, ROUNDS = 16 * 1024 };
        static char in[PIECE], out[PIECE + 2];
        Unstuff unstuff = {};
        struct timespec a, b;
        size_t consumed, out_len, total = 0;
        double seconds;

        for (size_t i = 0; i < PIECE; i++)
                in[i] = i % 78 == 76 ? '\r' : i % 78 == 77 ? '\n' : (char) ('a' + i % 26);
        clock_gettime(CLOCK_MONOTONIC, &a);
        for (int i = 0; i < ROUNDS; i++) {
                (void) unstuff_feed(&unstuff, in, PIECE, &consumed, out, &out_len);
                total += consumed;
        }
        clock_gettime(CLOCK_MONOTONIC, &b);
        seconds = (double) (b.tv_sec - a.tv_sec) + (double) (b.tv_nsec - a.tv_nsec) / 1e9;
        printf("%.0f MB/s\n", (double) total / 1e6 / seconds);
        return 0;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_known),
                cmocka_unit_test(test_exhaustive),
                cmocka_unit_test(test_after_the_end),
        };

        return argc > 1 ? measure() : cmocka_run_group_tests(tests, NULL, NULL);
}
