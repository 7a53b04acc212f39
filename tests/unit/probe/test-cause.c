/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalogue: texts with places, filled, given way, or left out; and that every cause is whole. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/text.h"
#include "probe/cause.h"

static void test_complete(void **state)
{
        const Cause *cause;
        size_t n = 0;

        for (; (cause = cause_at(n)); n++) {
                assert_true(cause->title[0] && strlen(cause->title) <= 80 &&
                            !strchr(cause->title, '{'));
                assert_true(cause->explanation[0] && !strchr(cause->explanation, '{'));
                assert_true(list_len(cause->remedies) >= 1);
                for (char **r = cause->remedies; *r; r++)
                        assert_null(strchr(*r, '{'));
                assert_ptr_equal(cause_find(cause->code), cause);
        }
        assert_true(n >= 129); /* codes are never taken away */
        assert_null(cause_find("no.such"));
        assert_null(cause_find(""));
        assert_null(cause_find(NULL));
}

static void test_filled(void **state)
{
        _cleanup_(dict_freep) Dict *evidence = dict_new();
        _cleanup_list_ char **remedies = NULL, **bare = NULL;
        _cleanup_free_ char *explanation = NULL, *expired = NULL;

        assert_int_equal(dict_set_text(evidence, "host", "mail.example.org"), 0);
        assert_int_equal(dict_set_number(evidence, "port", 995), 0);
        assert_int_equal(dict_set_number(evidence, "not-after", UINT64_C(1700000000000000)), 0);
        assert_int_equal(dict_add_to_list(evidence, "names", "a.example"), 0);
        assert_int_equal(dict_add_to_list(evidence, "names", "b.example"), 0);

        assert_int_equal(cause_explanation(cause_find("net.refused"), evidence, &explanation), 0);
        assert_string_equal(
                explanation,
                "The computer mail.example.org is there, but nothing listens on port 995.");
        assert_int_equal(cause_explanation(cause_find("tls.cert-expired"), evidence, &expired), 0);
        assert_string_equal(expired, "It was valid until 2023-11-14.");
        assert_int_equal(cause_remedies(cause_find("tls.cert-name-mismatch"), evidence, &remedies),
                         0);
        assert_string_equal(
                remedies[0],
                "Use one of the names in the certificate if it is your provider's: a.example, b.example.");
        assert_int_equal(cause_remedies(cause_find("tls.cert-name-mismatch"), NULL, &bare), 0);
        assert_string_equal(bare[0],
                            "Use one of the names in the certificate, if it is your provider's.");
}

/* A remedy that is nothing without its place is left out. */
static void test_left_out(void **state)
{
        _cleanup_(dict_freep) Dict *evidence = dict_new();
        _cleanup_list_ char **with = NULL, **without = NULL;
        const Cause *cause = cause_find("dns.nxdomain");

        assert_int_equal(dict_set_text(evidence, "hint-url", "https://help.example/"), 0);
        assert_int_equal(cause_remedies(cause, evidence, &with), 0);
        assert_int_equal(cause_remedies(cause, NULL, &without), 0);
        assert_int_equal(list_len(with), list_len(without) + 1);
        assert_string_equal(with[list_len(with) - 1], "See https://help.example/.");
}

static int setup(void **state)
{
        return causes_load();
}

static int teardown(void **state)
{
        causes_unload();
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_complete),
                cmocka_unit_test(test_filled),
                cmocka_unit_test(test_left_out),
        };

        return cmocka_run_group_tests_name("probe/cause", tests, setup, teardown);
}
