/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Secrets by descriptor: what is read, what is refused, and that a caller can make nobody wait. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/unit/bus/check.h"

#include "base/clock.h"
#include "base/fiber.h"
#include "base/limits.h"
#include "bus/secrets.h"
#include "dbus/names.h"

typedef struct Reading {
        int fd, result;
        Secret *secret;
        sd_bus_error error;
} Reading;

static int read_on_fiber(void *arg)
{
        Reading *reading = arg;

        reading->result = secret_read_fd(reading->fd, &reading->secret, &reading->error);
        return sd_event_exit(loop_event(loop_current()), 0);
}

/* Reads @fd and closes it. */
static Reading reading_of(int fd)
{
        _cleanup_(loop_freep) Loop *loop = NULL;
        Reading reading = { .fd = fd };

        assert_int_equal(loop_new(&loop), 0);
        {
                _cleanup_(fiber_cancelp) Fiber *fiber = NULL;

                assert_int_equal(fiber_start(&fiber, "read", read_on_fiber, &reading), 0);
                assert_int_equal(loop_run(loop), 0);
        }
        close(fd);
        return reading;
}

static void reading_gives(int fd, const char *expected)
{
        Reading reading = reading_of(fd);

        assert_int_equal(reading.result, 0);
        assert_int_equal(secret_len(reading.secret), strlen(expected));
        assert_string_equal(secret_data(reading.secret), expected);
        secret_unref(reading.secret);
}

static void reading_fails(int fd)
{
        Reading reading = reading_of(fd);

        assert_true(reading.result < 0);
        assert_null(reading.secret);
        assert_string_equal(reading.error.name, ERROR_INVALID_ARGUMENT);
        sd_bus_error_free(&reading.error);
}

static int memory_of(const char *bytes, size_t len)
{
        int fd = memfd_create("secret", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, len), len);
        return fd;
}

static int pipe_of(const char *bytes, size_t len)
{
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(write(ends[1], bytes, len), len);
        close(ends[1]);
        return ends[0];
}

static void test_taken(void **state)
{
        static const struct {
                const char *bytes, *secret;
        } cases[] = {
                { "pässword", "pässword" }, { "one\n", "one" },   { "dos\r\n", "dos" },
                { " space ", " space " },   { "\ttab", "\ttab" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                size_t len = strlen(cases[i].bytes);

                reading_gives(memory_of(cases[i].bytes, len), cases[i].secret);
                reading_gives(pipe_of(cases[i].bytes, len), cases[i].secret);
        }
}

static void test_refused(void **state)
{
        static const struct {
                const char *bytes;
                size_t len;
        } cases[] = {
                { "", 0 }, { "\n", 1 }, { "a\nb", 3 }, { "a\n\n", 3 }, { "a\rb", 3 }, { "a\0b", 3 },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                reading_fails(memory_of(cases[i].bytes, cases[i].len));
                reading_fails(pipe_of(cases[i].bytes, cases[i].len));
        }
}

static void test_length(void **state)
{
        char bytes[3 * LIMIT_SECRET];
        char longest[LIMIT_SECRET + 1] = "";

        memset(bytes, 'x', sizeof(bytes));
        memset(longest, 'x', LIMIT_SECRET);
        reading_gives(memory_of(longest, LIMIT_SECRET), longest);
        reading_gives(pipe_of(longest, LIMIT_SECRET), longest);
        for (size_t len = LIMIT_SECRET + 1; len <= LIMIT_SECRET + 4; len++) {
                reading_fails(memory_of(bytes, len));
                reading_fails(pipe_of(bytes, len));
        }
        reading_fails(memory_of(bytes, sizeof(bytes)));
        reading_fails(pipe_of(bytes, sizeof(bytes)));
}

/* In pieces, as a program prints it that asks a person. */
static int write_slowly(void *arg)
{
        int fd = *(int *) arg;

        for (const char *p = "slow\n"; *p; p++) {
                assert_int_equal(write(fd, p, 1), 1);
                assert_int_equal(fiber_sleep(100 * USEC_PER_MSEC), 0);
        }
        close(fd);
        return 0;
}

static void test_slow_pipe(void **state)
{
        _cleanup_(loop_freep) Loop *loop = NULL;
        Reading reading = {};
        int ends[2];

        clock_virtual_start(USEC_PER_SEC, USEC_PER_SEC);
        assert_int_equal(loop_new(&loop), 0);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        reading.fd = ends[0];
        {
                _cleanup_(fiber_cancelp) Fiber *reader = NULL;
                _cleanup_(fiber_cancelp) Fiber *writer = NULL;

                assert_int_equal(fiber_start(&reader, "read", read_on_fiber, &reading), 0);
                assert_int_equal(fiber_start(&writer, "write", write_slowly, &ends[1]), 0);
                assert_int_equal(loop_run(loop), 0);
                assert_true(fiber_ended(writer));
        }
        close(ends[0]);
        clock_virtual_stop();
        assert_int_equal(reading.result, 0);
        assert_string_equal(secret_data(reading.secret), "slow");
        secret_unref(reading.secret);
}

/* The writer's end stays open: five seconds, not for ever. */
static void test_pipe_without_end(void **state)
{
        uint64_t begun;
        int ends[2];

        clock_virtual_start(USEC_PER_SEC, USEC_PER_SEC);
        begun = clock_now();
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(write(ends[1], "half", 4), 4);
        reading_fails(ends[0]);
        assert_in_range(clock_now() - begun, LIMIT_SECRET_FD_USEC,
                        LIMIT_SECRET_FD_USEC + USEC_PER_SEC);
        clock_virtual_stop();
        close(ends[1]);
}

static void test_other_descriptors(void **state)
{
        int ends[2];

        reading_fails(open("/dev/zero", O_RDONLY | O_CLOEXEC));
        reading_fails(open("/", O_RDONLY | O_CLOEXEC | O_DIRECTORY));
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        reading_fails(ends[0]);
        close(ends[1]);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        reading_fails(ends[1]);
        close(ends[0]);
        /* A file system that is not memory may be somebody's own and never answer; this one also lies about the size. */
        reading_fails(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_taken),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_length),
                cmocka_unit_test(test_slow_pipe),
                cmocka_unit_test(test_pipe_without_end),
                cmocka_unit_test(test_other_descriptors),
        };

        return cmocka_run_group_tests_name("secrets", tests, NULL, NULL);
}
