/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each condition of core has an error of its own, and our faults never pass for a caller's mistake. */
#include <string.h>

#include "tests/unit/bus/check.h"

#include "bus/errors.h"
#include "core/account.h"
#include "core/setup.h"
#include "dbus/names.h"

static void test_setup_conditions(void **state)
{
        static const struct {
                int result;
                const char *name;
        } cases[] = {
                { SETUP_INVALID_STATE, ERROR_INVALID_STATE },
                { SETUP_STALE, ERROR_STALE },
                { SETUP_INVALID_KEY, ERROR_INVALID_ARGUMENT },
                { SETUP_INVALID_ADDRESS, ERROR_INVALID_ADDRESS },
                { SETUP_QUOTA, ERROR_QUOTA },
                { SETUP_ACCOUNT_EXISTS, ERROR_ACCOUNT_EXISTS },
                { SETUP_NOT_FOUND, ERROR_NOT_FOUND },
                { SETUP_NOT_SUPPORTED, ERROR_NOT_SUPPORTED },
                { -EIO, ERROR_FAILED },
                { -ECANCELED, ERROR_FAILED },
                { -ENOMEM, SD_BUS_ERROR_NO_MEMORY },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

                assert_true(error_from_setup(&error, cases[i].result, "why") < 0);
                assert_string_equal(error.name, cases[i].name);
                assert_true(strlen(error.message) > 0);
                if (cases[i].result > 0)
                        assert_non_null(strstr(error.message, "why"));
        }
}

static void test_account_conditions(void **state)
{
        _cleanup_(sd_bus_error_free) sd_bus_error a = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error b = SD_BUS_ERROR_NULL;

        assert_true(error_from_account(&a, ACCOUNT_INVALID_STATE, NULL) < 0);
        assert_string_equal(a.name, ERROR_INVALID_STATE);
        assert_true(error_from_account(&b, ACCOUNT_INVALID_KEY, "'keep' must be server") < 0);
        assert_string_equal(b.name, ERROR_INVALID_ARGUMENT);
        assert_string_equal(b.message, "'keep' must be server");
}

/* The words must be sd-bus's own: a difference would tell a foreign object from one that never was. */
static void test_unknown_object(void **state)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        assert_true(error_set(&error, TROUBLE_UNKNOWN_OBJECT, PATH_SETUP "/1") < 0);
        assert_string_equal(error.name, SD_BUS_ERROR_UNKNOWN_OBJECT);
        assert_string_equal(error.message, "Unknown object '" PATH_SETUP "/1'.");
}

static void test_exists_ends_with_path(void **state)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *path = PATH_ACCOUNT "/1";

        assert_true(error_set(&error, TROUBLE_EXISTS, path) < 0);
        assert_string_equal(strrchr(error.message, ' ') + 1, path);
        sd_bus_error_free(&error);
        assert_true(error_set(&error, TROUBLE_EXISTS, NULL) < 0);
        assert_null(strchr(error.message, '/'));
}

/* What polkit's answers come to: a client tells "never" from "ask me" by the name. */
static void test_denied(void **state)
{
        _cleanup_(sd_bus_error_free) sd_bus_error no = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error ask = SD_BUS_ERROR_NULL;

        assert_int_equal(error_set(&no, TROUBLE_DENIED, NULL), -EACCES);
        assert_string_equal(no.name, SD_BUS_ERROR_ACCESS_DENIED);
        assert_true(error_set(&ask, TROUBLE_INTERACTION, NULL) < 0);
        assert_string_equal(ask.name, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_setup_conditions),
                cmocka_unit_test(test_account_conditions),
                cmocka_unit_test(test_unknown_object),
                cmocka_unit_test(test_exists_ends_with_path),
                cmocka_unit_test(test_denied),
        };

        return cmocka_run_group_tests_name("errors", tests, NULL, NULL);
}
