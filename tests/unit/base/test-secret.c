/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets with and without the secure heap. That the last unref wipes cannot be looked at from inside, as the memory
 * is no longer ours; a child reads its own pages from outside, as a thief with its memory would. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/base/check.h"

#include "base/limits.h"
#include "base/secret.h"

static void test_bounds(void **state)
{
        static const char big[LIMIT_TOKEN + 1];
        _cleanup_(secret_unrefp) Secret *secret = NULL;

        assert_int_equal(secret_new(&secret, "", 0), -EINVAL);
        assert_int_equal(secret_new(&secret, big, LIMIT_TOKEN + 1), -EINVAL);
        assert_null(secret);
        assert_int_equal(secret_new(&secret, big, LIMIT_TOKEN), 0);
        assert_int_equal(secret_len(secret), LIMIT_TOKEN);
}

static void test_bytes(void **state)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL, *same = NULL, *other = NULL, *longer = NULL;

        assert_int_equal(secret_new(&secret, "a\0b", 3), 0);
        assert_int_equal(secret_new(&same, "a\0b", 3), 0);
        assert_int_equal(secret_new(&other, "a\0c", 3), 0);
        assert_int_equal(secret_new(&longer, "a\0bb", 4), 0);
        assert_memory_equal(secret_data(secret), "a\0b", 4);
        assert_true(secret_equal(secret, same));
        assert_false(secret_equal(secret, other));
        assert_false(secret_equal(secret, longer));
        assert_false(secret_equal(secret, NULL));
        assert_false(secret_equal(NULL, secret));
        assert_true(secret_equal(NULL, NULL));
}

static void test_counted(void **state)
{
        Secret *secret, *again;

        assert_int_equal(secret_new(&secret, "x", 1), 0);
        again = secret_ref(secret);
        assert_ptr_equal(again, secret);
        assert_null(secret_unref(secret));
        assert_string_equal(secret_data(again), "x");
        assert_null(secret_unref(again));
        assert_null(secret_unref(NULL));
        assert_null(secret_ref(NULL));
}

static bool memory_has(uintptr_t at, char first, size_t len)
{
        _cleanup_close_ int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        char bytes[64] = "";

        if (fd < 0 || pread(fd, bytes, len, (off_t) at) != (ssize_t) len)
                return false;
        for (size_t i = 0; i < len; i++)
                if (bytes[i] != first)
                        return false;
        return true;
}

static int child_wipes(bool secure)
{
        char bytes[64];
        uintptr_t at;
        Secret *secret;

        if (secure && secret_setup() < 0)
                return 1;
        /* setup makes the process undumpable, and then even itself may not look */
        if (prctl(PR_SET_DUMPABLE, 1) < 0)
                return 2;
        memset(bytes, 'q', sizeof(bytes));
        if (secret_new(&secret, bytes, sizeof(bytes)) < 0)
                return 3;
        at = (uintptr_t) secret_data(secret);
        if (!memory_has(at, 'q', sizeof(bytes)))
                return 4;
        secret_unref(secret);
        /* The allocator may have put its own words at the front; the rest must be gone. */
        for (size_t i = 16; i < sizeof(bytes); i++)
                if (memory_has(at + i, 'q', 1))
                        return 5;
        return 0;
}

static int child_setup(bool unused)
{
        struct rlimit core;

        if (secret_setup() < 0)
                return 1;
        if (getrlimit(RLIMIT_CORE, &core) < 0 || core.rlim_cur != 0 || core.rlim_max != 0)
                return 2;
        return prctl(PR_GET_DUMPABLE) == 0 ? 0 : 3;
}

/* More tokens than the secure heap holds: they go to the ordinary one instead of failing. */
static int child_fills(bool unused)
{
        static const char token[LIMIT_TOKEN];
        Secret *secrets[128];

        if (secret_setup() < 0)
                return 1;
        for (size_t i = 0; i < ELEMENTS(secrets); i++)
                if (secret_new(&secrets[i], token, sizeof(token)) < 0)
                        return 2;
        for (size_t i = 0; i < ELEMENTS(secrets); i++)
                secret_unref(secrets[i]);
        return 0;
}

/* The secure heap is one for each process and cannot be taken down, so each such test has a process. */
static void check_child(int (*body)(bool), bool arg)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(body(arg));
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_wiped(void **state)
{
        check_child(child_wipes, true);
        check_child(child_wipes, false);
}

static void test_setup(void **state)
{
        check_child(child_setup, false);
}

static void test_heap_full(void **state)
{
        check_child(child_fills, false);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bounds),  cmocka_unit_test(test_bytes),
                cmocka_unit_test(test_counted), cmocka_unit_test(test_wiped),
                cmocka_unit_test(test_setup),   cmocka_unit_test(test_heap_full),
        };

        return cmocka_run_group_tests_name("secret", tests, NULL, NULL);
}
