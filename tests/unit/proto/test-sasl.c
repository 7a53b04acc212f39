/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The mechanisms step by step, and the choice among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/sasl.h"

static Sasl *start(const char *mechanism, const char *user, const char *password)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        Sasl *sasl = NULL;
        SaslLogin login = {
                .user = user, .service = "pop", .host = "mail.example.org", .port = 995
        };

        assert_int_equal(secret_new(&secret, password, strlen(password)), 0);
        login.secret = secret;
        assert_int_equal(sasl_new(&sasl, mechanism, &login), 0);
        return sasl;
}

/* One step in clear: @challenge (NULL none) in, the answer out. */
static int step(Sasl *sasl, const char *challenge, Buffer *answer)
{
        _cleanup_buffer_ Buffer in = BUFFER(LIMIT_TOKEN), out = BUFFER_SECRET(2 * LIMIT_TOKEN);
        int r;

        buffer_clear(answer);
        if (challenge)
                assert_int_equal(base64_encode(&in, challenge, strlen(challenge)), 0);
        r = sasl_step(sasl, in.data ? in.data : "", in.len, &out);
        if (out.len > 0)
                assert_int_equal(base64_decode(answer, out.data, out.len), 0);
        return r;
}

static void test_plain(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("PLAIN", "tim", "tanstaaftanstaaf");
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);
        _cleanup_buffer_ Buffer decoded = BUFFER_SECRET(LIMIT_TOKEN);

        assert_true(sasl_client_first(sasl));
        assert_false(sasl_judged(sasl));
        assert_int_equal(sasl_step(sasl, "", 0, &response), 1);
        assert_true(sasl_judged(sasl) && sasl_proven(sasl));
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
        /* What it asks by is no base64: some say it in clear. */
        assert_int_equal(sasl_step(sasl, "Password:", 9, &response), 1);
        assert_string_equal(response.data, "cCB3w6Q=");
        buffer_clear(&response);
        assert_int_equal(sasl_step(sasl, "UGFzc3dvcmQ6", 12, &response), -EBADMSG);
        assert_int_equal(response.len, 0);
}

/* RFC 2195 section 2. */
static void test_cram(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("CRAM-MD5", "tim", "tanstaaftanstaaf");
        _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN);

        assert_false(sasl_client_first(sasl));
        assert_int_equal(step(sasl, "<1896.697170952@postoffice.reston.mci.net>", &answer), 1);
        assert_string_equal(answer.data, "tim b913a602c7eda7a495b4e6e7334d3890");
}

/* What the server's part would be: reads the client's first message and answers it with the nonce extended. */
static void scram_server_first(const char *client_first, char *to, size_t size)
{
        const char *nonce = strstr(client_first, ",r=");

        assert_non_null(nonce);
        snprintf(to, size, "r=%sSERVER,s=QSXCR+Q6sek8bf92,i=4096", nonce + 3);
}

static void test_scram(void **state)
{
        static const char *const names[] = { "SCRAM-SHA-1", "SCRAM-SHA-256" };

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                _cleanup_(sasl_freep) Sasl *sasl = start(names[i], "user,x", "pencil");
                _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN);
                char server_first[512];

                assert_true(sasl_client_first(sasl));
                assert_int_equal(step(sasl, NULL, &answer), 0);
                assert_memory_equal(answer.data, "n,,n=user=2Cx,r=", 16);
                assert_false(sasl_judged(sasl));
                scram_server_first(answer.data, server_first, sizeof(server_first));
                assert_int_equal(step(sasl, server_first, &answer), 0);
                assert_memory_equal(answer.data, "c=biws,r=", 9);
                assert_true(sasl_judged(sasl));
                /* A server that cannot prove that it knows the password is not believed. */
                assert_false(sasl_proven(sasl));
                assert_int_equal(step(sasl, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAA=", &answer), -EBADMSG);
                assert_false(sasl_proven(sasl));
        }
}

/* Who asks for an hour of work gets none. */
static void test_scram_costly(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("SCRAM-SHA-256", "tim", "pencil");
        _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN);
        char server_first[512];

        assert_int_equal(step(sasl, NULL, &answer), 0);
        snprintf(server_first, sizeof(server_first), "%sX,s=QSXCR+Q6sek8bf92,i=4294967295",
                 strstr(answer.data, "r="));
        assert_int_equal(step(sasl, server_first, &answer), -EBADMSG);
}

