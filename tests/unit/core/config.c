/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Configuration files, good and bad. What is logged is read back from standard error: the file and the line are what an
 * administrator needs. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/text.h"
#include "core/config.h"

typedef struct Fixture {
        char directory[64], path[96], log[96];
} Fixture;

static void file_write(const char *path, const void *data, size_t len)
{
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        assert_int_equal(fwrite(data, 1, len, file), len);
        assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        snprintf(f->directory, sizeof(f->directory), "/tmp/waypost-config-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        snprintf(f->path, sizeof(f->path), "%s/waypost.conf", f->directory);
        snprintf(f->log, sizeof(f->log), "%s/log", f->directory);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;
        static const char *const names[] = { "waypost.conf.d/10-a.conf", "waypost.conf.d/9-b.conf",
                                             "waypost.conf.d/ignored.txt", "waypost.conf", "log" };
        char path[256];

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                snprintf(path, sizeof(path), "%s/%s", f->directory, names[i]);
                unlink(path);
        }
        snprintf(path, sizeof(path), "%s.d", f->path);
        rmdir(path);
        assert_int_equal(rmdir(f->directory), 0);
        free(f);
        return 0;
}

/* Loads with standard error in a file and hands its text over. */
static int load_logged(Fixture *f, Config **ret, char **ret_log)
{
        _cleanup_close_ int saved = dup(STDERR_FILENO);
        _cleanup_close_ int fd = open(f->log, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        char text[8192] = "";
        int r;

        assert_true(saved >= 0 && fd >= 0);
        fflush(stderr);
        dup2(fd, STDERR_FILENO);
        r = config_load(ret, f->path, false);
        fflush(stderr);
        dup2(saved, STDERR_FILENO);
        assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
        *ret_log = strdup(text);
        return r;
}

static void everything_is_read(void **state)
{
        static const char text[] = "\xef\xbb\xbf# a comment\n"
                                   "[service]\n"
                                   "state-directory = /srv/waypost\r\n"
                                   "log-level=debug\n"
                                   "[network]\n"
                                   "ca-file = /etc/ca.pem\n"
                                   "allow-private = yes\n"
                                   "allow-local = on\n"
                                   "[limits]\n"
                                   "accounts-per-uid = 3\n"
                                   "setups-per-uid = 2\n"
                                   "bytes-per-uid = 5G\n"
                                   "[fetch]\n"
                                   "interval = 1h 30min\n"
                                   "interval-minimum = 90s\n"
                                   "backoff-maximum = 2h\n"
                                   "start-spread = 0\n"
                                   "dialogues-per-host = 7\n"
                                   "[verification]\n"
                                   "timeout = 45 ; seconds\n"
                                   "[discovery]\n"
                                   "guess = false\n"
                                   "autoconfig = 0\n"
                                   "srv = No";
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *log = NULL;
        Fixture *f = *state;

        file_write(f->path, text, sizeof(text) - 1);
        assert_int_equal(load_logged(f, &config, &log), 0);
        assert_string_equal(log, "");
        assert_string_equal(config->state_directory, "/srv/waypost");
        assert_int_equal(config->log_level, LOG_DEBUG);
        assert_string_equal(config->ca_file, "/etc/ca.pem");
        assert_true(config->allow_private && config->allow_local);
        assert_int_equal(config->accounts_per_uid, 3);
        assert_int_equal(config->setups_per_uid, 2);
        assert_true(config->bytes_per_uid == UINT64_C(5) << 30);
        assert_true(config->interval_usec == 90 * USEC_PER_MINUTE);
        assert_true(config->interval_minimum_usec == 90 * USEC_PER_SEC);
        assert_true(config->backoff_maximum_usec == 2 * USEC_PER_HOUR);
        assert_int_equal(config->start_spread_usec, 0);
        assert_int_equal(config->dialogues_per_host, 7);
        assert_true(config->verification_timeout_usec == 45 * USEC_PER_SEC);
        assert_false(config->guess || config->autoconfig || config->srv || config->user);
}

static void defaults(void **state)
{
        _cleanup_(config_freep) Config *config = NULL;
        Fixture *f = *state;

        file_write(f->path, "", 0);
        assert_int_equal(config_load(&config, f->path, false), 0);
        assert_true(config->state_directory && config->state_directory[0] == '/');
        assert_null(config->ca_file);
        assert_false(config->allow_private || config->allow_local);
        assert_int_equal(config->accounts_per_uid, 16);
        assert_int_equal(config->setups_per_uid, 4);
        assert_true(config->bytes_per_uid == UINT64_C(10) << 30);
        assert_true(config->interval_usec == 10 * USEC_PER_MINUTE);
        assert_true(config->start_spread_usec == config->interval_usec);
        assert_true(config->interval_minimum_usec == USEC_PER_MINUTE);
        assert_true(config->backoff_maximum_usec == USEC_PER_HOUR);
        assert_true(config->verification_timeout_usec == 3 * USEC_PER_MINUTE);
        assert_true(config->guess && config->autoconfig && config->srv);
}

static void named_file_must_exist(void **state)
{
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *log = NULL;
        Fixture *f = *state;

        assert_int_equal(load_logged(f, &config, &log), -ENOENT);
        assert_non_null(strstr(log, f->path));
        assert_null(config);
}

static void later_files_win(void **state)
{
        _cleanup_(config_freep) Config *config = NULL;
        Fixture *f = *state;
        char path[256];

        file_write(f->path, "[fetch]\ninterval=5min\nbackoff-maximum=3h\n", 41);
        snprintf(path, sizeof(path), "%s.d", f->path);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%s.d/10-a.conf", f->path);
        file_write(path, "[fetch]\ninterval=6min\n", 22);
        snprintf(path, sizeof(path), "%s.d/9-b.conf", f->path);
        file_write(path, "[fetch]\ninterval=7min\n", 22);
        snprintf(path, sizeof(path), "%s.d/ignored.txt", f->path);
        file_write(path, "nonsense", 8);
        assert_int_equal(config_load(&config, f->path, false), 0);
        assert_true(config->interval_usec == 7 * USEC_PER_MINUTE); /* "9" sorts behind "1" */
        assert_true(config->start_spread_usec == 7 * USEC_PER_MINUTE);
        assert_true(config->backoff_maximum_usec == 3 * USEC_PER_HOUR);
}

static void minimum_lifts_the_default(void **state)
{
        _cleanup_(config_freep) Config *config = NULL;
        Fixture *f = *state;

        file_write(f->path, "[fetch]\ninterval-minimum=20min\n", 31);
        assert_int_equal(config_load(&config, f->path, false), 0);
        assert_true(config->interval_usec == 20 * USEC_PER_MINUTE);
}

static void unknown_is_a_warning(void **state)
{
        static const char text[] = "[fetch]\nfrobnicate = 1\n[quantum]\ninterval = 1\n";
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *log = NULL, *second = NULL, *third = NULL;
        Fixture *f = *state;

        file_write(f->path, text, sizeof(text) - 1);
        assert_int_equal(load_logged(f, &config, &log), 0);
        assert_int_equal(text_format(&second, "%s:2: [fetch] frobnicate", f->path), 0);
        assert_int_equal(text_format(&third, "%s:4: [quantum] interval", f->path), 0);
        assert_non_null(strstr(log, second));
        assert_non_null(strstr(log, third));
}

static void wrong_values(void **state)
{
        static const struct {
                const char *text;
                int line;
        } cases[] = {
                { "[fetch]\ninterval = soon\n", 2 },
                { "[fetch]\n\n# x\ninterval = 10 parsec\n", 4 },
                { "[fetch]\ninterval = -5s\n", 2 },
                { "[fetch]\ninterval =\n", 2 },
                { "[fetch]\ninterval = 0\n", 2 },
                { "[fetch]\ninterval = 99999999999999999999s\n", 2 },
                { "[fetch]\ninterval = 18446744073709551615w\n", 2 },
                { "[fetch]\ninterval = 400d\n", 2 },
                { "[fetch]\ndialogues-per-host = 0\n", 2 },
                { "[fetch]\ndialogues-per-host = 1K\n", 2 },
                { "[limits]\nbytes-per-uid = 10Q\n", 2 },
                { "[limits]\naccounts-per-uid = many\n", 2 },
                { "[network]\nallow-local = perhaps\n", 2 },
                { "[network]\nca-file = ca.pem\n", 2 },
                { "[service]\nlog-level = loud\n", 2 },
                { "[service]\nstate-directory =\n", 2 },
                { "interval\n", 1 },
                { "[fetch\ninterval = 5min\n", 1 },
                { "[fetch]\njust words\ninterval = never\n", 2 },
                { "[fetch]\ninterval = 5min\n    backoff-maximum = 1h\n", 3 }, /* a continuation */
        };
        Fixture *f = *state;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(config_freep) Config *config = NULL;
                _cleanup_free_ char *log = NULL, *where = NULL;

                file_write(f->path, cases[i].text, strlen(cases[i].text));
                assert_int_equal(load_logged(f, &config, &log), -EINVAL);
                assert_null(config);
                assert_int_equal(text_format(&where, "%s:%d: ", f->path, cases[i].line), 0);
                if (!strstr(log, where))
                        fail_msg("case %zu: '%s' is not in '%s'", i, where, log);
        }
}

