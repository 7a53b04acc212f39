/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Both clocks, real and virtual. */
#include <time.h>

#include "tests/unit/base/check.h"

static void test_real(void **state)
{
        uint64_t a = clock_now(), b = clock_now(), real = clock_real();

        assert_false(clock_virtual());
        assert_true(a > 0 && b >= a);
        assert_true(real / USEC_PER_SEC + 1 >= (uint64_t) time(NULL) &&
                    real / USEC_PER_SEC <= (uint64_t) time(NULL) + 1);
}

static void test_virtual(void **state)
{
        clock_virtual_start(1000, 5000000);
        assert_true(clock_virtual());
        assert_int_equal(clock_now(), 1000);
        assert_int_equal(clock_real(), 5000000);
        clock_virtual_advance(1500);
        assert_int_equal(clock_now(), 1500);
        assert_int_equal(clock_real(), 5000500); /* they move together */
        clock_virtual_advance(1200);
        assert_int_equal(clock_now(), 1500); /* never back */
        clock_virtual_stop();
        assert_false(clock_virtual());
        assert_true(clock_real() > 1600000000 * USEC_PER_SEC);
        /* a machine that has been up for longer than it has existed */
        clock_virtual_start(90 * USEC_PER_DAY, USEC_PER_DAY);
        assert_int_equal(clock_real(), USEC_PER_DAY);
        clock_virtual_advance(91 * USEC_PER_DAY);
        assert_int_equal(clock_real(), 2 * USEC_PER_DAY);
        clock_virtual_stop();
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_real),
                cmocka_unit_test(test_virtual),
        };

        return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
