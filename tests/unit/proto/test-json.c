/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* JSON to the letter: what is accepted, what is not, and what the readers of members give. */
#include "tests/unit/base/check.h"

#include <string.h>

#include "proto/json.h"

static bool valid(const char *text)
{
        return json_is_valid(text, strlen(text));
}

static void test_valid(void **state)
{
        static const char *const right[] = {
                "{}",
                "[]",
                " [ ] ",
                "0",
                "-0",
                "-1.5e+3",
                "\"\"",
                "true",
                "false",
                "null",
                "{\"a\":[1,{\"b\":null}],\"c\":\"\\u00e9\\ud83d\\ude00\\n\"}",
                "[[],[[]],{}]",
                "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]",
        };

        for (size_t i = 0; i < ELEMENTS(right); i++)
                assert_true(valid(right[i]));
}

static void test_invalid(void **state)
{
        static const char *const wrong[] = {
                "",
                " ",
                "{",
                "[",
                "]",
                "[1,]",
                "[,1]",
                "{\"a\"}",
                "{\"a\":}",
                "{\"a\":1,}",
                "{a:1}",
                "{'a':1}",
                "01",
                "-",
                "+1",
                "1.",
                ".5",
                "1e",
                "1e+",
                "0x1",
                "NaN",
                "Infinity",
                "nul",
                "tru",
                "nullx",
                "\"",
                "\"\\\"",
                "\"\\x\"",
                "\"\\u12\"",
                "\"\\ud800\"",
                "\"\\ud800\\u0041\"",
                "\"\\udc00\"",
                "\"\\u0000\"",
                "\"a\tb\"",
                "\"a\nb\"",
                "[1] x",
                "[1][2]",
                "/* */ 1",
                "[1 2]",
                "\xef\xbb\xbf{}",
                "\"\xff\"",
                "\"\xc0\x80\"",
                "\"\xed\xa0\x80\"",
                "\"\xf4\x90\x80\x80\"",
                "\"\xe2\x82\"",
                "[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]",
        };

        for (size_t i = 0; i < ELEMENTS(wrong); i++)
                if (valid(wrong[i]))
                        fail_msg("accepted: %s", wrong[i]);
        assert_false(json_is_valid("1\0", 2));
}

static void test_cut(void **state)
{
        static const char text[] = "{\"a\":[1.5e3,{\"b\":\"\\ud83d\\ude00\"}],\"c\":true}";

        for (size_t n = 0; n < strlen(text); n++)
                assert_false(json_is_valid(text, n));
        assert_true(valid(text));
}

static void test_members(void **state)
{
        static const char text[] =
                "{\"s\":\"x\",\"n\":1,\"t\":true,\"f\":false,\"c\":\"a\\nb\",\"o\":{\"s\":\"y\"}}";
        json_object *root;

        assert_int_equal(json_read(&root, text, strlen(text)), 0);
        assert_string_equal(json_text(root, "s", 1), "x");
        assert_null(json_text(root, "s", 0));
        assert_null(json_text(root, "n", 10));
        assert_null(json_text(root, "c", 10));
        assert_string_equal(json_text(json_member(root, "o"), "s", 10), "y");
        assert_null(json_text(json_member(root, "absent"), "s", 10));
        assert_int_equal(json_flag(root, "t"), 1);
        assert_int_equal(json_flag(root, "f"), 0);
        assert_int_equal(json_flag(root, "s"), -1);
        json_object_put(root);
        assert_int_equal(json_read(&root, "7", 1), 0);
        assert_int_equal(json_object_get_int(root), 7);
        json_object_put(root);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_valid),
                cmocka_unit_test(test_invalid),
                cmocka_unit_test(test_cut),
                cmocka_unit_test(test_members),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
