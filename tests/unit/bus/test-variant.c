/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* a{sv} to Dict and back: which types are taken, and that everything else is refused by the name of its key. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tests/unit/bus/check.h"

#include "base/limits.h"
#include "base/text.h"
#include "bus/variant.h"
#include "dbus/names.h"

typedef struct Fixture {
        sd_bus *bus;
        int far;
} Fixture;

/* A connection that goes nowhere: messages can be made for it, and that is all that is needed. */
static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));
        int ends[2];

        assert_non_null(f);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        f->far = ends[1];
        assert_true(sd_bus_new(&f->bus) >= 0);
        assert_true(sd_bus_set_fd(f->bus, ends[0], ends[0]) >= 0);
        assert_true(sd_bus_start(f->bus) >= 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        sd_bus_close_unref(f->bus);
        close(f->far);
        free(f);
        return 0;
}

static sd_bus_message *message_new(Fixture *f)
{
        sd_bus_message *m = NULL;

        assert_true(sd_bus_message_new_method_call(f->bus, &m, "a.b", "/", "a.b", "C") >= 0);
        return m;
}

static void message_ready(sd_bus_message *m)
{
        assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
        assert_true(sd_bus_message_rewind(m, true) >= 0);
}

#define APPEND(m, ...) assert_true(sd_bus_message_append(m, __VA_ARGS__) >= 0)

static void test_round_trip(void **state)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = message_new(*state), *n = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(dict_freep) Dict *dict = NULL;
        _cleanup_(dict_freep) Dict *again = NULL;

        APPEND(m, "a{sv}", 5, "text", "s", "pop.example.org", "flag", "b", 1, "number", "t",
               UINT64_MAX, "list", "as", 2, "a", "b", "inner", "a{sv}", 2, "host", "s", "h", "port",
               "q", 995);
        message_ready(m);
        assert_int_equal(variant_read(m, &dict, &error), 0);
        assert_string_equal(dict_text(dict, "text"), "pop.example.org");
        assert_true(dict_bool(dict, "flag", false));
        assert_true(dict_number(dict, "number", 0) == UINT64_MAX);
        assert_int_equal(list_len(dict_list(dict, "list")), 2);
        assert_int_equal(dict_number(dict_dict(dict, "inner"), "port", 0), 995);

        n = message_new(*state);
        assert_true(variant_append(n, dict) >= 0);
        message_ready(n);
        assert_int_equal(variant_read(n, &again, &error), 0);
        assert_true(dict_equal(dict, again));
}

static void test_numbers(void **state)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = message_new(*state);
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(dict_freep) Dict *dict = NULL;

        APPEND(m, "a{sv}", 7, "y", "y", 255, "n", "n", 32767, "q", "q", 65535, "i", "i", INT32_MAX,
               "u", "u", UINT32_MAX, "x", "x", INT64_MAX, "t", "t", (uint64_t) 0);
        message_ready(m);
        assert_int_equal(variant_read(m, &dict, &error), 0);
        assert_int_equal(dict_number(dict, "y", 1), 255);
        assert_int_equal(dict_number(dict, "n", 1), 32767);
        assert_int_equal(dict_number(dict, "q", 1), 65535);
        assert_int_equal(dict_number(dict, "i", 1), INT32_MAX);
        assert_int_equal(dict_number(dict, "u", 1), UINT32_MAX);
        assert_true(dict_number(dict, "x", 1) == INT64_MAX);
        assert_int_equal(dict_number(dict, "t", 1), 0);
}

static void test_empty(void **state)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = message_new(*state);
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(dict_freep) Dict *a = NULL;
        _cleanup_(dict_freep) Dict *b = NULL;

        APPEND(m, "a{sv}", 0);
        APPEND(m, "a{sv}", 2, "list", "as", 0, "inner", "a{sv}", 0);
        message_ready(m);
        assert_int_equal(variant_read(m, &a, &error), 0);
        assert_int_equal(a->n_entries, 0);
        assert_int_equal(variant_read(m, &b, &error), 0);
        assert_int_equal(list_len(dict_list(b, "list")), 0);
        assert_non_null(dict_dict(b, "inner"));
}

