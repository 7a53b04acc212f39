/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ceiling holds at every size, the NUL is always there, and what was secret is cleared in place. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/buffer.h"

static void test_ceiling(void **state)
{
        for (size_t max = 0; max < 300; max++) {
                _cleanup_buffer_ Buffer buffer = BUFFER(max);
                size_t n = 0;
                int r;

                while ((r = buffer_append(&buffer, "abcdefg", 7)) == 0) {
                        n += 7;
                        assert_int_equal(buffer.len, n);
                        assert_int_equal(buffer.data[n], 0);
                }
                assert_int_equal(r, -ENOBUFS);
                assert_true(n <= max && n + 7 > max);
                while (buffer_append(&buffer, "z", 1) == 0)
                        n++;
                assert_int_equal(n, max); /* to the last octet */
                assert_int_equal(buffer.len, max);
                assert_int_equal(buffer_append(&buffer, NULL, 0), 0);
        }
}

static void test_absurd_sizes(void **state)
{
        _cleanup_buffer_ Buffer small = BUFFER(100), endless = BUFFER(SIZE_MAX);
        char *to;

        assert_int_equal(buffer_append(&small, "x", 1), 0);
        assert_int_equal(buffer_reserve(&small, SIZE_MAX, &to), -ENOBUFS);
        assert_int_equal(buffer_reserve(&small, SIZE_MAX - 1, &to), -ENOBUFS);
        assert_int_equal(buffer_append(&endless, "x", 1), -ENOBUFS);
        assert_int_equal(small.len, 1);
}

static void test_printf(void **state)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(10);

        assert_int_equal(buffer_printf(&buffer, "%d-%s", 12, "ab"), 0);
        assert_string_equal(buffer.data, "12-ab");
        assert_int_equal(buffer_printf(&buffer, "%s", "123456"), -ENOBUFS);
        assert_string_equal(buffer.data, "12-ab"); /* nothing of it */
        assert_int_equal(buffer_printf(&buffer, "%s", "12345"), 0);
        assert_string_equal(buffer.data, "12-ab12345");
        assert_int_equal(buffer_append_text(&buffer, ""), 0);
}

static void test_consume(void **state)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(64);

        buffer_consume(&buffer, 0); /* an empty one */
        assert_int_equal(buffer_append_text(&buffer, "USER x\r\nPASS y\r\n"), 0);
        buffer_consume(&buffer, 8);
        assert_string_equal(buffer.data, "PASS y\r\n");
        buffer_consume(&buffer, 8);
        assert_int_equal(buffer.len, 0);
        assert_string_equal(buffer.data, "");
}

static void test_reserve_commit(void **state)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(64);
        char *to;

        assert_int_equal(buffer_reserve(&buffer, 64, &to), 0);
        memset(to, 'r', 64);
        buffer_commit(&buffer, 3);
        assert_string_equal(buffer.data, "rrr");
        assert_int_equal(buffer_reserve(&buffer, 62, &to), -ENOBUFS);
}

static void test_take(void **state)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(64);
        _cleanup_free_ char *nothing = NULL, *text = NULL;

        assert_int_equal(buffer_take(&buffer, &nothing), 0);
        assert_string_equal(nothing, "");
        assert_int_equal(buffer_append_text(&buffer, "mine"), 0);
        assert_int_equal(buffer_take(&buffer, &text), 0);
        assert_string_equal(text, "mine");
        assert_null(buffer.data);
        assert_int_equal(buffer_append_text(&buffer, "again"), 0);
        assert_string_equal(buffer.data, "again");
}

/* Looks where it is allowed to: in memory that the buffer still owns. */
static void test_wipe(void **state)
{
        _cleanup_buffer_ Buffer buffer = BUFFER_SECRET(64);

        assert_int_equal(buffer_append_text(&buffer, "secretsecret"), 0);
        buffer_consume(&buffer, 5);
        assert_string_equal(buffer.data, "tsecret");
        for (size_t i = buffer.len; i < 13; i++)
                assert_int_equal(buffer.data[i], 0);
        buffer_clear(&buffer);
        for (size_t i = 0; i < 13; i++)
                assert_int_equal(buffer.data[i], 0);
        assert_int_equal(buffer.len, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ceiling),        cmocka_unit_test(test_absurd_sizes),
                cmocka_unit_test(test_printf),         cmocka_unit_test(test_consume),
                cmocka_unit_test(test_reserve_commit), cmocka_unit_test(test_take),
                cmocka_unit_test(test_wipe),
        };

        return cmocka_run_group_tests_name("buffer", tests, NULL, NULL);
}
