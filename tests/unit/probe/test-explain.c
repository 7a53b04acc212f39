/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The answer about lines of a log: its keys, and that it holds for no lines, many lines and long ones. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/text.h"
#include "probe/cause.h"
#include "probe/explain.h"
#include "probe/reply.h"

static void test_answer(void **state)
{
        static const char *const lines[] = {
                "535-5.7.8 Username and Password not accepted. Learn more at",
                "535 5.7.8  https://support.google.com/mail/?p=BadCredentials x - gsmtp"
        };
        _cleanup_(dict_freep) Dict *context = dict_new(), *answer = NULL;

        assert_int_equal(dict_set_text(context, "protocol", "smtp"), 0);
        assert_int_equal(dict_set_text(context, "phase", "auth"), 0);
        assert_int_equal(explain(lines, 2, context, NULL, &answer), 0);
        assert_string_equal(dict_text(answer, "cause"), "auth.bad-credentials");
        assert_string_equal(dict_text(answer, "class"), "user-action");
        assert_string_equal(dict_text(answer, "severity"), "block");
        assert_string_equal(dict_text(answer, "who"), "user");
        assert_non_null(dict_text(answer, "confidence"));
        assert_non_null(dict_text(answer, "title"));
        assert_non_null(dict_text(answer, "explanation"));
        assert_true(list_len(dict_list(answer, "remedies")) > 0);
}

static void test_nothing(void **state)
{
        _cleanup_(dict_freep) Dict *answer = NULL;

        assert_int_equal(explain(NULL, 0, NULL, NULL, &answer), 0);
        assert_string_equal(dict_text(answer, "cause"), "");
        assert_string_equal(dict_text(answer, "class"), "");
        assert_string_equal(dict_text(answer, "confidence"), "low");
}

static void test_much(void **state)
{
        static char line[100000];
        const char *lines[EXPLAIN_LINES + 10];
        _cleanup_(dict_freep) Dict *answer = NULL, *long_one = NULL;

        for (size_t i = 0; i < ELEMENTS(lines); i++)
                lines[i] = "-ERR [IN-USE] locked";
        assert_int_equal(explain(lines, ELEMENTS(lines), NULL, NULL, &answer), 0);
        assert_string_equal(dict_text(answer, "cause"), "mailbox.locked");
        memset(line, 'z', sizeof(line) - 1);
        memcpy(line, "-ERR [IN-USE] ", 14);
        lines[0] = line;
        assert_int_equal(explain(lines, 1, NULL, NULL, &long_one), 0);
        assert_string_equal(dict_text(long_one, "cause"), "mailbox.locked");
}

static int setup(void **state)
{
        return causes_load();
}

static int teardown(void **state)
{
        replies_unload();
        causes_unload();
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_answer),
                cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_much),
        };

        return cmocka_run_group_tests_name("probe/explain", tests, setup, teardown);
}
