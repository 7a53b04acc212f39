/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every unit test includes first, in the order that cmocka needs, and the loop of a test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fiber.h"

/* A failed assertion of cmocka jumps back to the runner, which must not happen from a fiber's stack: there it says
 * what was wrong and ends the program. */
static inline _unused_ void check_failed(const char *what, long long a, long long b,
                                         const char *file, int line)
{
        if (!fiber_current())
                return;
        fprintf(stderr, "%s:%d: on fiber %s: %s: %lld, %lld\n", file, line,
                fiber_name(fiber_current()), what, a, b);
        abort();
}

#undef assert_int_equal
#define assert_int_equal(a, b)                                                                  \
        do {                                                                                    \
                long long a_ = (long long) (a), b_ = (long long) (b);                           \
                if (a_ != b_)                                                                   \
                        check_failed(#a " == " #b, a_, b_, __FILE__, __LINE__);                 \
                _assert_int_equal((LargestIntegralType) a_, (LargestIntegralType) b_, __FILE__, \
                                  __LINE__);                                                    \
        } while (0)
#undef assert_true
#define assert_true(a)                                              \
        do {                                                        \
                bool a_ = (a);                                      \
                if (!a_)                                            \
                        check_failed(#a, 0, 1, __FILE__, __LINE__); \
                _assert_true(a_, #a, __FILE__, __LINE__);           \
        } while (0)
#undef assert_false
#define assert_false(a) assert_true(!(a))
#undef assert_null
#define assert_null(a) assert_true((a) == NULL)
#undef assert_non_null
#define assert_non_null(a) assert_true((a) != NULL)

static inline _unused_ int check_setup_loop(void **state)
{
        Loop *loop;
        int r = loop_new(&loop);

        *state = loop;
        return r;
}

static inline _unused_ int check_teardown_loop(void **state)
{
        clock_virtual_stop();
        *state = loop_free(*state);
        return 0;
}

static inline _unused_ void check_virtual_clock(void)
{
        clock_virtual_start(1000 * USEC_PER_SEC, 1700000000 * USEC_PER_SEC);
}

/* Runs until no fiber is left; 20 s without any event is a failure. */
static inline _unused_ void check_run(Loop *loop)
{
        while (loop_n_fibers(loop) > 0)
                assert_int_equal(loop_step(loop, 20 * USEC_PER_SEC), 1);
}

/* Runs what can run now and returns when all fibers wait for something. Not for the virtual clock. */
static inline _unused_ void check_settle(Loop *loop)
{
        int r;

        do
                r = loop_step(loop, 0);
        while (r > 0);
        assert_int_equal(r, 0);
}

#define LOOP_TEST(f) cmocka_unit_test_setup_teardown(f, check_setup_loop, check_teardown_loop)