static void refused(sd_bus_message *m, const char *key)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(dict_freep) Dict *dict = NULL;

        message_ready(m);
        assert_true(variant_read(m, &dict, &error) < 0);
        assert_null(dict);
        assert_string_equal(error.name, ERROR_INVALID_ARGUMENT);
        if (key)
                assert_non_null(strstr(error.message, key));
        sd_bus_message_unref(m);
}

static void test_refused(void **state)
{
        char longest[LIMIT_STRING + 2];
        sd_bus_message *m;

        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "below", "i", -1);
        refused(m, "'below'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "below64", "x", INT64_MIN);
        refused(m, "'below64'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 2, "twice", "b", 1, "twice", "b", 0);
        refused(m, "'twice'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "double", "d", 1.0);
        refused(m, "'double'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "path", "o", "/");
        refused(m, "'path'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "variant", "v", "s", "x");
        refused(m, "'variant'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "deep", "a{sv}", 1, "deeper", "a{sv}", 0);
        refused(m, "'deeper'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "control", "s", "a\nb");
        refused(m, "'control'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "bidi", "s",
               "a\xe2\x80\xae"
               "b");
        refused(m, "'bidi'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "listed", "as", 1, "a\rb");
        refused(m, "'listed'");
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "key\n", "b", 1);
        refused(m, NULL);

        /* What the Dict would cut, and what is over the limit. */
        memset(longest, 'x', sizeof(longest));
        longest[LIMIT_REPLY_TEXT + 1] = 0;
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "cut", "s", longest);
        refused(m, "'cut'");
        longest[LIMIT_REPLY_TEXT + 1] = 'x';
        longest[sizeof(longest) - 1] = 0;
        m = message_new(*state);
        APPEND(m, "a{sv}", 1, "long", "s", longest);
        refused(m, "'long'");
}

static void test_too_many(void **state)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        for (unsigned n = LIMIT_DICTIONARY; n <= LIMIT_DICTIONARY + 1; n++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = message_new(*state);
                _cleanup_(dict_freep) Dict *dict = NULL;

                assert_true(sd_bus_message_open_container(m, 'a', "{sv}") >= 0);
                for (unsigned i = 0; i < n; i++) {
                        char key[16];

                        (void) snprintf(key, sizeof(key), "k%u", i);
                        APPEND(m, "{sv}", key, "b", 1);
                }
                assert_true(sd_bus_message_close_container(m) >= 0);
                message_ready(m);
                if (n <= LIMIT_DICTIONARY)
                        assert_int_equal(variant_read(m, &dict, &error), 0);
                else
                        assert_true(variant_read(m, &dict, &error) < 0);
        }
        assert_string_equal(error.name, ERROR_INVALID_ARGUMENT);
}

static void test_check(void **state)
{
        static const DictKey known[] = { { "locale", DICT_TEXT } },
                             wrong[] = { { "locale", DICT_BOOL } };
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(dict_freep) Dict *dict = dict_new();

        assert_int_equal(variant_check(dict, NULL, 0, &error), 0);
        assert_int_equal(dict_set_text(dict, "locale", "de"), 0);
        assert_int_equal(variant_check(dict, known, 1, &error), 0);
        assert_true(variant_check(dict, NULL, 0, &error) < 0);
        assert_string_equal(error.message, "'locale' is not a known key");
        sd_bus_error_free(&error);
        assert_true(variant_check(dict, wrong, 1, &error) < 0);
        assert_string_equal(error.message, "'locale' must be a boolean");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
                cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
                cmocka_unit_test_setup_teardown(test_empty, setup, teardown),
                cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
                cmocka_unit_test(test_check),
        };

        return cmocka_run_group_tests_name("variant", tests, NULL, NULL);
}