static void files_that_are_none(void **state)
{
        _cleanup_free_ char *big = calloc(1, 256 * 1024 + 1), *log = NULL, *log2 = NULL,
                            *log3 = NULL;
        _cleanup_(config_freep) Config *config = NULL;
        Fixture *f = *state;

        memset(big, '#', 256 * 1024 + 1);
        file_write(f->path, big, 256 * 1024 + 1);
        assert_int_equal(load_logged(f, &config, &log), -EINVAL);
        file_write(f->path, "[fetch]\0interval=1\n", 19);
        assert_int_equal(load_logged(f, &config, &log2), -EINVAL);
        assert_int_equal(unlink(f->path), 0);
        assert_int_equal(mkdir(f->path, 0700), 0);
        assert_int_equal(load_logged(f, &config, &log3), -EINVAL);
        assert_int_equal(rmdir(f->path), 0);
}

static void long_lines_are_refused(void **state)
{
        char text[1024] = "[fetch]\n#";
        _cleanup_(config_freep) Config *config = NULL;
        _cleanup_free_ char *log = NULL;
        Fixture *f = *state;

        memset(text + 9, 'x', 600);
        memcpy(text + 609, "\ninterval=5min\n", 16);
        file_write(f->path, text, strlen(text));
        assert_int_equal(load_logged(f, &config, &log), -EINVAL);
        assert_non_null(strstr(log, ":2: the line is too long"));
}

