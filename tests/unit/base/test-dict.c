/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dictionaries: values, replacing, copies, ceilings, and that no two unlike ones share a digest. */
#include <stdio.h>
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/dict.h"
#include "base/limits.h"
#include "base/text.h"

static Dict *dict_sample(void)
{
        static char a[] = "USER", b[] = "TOP";
        char *list[] = { a, b, NULL };
        Dict *dict = dict_new(), *inner = dict_new();

        assert_non_null(dict);
        assert_non_null(inner);
        assert_int_equal(dict_set_text(dict, "host", "pop.example.org"), 0);
        assert_int_equal(dict_set_number(dict, "port", 995), 0);
        assert_int_equal(dict_set_bool(dict, "tls", true), 0);
        assert_int_equal(dict_set_list(dict, "capabilities", list), 0);
        assert_int_equal(dict_set_text(inner, "subject", "CN=x"), 0);
        assert_int_equal(dict_set_dict_take(dict, "certificate", inner), 0);
        return dict;
}

static void test_values(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_sample();

        assert_string_equal(dict_text(dict, "host"), "pop.example.org");
        assert_int_equal(dict_number(dict, "port", 1), 995);
        assert_true(dict_bool(dict, "tls", false));
        assert_int_equal(list_len(dict_list(dict, "capabilities")), 2);
        assert_string_equal(dict_text(dict_dict(dict, "certificate"), "subject"), "CN=x");
        /* missing, or of another type */
        assert_null(dict_text(dict, "port"));
        assert_null(dict_list(dict, "host"));
        assert_null(dict_dict(dict, "host"));
        assert_int_equal(dict_number(dict, "host", 7), 7);
        assert_true(dict_bool(dict, "port", true));
        assert_null(dict_find(dict, "hos"));
        assert_null(dict_find(NULL, "host"));
        assert_null(dict_text(NULL, "host"));
}

static void test_replace(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_sample();
        size_t n = dict->n_entries;

        assert_int_equal(dict_set_number(dict, "host", 5), 0);
        assert_int_equal(dict_set_text(dict, "capabilities", "none"), 0);
        assert_int_equal(dict_set_bool(dict, "certificate", false), 0);
        assert_int_equal(dict_set_text(dict, "capabilities", dict_text(dict, "capabilities")), 0);
        assert_string_equal(dict_text(dict, "capabilities"), "none");
        assert_int_equal(dict->n_entries, n);
        assert_int_equal(dict_number(dict, "host", 0), 5);
        assert_int_equal(dict_add_to_list(dict, "host", "a"), 0); /* a list from now on */
        assert_int_equal(dict_add_to_list(dict, "host", "b"), 0);
        assert_int_equal(list_len(dict_list(dict, "host")), 2);
        assert_int_equal(dict_set_text(dict, "port", NULL), 0); /* sets nothing */
        assert_int_equal(dict_number(dict, "port", 0), 995);
        assert_int_equal(dict_set_list(dict, "port", NULL), 0);
        assert_int_equal(dict_number(dict, "port", 0), 995);
}

static void test_unset(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_sample();

        dict_unset(dict, "nothing");
        dict_unset(dict, "certificate"); /* last */
        dict_unset(dict, "host");        /* first */
        dict_unset(dict, "tls");         /* middle */
        assert_int_equal(dict->n_entries, 2);
        assert_string_equal(dict->entries[0].key, "port");
        assert_string_equal(dict->entries[1].key, "capabilities");
        dict_clear(dict);
        assert_int_equal(dict->n_entries, 0);
        assert_int_equal(dict_set_bool(dict, "again", true), 0);
}

static void test_printable(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        char big[2 * LIMIT_REPLY_TEXT];

        memset(big, 'b', sizeof(big));
        assert_non_null(dict);
        assert_int_equal(dict_set_bytes(dict, "reply", "-ERR\0\xff\n", 7), 0);
        assert_string_equal(dict_text(dict, "reply"), "-ERR?\xef\xbf\xbd?");
        assert_int_equal(dict_set_bytes(dict, "reply", big, sizeof(big)), 0);
        assert_int_equal(strlen(dict_text(dict, "reply")), LIMIT_REPLY_TEXT);
        assert_int_equal(dict_add_to_list(dict, "list", "a\rb"), 0);
        assert_string_equal(dict_list(dict, "list")[0], "a?b");
}

static void test_ceilings(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        char key[16];

        assert_non_null(dict);
        for (unsigned i = 0; i < LIMIT_DICTIONARY; i++) {
                snprintf(key, sizeof(key), "k%u", i);
                assert_int_equal(dict_set_number(dict, key, i), 0);
        }
        assert_int_equal(dict_set_number(dict, "more", 1), -ENOBUFS);
        assert_int_equal(dict_set_text(dict, "more", "x"), -ENOBUFS);
        assert_int_equal(dict_set_dict_take(dict, "more", dict_new()), -ENOBUFS);
        assert_int_equal(dict_set_text(dict, "k3", "x"), 0); /* replacing goes on */
        dict_unset(dict, "k0");
        for (unsigned i = 0; i < LIMIT_REPLY_LINES; i++)
                assert_int_equal(dict_add_to_list(dict, "list", "line"), 0);
        assert_int_equal(dict_add_to_list(dict, "list", "line"), -ENOBUFS);
}

