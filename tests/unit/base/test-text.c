/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Foreign bytes made fit to be shown: tables of what comes in and what must come out. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/text.h"

#define FFFD "\xef\xbf\xbd"

typedef struct Shown {
        const char *from, *to;
} Shown;

static void test_printable(void **state)
{
        static const Shown table[] = {
                { "", "" },
                { "-ERR [AUTH] no", "-ERR [AUTH] no" },
                { "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xac",
                  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x93\xac" },
                { "a\tb", "a b" },
                { "a\r\nb\x1b[31m\x7f", "a??b?[31m?" },
                /* C1 controls, soft hyphen */
                { "\xc2\x80\xc2\x9f\xc2\xa0\xc2\xad", FFFD FFFD "\xc2\xa0" FFFD },
                /* bidirectional: LRM, RLO, LRI, ALM; zero width space, BOM */
                { "\xe2\x80\x8e\xe2\x80\xae\xe2\x81\xa6\xd8\x9c", FFFD FFFD FFFD FFFD },
                { "\xe2\x80\x8b\xef\xbb\xbf", FFFD FFFD },
                { "\xe2\x80\xa8\xe2\x80\xa9", FFFD FFFD }, /* line and paragraph separator */
                { "\xf3\xa0\x80\xa1", FFFD },              /* tag characters */
                /* what D-Bus refuses: non-characters */
                { "\xef\xbf\xbe\xef\xbf\xbf\xef\xb7\x90\xf0\x9f\xbf\xbe", FFFD FFFD FFFD FFFD },
                /* overlong, surrogate, too high, continuation alone, Latin-1 */
                { "\xc0\xaf", FFFD FFFD },
                { "\xe0\x80\xaf", FFFD FFFD FFFD },
                { "\xed\xa0\x80", FFFD FFFD FFFD },
                { "\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD },
                { "\xf5\xff\xfe", FFFD FFFD FFFD },
                { "\x80z", FFFD "z" },
                { "gr\xfc\xdf", "gr" FFFD FFFD },
                /* cut inside a character */
                { "\xe2\x82", FFFD FFFD },
                { "\xf0\x9f\x93", FFFD FFFD FFFD },
                { "\xe2\x82x", FFFD FFFD "x" },
                { FFFD, FFFD },
        };
        char to[256];

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                size_t len = strlen(table[i].from);
                _cleanup_free_ char *copy = text_printable_new(table[i].from, len, 200);

                assert_int_equal(text_printable(to, sizeof(to), table[i].from, len),
                                 strlen(table[i].to));
                assert_string_equal(to, table[i].to);
                assert_non_null(copy);
                assert_string_equal(copy, table[i].to);
                assert_true(text_is_clean(to, strlen(to)));
                assert_int_equal(text_is_clean(table[i].from, len),
                                 strcmp(table[i].from, table[i].to) == 0);
        }
        assert_int_equal(text_printable(to, sizeof(to), "a\0b", 3), 3);
        assert_string_equal(to, "a?b");
}

static void test_printable_cut(void **state)
{
        static const char text[] = "a\xc3\xbc\xe2\x82\xac\xf0\x9f\x93\xac\xff";
        static const size_t ends[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10, 10, 13, 13 };

        for (size_t size = 1; size <= ELEMENTS(ends); size++) {
                char *to = malloc(size); /* of just this size, so that one octet too many shows */
                _cleanup_free_ char *copy = text_printable_new(text, strlen(text), size - 1);

                assert_non_null(to);
                assert_int_equal(text_printable(to, size, text, strlen(text)), ends[size - 1]);
                assert_int_equal(strlen(to), ends[size - 1]);
                assert_true(text_is_clean(to, strlen(to)));
                assert_string_equal(copy, to);
                free(to);
        }
}

/* Any two octets, alone and inside: the result is always valid, and a second pass changes nothing. */
static void test_printable_any(void **state)
{
        for (unsigned a = 0; a < 256; a++)
                for (unsigned b = 0; b < 256; b++) {
                        const char from[] = { (char) a, (char) b, '\xe2', (char) b, (char) a };
                        char once[32], twice[32];

                        text_printable(once, sizeof(once), from, sizeof(from));
                        text_printable(twice, sizeof(twice), once, strlen(once));
                        if (!text_is_clean(once, strlen(once)) || strcmp(once, twice) != 0)
                                fail_msg("%02x %02x", a, b);
                }
}

typedef struct Number {
        const char *text;
        uint64_t max;
        int r;
        uint64_t value;
} Number;

static void test_numbers(void **state)
{
        static const Number table[] = {
                { "0", 0, 0, 0 },
                { "1", 0, -ERANGE, 0 },
                { "007", 7, 0, 7 },
                { "9", 3, -ERANGE, 0 },
                { "65535", 65535, 0, 65535 },
                { "65536", 65535, -ERANGE, 0 },
                { "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
                { "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
                { "99999999999999999999999999", UINT64_MAX, -ERANGE, 0 },
                { "", 9, -EINVAL, 0 },
                { "-1", 9, -EINVAL, 0 },
                { "+1", 9, -EINVAL, 0 },
                { " 1", 9, -EINVAL, 0 },
                { "1 ", 9, -EINVAL, 0 },
                { "0x1", 9, -EINVAL, 0 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                uint64_t value = 77;

                assert_int_equal(text_to_u64(table[i].text, table[i].max, &value), table[i].r);
                assert_int_equal(value, table[i].r == 0 ? table[i].value : 77);
        }
}

static void test_scan(void **state)
{
        uint64_t value = 0;
        size_t n = 0;

        assert_int_equal(text_scan_u64("123 456", 7, 999, &value, &n), 0);
        assert_int_equal(value, 123);
        assert_int_equal(n, 3);
        assert_int_equal(text_scan_u64("123", 2, 999, &value, &n), 0); /* not past its end */
        assert_int_equal(value, 12);
        assert_int_equal(text_scan_u64("1", 0, 999, &value, &n), -EINVAL);
        assert_int_equal(text_scan_u64("x1", 2, 999, &value, &n), -EINVAL);
}

static void test_compare(void **state)
{
        char text[] = "PoP3.Example\xc4";

        assert_true(text_equal(NULL, NULL));
        assert_false(text_equal(NULL, ""));
        assert_true(text_word_is("stls ...", 4, "STLS"));
        assert_false(text_word_is("stls", 3, "STLS"));
        assert_false(text_word_is("stlx", 4, "STLS"));
        assert_true(text_equal_nocase("STLS", "stls"));
        assert_false(text_equal_nocase("STLS", "STL"));
        assert_false(text_equal_nocase("STL", "STLS"));
        assert_false(text_equal_nocase("\xc4", "\xe4")); /* ASCII only */
        assert_false(text_equal_nocase("[", "{"));
        assert_false(text_equal_nocase("@", "`"));
        assert_true(text_equal_nocase(NULL, NULL));
        assert_false(text_equal_nocase("", NULL));
        assert_true(text_starts_nocase("+OK ready", "+ok"));
        assert_false(text_starts_nocase("+O", "+ok"));
        assert_true(text_starts_nocase("", ""));
        assert_true(text_ends_nocase("mail.EXAMPLE.org", ".example.ORG"));
        assert_false(text_ends_nocase("org", "example.org"));
        text_lower(text);
        assert_string_equal(text, "pop3.example\xc4");
}

static void test_set(void **state)
{
        _cleanup_free_ char *text = NULL, *formatted = NULL;

        assert_int_equal(text_set(&text, "one"), 0);
        assert_int_equal(text_set(&text, text + 1), 0); /* from itself */
        assert_string_equal(text, "ne");
        assert_int_equal(text_set_n(&text, "three", 2), 0);
        assert_string_equal(text, "th");
        assert_int_equal(text_set(&text, NULL), 0);
        assert_null(text);
        assert_int_equal(text_format(&formatted, "%s:%d", "h", 995), 0);
        assert_string_equal(formatted, "h:995");
}

static void test_list(void **state)
{
        _cleanup_list_ char **list = NULL, **copy = NULL, **none = NULL;
        _cleanup_free_ char *joined = NULL, *empty = NULL;

        assert_int_equal(list_len(NULL), 0);
        assert_int_equal(list_append(&list, "USER", 2), 0);
        assert_int_equal(list_append(&list, "SASL PLAIN", 2), 0);
        assert_int_equal(list_append(&list, "TOP", 2), -ENOBUFS);
        assert_int_equal(list_len(list), 2);
        assert_true(list_contains_nocase(list, "sasl plain"));
        assert_false(list_contains_nocase(list, "TOP"));
        assert_false(list_contains_nocase(NULL, "TOP"));
        assert_int_equal(list_copy(&copy, list), 0);
        assert_int_equal(list_copy(&none, NULL), 0);
        assert_null(none);
        assert_int_equal(list_join(&joined, copy, ", "), 0);
        assert_string_equal(joined, "USER, SASL PLAIN");
        assert_int_equal(list_join(&empty, NULL, ", "), 0);
        assert_string_equal(empty, "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_printable),     cmocka_unit_test(test_printable_cut),
                cmocka_unit_test(test_printable_any), cmocka_unit_test(test_numbers),
                cmocka_unit_test(test_scan),          cmocka_unit_test(test_compare),
                cmocka_unit_test(test_set),           cmocka_unit_test(test_list),
        };

        return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
