/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words: every occurrence of every literal, compared with a search one by one. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "probe/words.h"

static const char *const literals[] = {
        "he", "she", "his", "hers", " not ", "ab", "abab", "b", "he"
};

typedef struct Seen {
        unsigned n[ELEMENTS(literals)];
        unsigned last_blank;
} Seen;

static void found(void *userdata, unsigned id, unsigned word_end)
{
        Seen *seen = userdata;

        seen->n[id]++;
        assert_true(word_end >= seen->last_blank);
        seen->last_blank = word_end;
}

static unsigned count(const char *text, const char *literal)
{
        unsigned n = 0;

        for (const char *p = text; (p = strstr(p, literal)); p++)
                n++;
        return n;
}

static void test_all_are_found(void **state)
{
        static const char *const texts[] = { "ushers",
                                             "ababab abab",
                                             "this is not his",
                                             "",
                                             "b",
                                             "she said: he is not hers",
                                             " not  not not ",
                                             "xyz",
                                             "hehehershe" };
        _cleanup_(words_freep) Words *words = NULL;

        assert_int_equal(words_new(&words), 0);
        for (unsigned i = 0; i < ELEMENTS(literals); i++)
                assert_int_equal(words_add(words, literals[i], strlen(literals[i]), i), 0);
        assert_int_equal(words_compile(words), 0);
        for (size_t t = 0; t < ELEMENTS(texts); t++) {
                Seen seen = {};

                words_scan(words, texts[t], strlen(texts[t]), found, &seen);
                for (size_t i = 0; i < ELEMENTS(literals); i++)
                        assert_int_equal(seen.n[i], count(texts[t], literals[i]));
        }
}

static void test_blanks_are_counted(void **state)
{
        _cleanup_(words_freep) Words *words = NULL;
        Seen seen = {};

        assert_int_equal(words_new(&words), 0);
        assert_int_equal(words_add(words, " b ", 3, 0), 0);
        assert_int_equal(words_compile(words), 0);
        words_scan(words, " a b c ", 7, found, &seen);
        assert_int_equal(seen.n[0], 1);
        assert_int_equal(seen.last_blank, 3);
}

static void test_nothing_is_no_literal(void **state)
{
        _cleanup_(words_freep) Words *words = NULL;

        assert_int_equal(words_new(&words), 0);
        assert_int_equal(words_add(words, "", 0, 1), -EINVAL);
        assert_int_equal(words_compile(words), 0);
        words_scan(words, "abc", 3, found, &(Seen){});
}

static void counted(void *userdata, unsigned id, unsigned blanks)
{
        (*(size_t *) userdata)++;
}

/* However a text is made against it: counted, not timed. */
static void test_linear(void **state)
{
        static const char *const literals[] = { "aaaaaaaaaaaaaaab", "aaaaaaac", "abababababababac",
                                                "bababababd",       "aaab",     "ba" };
        static char text[8192];
        _cleanup_(words_freep) Words *words = NULL;

        assert_int_equal(words_new(&words), 0);
        for (unsigned i = 0; i < ELEMENTS(literals); i++)
                assert_int_equal(words_add(words, literals[i], strlen(literals[i]), i), 0);
        assert_int_equal(words_compile(words), 0);
        for (unsigned period = 1; period < 40; period++) {
                for (size_t i = 0; i < sizeof(text); i++)
                        text[i] = i % period == period - 1 ? 'x' : i % 2 ? 'b' : 'a';
                for (size_t len = 64; len <= sizeof(text); len *= 2) {
                        size_t occurrences = 0,
                               steps = words_scan(words, text, len, counted, &occurrences);

                        assert_true(steps >= len && steps <= 2 * len + occurrences);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_all_are_found),
                cmocka_unit_test(test_blanks_are_counted),
                cmocka_unit_test(test_nothing_is_no_literal),
                cmocka_unit_test(test_linear),
        };

        return cmocka_run_group_tests_name("probe/words", tests, NULL, NULL);
}
