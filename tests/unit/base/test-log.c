/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What arrives on standard error: one line each, levels obeyed, nothing forged, errno kept. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/log.h"

static char caught[8192];

typedef struct Capture {
        int fds[2], saved;
} Capture;

static void capture_begin(Capture *capture)
{
        assert_int_equal(pipe(capture->fds), 0);
        fflush(stderr);
        capture->saved = dup(STDERR_FILENO);
        assert_true(capture->saved >= 0);
        assert_true(dup2(capture->fds[1], STDERR_FILENO) >= 0);
        fd_close(capture->fds[1]);
}

static const char *capture_end(Capture *capture)
{
        size_t len = 0;
        ssize_t n;

        dup2(capture->saved, STDERR_FILENO);
        fd_close(capture->saved);
        while ((n = read(capture->fds[0], caught + len, sizeof(caught) - 1 - len)) > 0)
                len += (size_t) n;
        fd_close(capture->fds[0]);
        caught[len] = 0;
        return caught;
}

static void test_line(void **state)
{
        Capture capture;

        capture_begin(&capture);
        errno = ENOTTY;
        log_warning("port %d", 995);
        log_debug("not shown");
        assert_int_equal(errno, ENOTTY);
        assert_string_equal(capture_end(&capture), "<4>waypostd: port 995\n");
}

static void test_levels(void **state)
{
        Capture capture;
        int level = -1;

        assert_int_equal(log_level_from_text("debug", &level), 0);
        assert_int_equal(level, LOG_DEBUG);
        assert_int_equal(log_level_from_text("err", &level), 0);
        assert_int_equal(level, LOG_ERR);
        assert_int_equal(log_level_from_text("loud", &level), -EINVAL);
        assert_int_equal(log_level_from_text("", &level), -EINVAL);
        assert_int_equal(level, LOG_ERR);

        assert_int_equal(log_level(), LOG_INFO);
        log_set_level(LOG_DEBUG);
        capture_begin(&capture);
        log_debug("d");
        log_set_level(LOG_ERR);
        log_warning("w");
        log_error("e");
        log_set_level(LOG_INFO);
        assert_string_equal(capture_end(&capture), "<7>waypostd: d\n<3>waypostd: e\n");
}

static void test_forged(void **state)
{
        static const LogField fields[] = { { "WAYPOST_HOST", "a\n<0>waypostd: forged\x1b[2J" },
                                           { "WAYPOST_NONE", NULL },
                                           { "WAYPOST_PORT", "995" },
                                           { NULL, NULL } };
        Capture capture;

        capture_begin(&capture);
        log_write(LOG_INFO, fields, "said %s", "x\r\n<0>waypostd: forged\xff");
        assert_string_equal(capture_end(&capture),
                            "<6>waypostd: said x?"
                            "?<0>waypostd: forged\xef\xbf\xbd "
                            "WAYPOST_HOST=a?<0>waypostd: forged?[2J WAYPOST_PORT=995\n");
}

static void test_long(void **state)
{
        static char big[10000];
        const LogField fields[] = { { "A", big }, { "B", big }, { "C", big }, { NULL, NULL } };
        Capture capture;
        const char *text;

        memset(big, 'b', sizeof(big) - 1);
        capture_begin(&capture);
        log_write(LOG_INFO, fields, "%s", big);
        text = capture_end(&capture);
        assert_in_range(strlen(text), 2000, 4096);
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static int swallow(int fd)
{
        return log_fault(-ENOENT, "opening %d", fd);
}

static void test_fault(void **state)
{
        Capture capture;

        capture_begin(&capture);
        assert_int_equal(swallow(3), -ENOENT);
        assert_string_equal(capture_end(&capture),
                            "<3>waypostd: opening 3: No such file or directory\n");
}

static void test_fd_close(void **state)
{
        int fd = dup(STDERR_FILENO);

        assert_true(fd >= 0);
        errno = ENOTTY;
        assert_int_equal(fd_close(fd), -1);
        assert_int_equal(errno, ENOTTY);
        assert_int_equal(fd_close(fd), -1); /* EBADF stays inside */
        assert_int_equal(errno, ENOTTY);
        assert_int_equal(fd_close(-1), -1);
        assert_int_equal(errno, ENOTTY);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_line),   cmocka_unit_test(test_levels),
                cmocka_unit_test(test_forged), cmocka_unit_test(test_long),
                cmocka_unit_test(test_fault),  cmocka_unit_test(test_fd_close),
        };

        return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
