/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can be an app password, and what cannot. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "probe/secret_shape.h"

static SecretShape judge(const char *shape, const char *text)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;

        assert_int_equal(secret_new(&secret, text, strlen(text)), 0);
        return secret_shape_judge(shape, secret);
}

static void test_shapes(void **state)
{
        static const struct {
                const char *shape, *secret;
                SecretShape verdict;
        } cases[] = {
                { "aaaa aaaa aaaa aaaa", "abcdefghijklmnop", SECRET_SHAPE_FITS },
                { "aaaa aaaa aaaa aaaa", "abcd efgh ijkl mnop", SECRET_SHAPE_SPACED },
                { "aaaa aaaa aaaa aaaa", " abcdefgh ijklmnop ", SECRET_SHAPE_SPACED },
                { "aaaa aaaa aaaa aaaa", "Sommer2026!", SECRET_SHAPE_OTHER },
                { "aaaa aaaa aaaa aaaa", "abcdefghijklmno", SECRET_SHAPE_OTHER },
                { "aaaa aaaa aaaa aaaa", "abcdefghijklmnopq", SECRET_SHAPE_OTHER },
                { "aaaa aaaa aaaa aaaa", "abcdefghijklmnoP", SECRET_SHAPE_OTHER },
                { "aaaa-aaaa-aaaa-aaaa", "abcd-efgh-ijkl-mnop", SECRET_SHAPE_FITS },
                { "aaaa-aaaa-aaaa-aaaa", "abcdefghijklmnop", SECRET_SHAPE_FITS },
                { "aaaa-aaaa-aaaa-aaaa", "abcd efgh ijkl mnop", SECRET_SHAPE_SPACED },
                { "aaaa-aaaa", "abcd--efgh", SECRET_SHAPE_OTHER },
                { "xxxx9A", "aZ01Q9", SECRET_SHAPE_OTHER },
                { "xxxx9A", "aZ019QQ", SECRET_SHAPE_OTHER },
                { "xxxx9A", "aZ0x9Q", SECRET_SHAPE_FITS },
                { NULL, "anything at all", SECRET_SHAPE_SPACED },
                { NULL, "Sommer2026!", SECRET_SHAPE_FITS },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                if (judge(cases[i].shape, cases[i].secret) != cases[i].verdict)
                        fail_msg("'%s' as '%s'", cases[i].secret, cases[i].shape);
}

static void test_validity(void **state)
{
        assert_true(secret_shape_is_valid("aaaa aaaa"));
        assert_true(secret_shape_is_valid("AAAA-xxx9"));
        assert_false(secret_shape_is_valid(""));
        assert_false(secret_shape_is_valid(" a"));
        assert_false(secret_shape_is_valid("a-"));
        assert_false(secret_shape_is_valid("[a-z]{16}"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_shapes),
                cmocka_unit_test(test_validity),
        };

        return cmocka_run_group_tests_name("secret-shape", tests, NULL, NULL);
}
