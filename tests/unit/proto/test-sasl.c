/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PLAIN and LOGIN, step by step. */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/limits.h"
#include "proto/sasl.h"

static Sasl *start(const char *mechanism, const char *user, const char *password)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        Sasl *sasl = NULL;

        assert_int_equal(secret_new(&secret, password, strlen(password)), 0);
        assert_int_equal(sasl_new(&sasl, mechanism, user, secret, "pop", "mail.example.org"), 0);
        return sasl;
}

static void test_plain(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("PLAIN", "tim", "tanstaaftanstaaf");
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);
        _cleanup_buffer_ Buffer decoded = BUFFER_SECRET(LIMIT_TOKEN);

        assert_true(sasl_client_first(sasl));
        assert_int_equal(sasl_step(sasl, "", 0, &response), 1);
        /* RFC 5034 section 6 has this very exchange with an empty authorization identity. */
        assert_string_equal(response.data, "AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
        assert_int_equal(base64_decode(&decoded, response.data, response.len), 0);
        assert_int_equal(decoded.len, 1 + 3 + 1 + 16);
        assert_memory_equal(decoded.data, "\0tim\0tanstaaftanstaaf", decoded.len);
}

static void test_login(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("LOGIN", "tim@example.org", "p w\xc3\xa4");
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);

        assert_false(sasl_client_first(sasl));
        assert_int_equal(sasl_step(sasl, "VXNlcm5hbWU6", 12, &response), 0);
        assert_string_equal(response.data, "dGltQGV4YW1wbGUub3Jn");
        buffer_clear(&response);
        assert_int_equal(sasl_step(sasl, "UGFzc3dvcmQ6", 12, &response), 1);
        assert_string_equal(response.data, "cCB3w6Q=");
        buffer_clear(&response);
        assert_int_equal(sasl_step(sasl, "UGFzc3dvcmQ6", 12, &response), -EBADMSG);
        assert_int_equal(response.len, 0);
}

static void test_nonsense(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("LOGIN", "tim", "secret");
        _cleanup_(secret_unrefp) Secret *with_nul = NULL;
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);
        Sasl *unmade = NULL;

        assert_int_equal(sasl_step(sasl, "%%%%", 4, &response), -EBADMSG);
        assert_int_equal(response.len, 0);
        assert_int_equal(secret_new(&with_nul, "a\0b", 3), 0);
        assert_int_equal(sasl_new(&unmade, "PLAIN", "tim", with_nul, "pop", "h"), -EINVAL);
        assert_int_equal(sasl_new(&unmade, "CRAM-MD5", "tim", with_nul, "pop", "h"), -EOPNOTSUPP);
        assert_null(unmade);
}

/* An answer that does not fit is not cut. */
static void test_ceiling(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("PLAIN", "tim", "secret");
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(8);

        assert_int_equal(sasl_step(sasl, "", 0, &response), -ENOBUFS);
        assert_int_equal(response.len, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plain),
                cmocka_unit_test(test_login),
                cmocka_unit_test(test_nonsense),
                cmocka_unit_test(test_ceiling),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