/* RFC 5802 section 6: the type of the binding is said first, its data are in what is signed. */
static void test_scram_bound(void **state)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN);
        char data[] = "AAECAwQ=";
        SaslBinding exporter = { .exporter = data }, unique = { .unique = data };
        const struct {
                const SaslBinding *binding;
                const char *mechanism, *header;
        } cases[] = { { &exporter, "SCRAM-SHA-256-PLUS", "p=tls-exporter,,n=tim," },
                      { &unique, "SCRAM-SHA-1-PLUS", "p=tls-unique,,n=tim," },
                      { &exporter, "SCRAM-SHA-256", "n,,n=tim," } };

        assert_int_equal(secret_new(&secret, "pencil", 6), 0);
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(sasl_freep) Sasl *sasl = NULL;
                SaslLogin login = { .user = "tim",
                                    .secret = secret,
                                    .service = "pop",
                                    .host = "h",
                                    .binding = cases[i].binding };
                char server_first[512];

                assert_int_equal(sasl_new(&sasl, cases[i].mechanism, &login), 0);
                assert_int_equal(step(sasl, NULL, &answer), 0);
                assert_memory_equal(answer.data, cases[i].header, strlen(cases[i].header));
                scram_server_first(answer.data, server_first, sizeof(server_first));
                assert_int_equal(step(sasl, server_first, &answer), 0);
                if (cases[i].header[0] == 'n')
                        continue;
                /* base64 of the header and the five octets: longer than that of the header alone */
                assert_memory_equal(answer.data, "c=cD10bHMt", 10);
                assert_true(strchr(answer.data, ',') - answer.data >= 2 + 28);
        }
}

static void test_xoauth2(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("XOAUTH2", "someuser@example.com",
                                                 "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
        _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN), raw = BUFFER(LIMIT_TOKEN);

        assert_true(sasl_client_first(sasl));
        assert_int_equal(step(sasl, NULL, &answer), 1);
        assert_string_equal(answer.data, "user=someuser@example.com\001auth=Bearer "
                                         "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\001\001");
        assert_null(sasl_token_error(sasl));
        assert_int_equal(
                step(sasl,
                     "{\"status\":\"401\",\"schemes\":\"bearer mac\",\"scope\":\"https://mail.google.com/\"}",
                     &answer),
                1);
        assert_int_equal(answer.len, 0);
        assert_string_equal(sasl_token_error(sasl)->status, "401");
        assert_string_equal(sasl_token_error(sasl)->scope, "https://mail.google.com/");
        assert_int_equal(sasl_step(sasl, "", 0, &raw), -EBADMSG);
}