static void for_one_user(void **state)
{
        _cleanup_(config_freep) Config *config = NULL, *fallback = NULL;
        Fixture *f = *state;
        char path[256];

        setenv("HOME", f->directory, 1);
        setenv("XDG_DATA_HOME", "/somewhere/data", 1);
        setenv("XDG_CONFIG_HOME", f->directory, 1);
        assert_int_equal(config_load(&config, NULL, true), 0);
        assert_string_equal(config->state_directory, "/somewhere/data/waypost");
        assert_true(config->allow_local && config->allow_private && config->user);

        setenv("XDG_DATA_HOME", "not/absolute", 1);
        assert_int_equal(config_load(&fallback, NULL, true), 0);
        snprintf(path, sizeof(path), "%s/.local/share/waypost", f->directory);
        assert_string_equal(fallback->state_directory, path);
}

static void users_own_file(void **state)
{
        _cleanup_(config_freep) Config *config = NULL;
        Fixture *f = *state;
        char path[256];

        snprintf(path, sizeof(path), "%s/waypost", f->directory);
        assert_int_equal(mkdir(path, 0700), 0);
        snprintf(path, sizeof(path), "%s/waypost/waypost.conf", f->directory);
        file_write(path, "[network]\nallow-local=no\n", 25);
        setenv("XDG_CONFIG_HOME", f->directory, 1);
        assert_int_equal(config_load(&config, NULL, true), 0);
        assert_false(config->allow_local);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/waypost", f->directory);
        assert_int_equal(rmdir(path), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                CASE(everything_is_read),
                CASE(defaults),
                CASE(named_file_must_exist),
                CASE(later_files_win),
                CASE(minimum_lifts_the_default),
                CASE(unknown_is_a_warning),
                CASE(wrong_values),
                CASE(files_that_are_none),
                CASE(long_lines_are_refused),
                CASE(for_one_user),
                CASE(users_own_file),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