static void test_copy_and_equal(void **state)
{
        _cleanup_(dict_freep) Dict *dict = dict_sample(), *copy = NULL, *empty = NULL;

        assert_int_equal(dict_copy(&copy, dict), 0);
        assert_true(dict_equal(dict, copy));
        assert_int_equal(dict_add_to_list(copy, "capabilities", "UIDL"), 0);
        assert_false(dict_equal(dict, copy)); /* and the original is its own */
        assert_int_equal(list_len(dict_list(dict, "capabilities")), 2);
        assert_int_equal(dict_copy(&empty, NULL), 0);
        assert_true(dict_equal(empty, NULL));
        assert_true(dict_equal(NULL, NULL));
        assert_false(dict_equal(dict, NULL));
}

typedef int (*Maker)(Dict *dict);

static int make_empty(Dict *d)
{
        return 0;
}
static int make_text(Dict *d)
{
        return dict_set_text(d, "a", "1");
}
static int make_text_other(Dict *d)
{
        return dict_set_text(d, "a", "2");
}
static int make_number(Dict *d)
{
        return dict_set_number(d, "a", 1);
}
static int make_bool(Dict *d)
{
        return dict_set_bool(d, "a", true);
}
static int make_key(Dict *d)
{
        return dict_set_bool(d, "b", true);
}
static int make_list(Dict *d)
{
        return dict_add_to_list(d, "a", "1");
}
static int make_list_split(Dict *d)
{
        int r = dict_add_to_list(d, "a", "1");

        return r < 0 ? r : dict_add_to_list(d, "a", "2");
}
static int make_list_joined(Dict *d)
{
        return dict_add_to_list(d, "a", "11:2");
}
static int make_text_forged(Dict *d)
{
        return dict_set_text(d, "a", "11:b01:c"); /* what the next entry would look like */
}
static int make_two(Dict *d)
{
        int r = dict_set_text(d, "a", "1");

        return r < 0 ? r : dict_set_text(d, "b", "c");
}
static int make_two_turned(Dict *d)
{
        int r = dict_set_text(d, "b", "c");

        return r < 0 ? r : dict_set_text(d, "a", "1");
}
static int make_inner(Dict *d)
{
        Dict *inner = dict_new();
        int r = dict_set_text(inner, "b", "c");

        return r < 0 ? r : dict_set_dict_take(d, "a", inner);
}
static int make_inner_then(Dict *d)
{
        int r = dict_set_dict_take(d, "a", dict_new());

        return r < 0 ? r : dict_set_text(d, "b", "c");
}

/* An approval token is such a digest: what was shown and what is done must not differ unseen. */
static void test_digests_differ(void **state)
{
        static const Maker makers[] = {
                make_empty, make_text,       make_text_other, make_number,      make_bool,
                make_key,   make_list,       make_list_split, make_list_joined, make_text_forged,
                make_two,   make_two_turned, make_inner,      make_inner_then,
        };
        Dict *dicts[ELEMENTS(makers)];
        char digests[ELEMENTS(makers)][65];

        for (size_t i = 0; i < ELEMENTS(makers); i++) {
                _cleanup_(dict_freep) Dict *copy = NULL;
                char again[65];

                dicts[i] = dict_new();
                assert_non_null(dicts[i]);
                assert_int_equal(makers[i](dicts[i]), 0);
                assert_int_equal(dict_digest(dicts[i], digests[i]), 0);
                assert_int_equal(strlen(digests[i]), 64);
                assert_int_equal(dict_copy(&copy, dicts[i]), 0);
                assert_int_equal(dict_digest(copy, again), 0);
                assert_string_equal(again, digests[i]);
        }
        for (size_t i = 0; i < ELEMENTS(makers); i++)
                for (size_t j = 0; j < ELEMENTS(makers); j++) {
                        assert_int_equal(dict_equal(dicts[i], dicts[j]), i == j);
                        assert_int_equal(strcmp(digests[i], digests[j]) == 0, i == j);
                }
        for (size_t i = 0; i < ELEMENTS(makers); i++)
                dict_free(dicts[i]);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_values),         cmocka_unit_test(test_replace),
                cmocka_unit_test(test_unset),          cmocka_unit_test(test_printable),
                cmocka_unit_test(test_ceilings),       cmocka_unit_test(test_copy_and_equal),
                cmocka_unit_test(test_digests_differ),
        };

        return cmocka_run_group_tests_name("dict", tests, NULL, NULL);
}