static void test_oauthbearer(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("OAUTHBEARER", "a,b=c@example.com",
                                                 "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        _cleanup_buffer_ Buffer answer = BUFFER_SECRET(LIMIT_TOKEN);

        assert_int_equal(step(sasl, NULL, &answer), 1);
        /* RFC 7628 section 4.1 */
        assert_string_equal(answer.data,
                            "n,a=a=2Cb=3Dc@example.com,\001host=mail.example.org\001port=995\001"
                            "auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\001\001");
        assert_int_equal(step(sasl,
                              "{\"status\":\"invalid_token\",\"openid-configuration\":"
                              "\"https://example.com/.well-known/openid-configuration\"}",
                              &answer),
                         1);
        assert_int_equal(answer.len, 1);
        assert_int_equal(answer.data[0], 1);
        assert_string_equal(sasl_token_error(sasl)->status, "invalid_token");
        assert_string_equal(sasl_token_error(sasl)->configuration,
                            "https://example.com/.well-known/openid-configuration");
}

/* Errors that are none of the expected forms are kept as they are, and answered. */
static void test_token_errors(void **state)
{
        static const struct {
                const char *said, *status, *text;
        } cases[] = {
                { "{\"status\":400}", "400", "{\"status\":400}" },
                { "{\"status\":{\"a\":1}}", "", "{\"status\":{\"a\":1}}" },
                { "[]", "", "[]" },
                { "not json\001", "", "not json" },
                { "{\"status\":\"401\",\"status\"", "", "{\"status\":\"401\",\"status\"" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                SaslTokenError error;

                sasl_token_error_read(&error, cases[i].said, strlen(cases[i].said));
                assert_string_equal(error.status, cases[i].status);
                assert_memory_equal(error.text, cases[i].text, strlen(cases[i].text));
        }
        for (size_t i = 0; i < 2; i++) {
                _cleanup_(sasl_freep)
                        Sasl *sasl = start(i ? "XOAUTH2" : "OAUTHBEARER", "a@b.c", "tok");
                _cleanup_buffer_ Buffer out = BUFFER_SECRET(LIMIT_TOKEN);

                assert_int_equal(sasl_step(sasl, "", 0, &out), 1);
                buffer_clear(&out);
                assert_int_equal(sasl_step(sasl, "no base64 !", 11, &out), 1);
                assert_string_equal(sasl_token_error(sasl)->text, "no base64 !");
                assert_string_equal(out.data ? out.data : "", i ? "" : "AQ==");
        }
}

/* 16 KiB of token go through; what would end a field does not. */
static void test_token_limits(void **state)
{
        _cleanup_free_ char *long_token = malloc(LIMIT_TOKEN + 1);
        _cleanup_buffer_ Buffer out = BUFFER_SECRET(2 * LIMIT_TOKEN);
        _cleanup_(sasl_freep) Sasl *sasl = NULL;

        memset(long_token, 'x', LIMIT_TOKEN);
        long_token[LIMIT_TOKEN] = 0;
        sasl = start("XOAUTH2", "a@b.c", long_token);
        assert_int_equal(sasl_step(sasl, "", 0, &out), 1);
        assert_true(out.len > LIMIT_TOKEN * 4 / 3);
        for (size_t i = 0; i < 4; i++) {
                static const char *const bad[][2] = {
                        { "a@b.c", "t\001x" }, { "a@b.c", "t x" }, { "a\001b", "t" }, { "", "t" }
                };
                _cleanup_(sasl_freep) Sasl *refused = start("XOAUTH2", bad[i][0], bad[i][1]);

                buffer_clear(&out);
                assert_int_equal(sasl_step(refused, "", 0, &out), -EINVAL);
                assert_int_equal(out.len, 0);
        }
}

static void test_nonsense(void **state)
{
        _cleanup_(sasl_freep) Sasl *sasl = start("SCRAM-SHA-1", "tim", "secret");
        _cleanup_(secret_unrefp) Secret *with_nul = NULL;
        _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);
        SaslLogin login = { .user = "tim", .service = "pop", .host = "h" };
        Sasl *unmade = NULL;

        assert_int_equal(sasl_step(sasl, "%%%%", 4, &response), -EBADMSG);
        assert_int_equal(response.len, 0);
        assert_int_equal(secret_new(&with_nul, "a\0b", 3), 0);
        login.secret = with_nul;
        assert_int_equal(sasl_new(&unmade, "PLAIN", &login), -EINVAL);
        assert_int_equal(sasl_new(&unmade, "DIGEST-MD5", &login), -EOPNOTSUPP);
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

/* --- the choice --------------------------------------------------------------------------------------------- */

static const char *choose(const char *offered, SaslChoice choice)
{
        _cleanup_list_ char **list = NULL;
        _cleanup_free_ char *copy = strdup(offered);
        char *rest = copy, *word;

        while ((word = strsep(&rest, " ")))
                assert_int_equal(list_append(&list, word, 16), 0);
        return sasl_choose(list, &choice);
}

static void test_choice(void **state)
{
        static const char all[] = "xoauth2 CRAM-MD5 PLAIN LOGIN SCRAM-SHA-1 scram-sha-256 "
                                  "SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS OAUTHBEARER NTLM";
        _cleanup_(secret_unrefp) Secret *umlaut = NULL;

        assert_int_equal(secret_new(&umlaut, "p\xc3\xa4ss", 5), 0);
        assert_string_equal(choose(all, (SaslChoice){ .tls = true, .binding = true }),
                            "SCRAM-SHA-256-PLUS");
        assert_string_equal(choose(all, (SaslChoice){ .tls = true }), "SCRAM-SHA-256");
        assert_string_equal(choose(all, (SaslChoice){ .tls = true, .after = "SCRAM-SHA-256" }),
                            "SCRAM-SHA-1");
        assert_string_equal(choose(all, (SaslChoice){ .tls = true, .after = "scram-sha-1" }),
                            "PLAIN");
        assert_string_equal(choose(all, (SaslChoice){ .tls = true, .secret = umlaut }), "PLAIN");
        assert_string_equal(choose("LOGIN CRAM-MD5", (SaslChoice){ .tls = true }), "LOGIN");
        assert_string_equal(choose("CRAM-MD5 DIGEST-MD5", (SaslChoice){ .tls = true }), "CRAM-MD5");
        assert_null(choose("CRAM-MD5 DIGEST-MD5", (SaslChoice){}));
        assert_null(choose("CRAM-MD5", (SaslChoice){ .tls = true, .secret = umlaut }));
        assert_null(choose("XOAUTH2 NTLM", (SaslChoice){ .tls = true }));
        assert_string_equal(choose(all, (SaslChoice){ .token = true }), "OAUTHBEARER");
        assert_string_equal(choose("PLAIN XOAUTH2", (SaslChoice){ .token = true }), "XOAUTH2");
        assert_null(choose("PLAIN LOGIN", (SaslChoice){ .token = true }));
        assert_string_equal(choose("PLAIN", (SaslChoice){ .token = true, .unlisted = "XOAUTH2" }),
                            "XOAUTH2");
        assert_null(sasl_choose(NULL, &(SaslChoice){ .tls = true }));
        assert_true(sasl_takes_token("XOAUTH2") && !sasl_takes_token("PLAIN") &&
                    !sasl_takes_token(NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_plain),        cmocka_unit_test(test_login),
                cmocka_unit_test(test_cram),         cmocka_unit_test(test_scram),
                cmocka_unit_test(test_scram_bound),  cmocka_unit_test(test_xoauth2),
                cmocka_unit_test(test_oauthbearer),  cmocka_unit_test(test_token_errors),
                cmocka_unit_test(test_token_limits), cmocka_unit_test(test_nonsense),
                cmocka_unit_test(test_ceiling),      cmocka_unit_test(test_choice),
                cmocka_unit_test(test_scram_costly),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
