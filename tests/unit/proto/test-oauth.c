/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What authorization servers say, addresses and redirects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "base/text.h"
#include "proto/oauth.h"
#include "proto/oauth_url.h"

#define ISSUER "https://id.example.org"

/* --- metadata ----------------------------------------------------------------------------------------------- */

static void test_metadata(void **state)
{
        static const char text[] =
                "{\"issuer\":\"" ISSUER "\",\"authorization_endpoint\":\"" ISSUER "/auth\","
                "\"token_endpoint\":\"" ISSUER "/token\",\"device_authorization_endpoint\":"
                "\"http://id.example.org/device\",\"scopes_supported\":[\"openid\",7,\"mail\"],"
                "\"code_challenge_methods_supported\":[\"plain\",\"S256\"],"
                "\"authorization_response_iss_parameter_supported\":true,"
                "\"protected_resources\":[\"pop.example.org\"]}";
        OauthMetadata m = {};

        assert_int_equal(oauth_metadata_read(&m, text, strlen(text), ISSUER), 0);
        assert_string_equal(m.token, ISSUER "/token");
        assert_null(m.device); /* in clear: not an address for us */
        assert_int_equal(list_len(m.scopes), 2);
        assert_true(m.challenge_known && m.challenge_s256 && m.iss_parameter);
        assert_string_equal(m.protected_resources[0], "pop.example.org");
        /* Another issuer's document, however alike. */
        assert_int_equal(oauth_metadata_read(&m, text, strlen(text), ISSUER "/"), -EXDEV);
        assert_int_equal(oauth_metadata_read(&m, text, strlen(text), "https://ID.example.org"),
                         -EXDEV);
        assert_int_equal(oauth_metadata_read(&m, text, strlen(text) - 1, ISSUER), -EBADMSG);
        assert_int_equal(oauth_metadata_read(&m, "[]", 2, ISSUER), -EBADMSG);
        assert_int_equal(oauth_metadata_read(&m, "{\"issuer\":\"" ISSUER "\"}", 35, ISSUER),
                         -EBADMSG);
        assert_string_equal(m.token, ISSUER "/token"); /* untouched by what failed */
        oauth_metadata_deinit(&m);
}

static void test_metadata_url(void **state)
{
        static const char *const cases[][3] = {
                { "https://a.b", "https://a.b/.well-known/oauth-authorization-server",
                  "https://a.b/.well-known/openid-configuration" },
                { "https://a.b/", "https://a.b/.well-known/oauth-authorization-server",
                  "https://a.b/.well-known/openid-configuration" },
                { "https://a.b/x/y", "https://a.b/.well-known/oauth-authorization-server/x/y",
                  "https://a.b/x/y/.well-known/openid-configuration" },
                { "https://a.b:8443/x/",
                  "https://a.b:8443/.well-known/oauth-authorization-server/x",
                  "https://a.b:8443/x/.well-known/openid-configuration" },
        };
        static const char *const bad[] = { "http://a.b",    "https://",      "https://a.b?x",
                                           "https://a.b#x", "https://u@a.b", "a.b",
                                           "https://a.b/ x" };
        char *url = NULL;

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                for (unsigned n = 0; n < 2; n++) {
                        assert_int_equal(oauth_metadata_url(&url, cases[i][0], n), 0);
                        assert_string_equal(url, cases[i][n + 1]);
                        free(url);
                }
        for (size_t i = 0; i < ELEMENTS(bad); i++)
                assert_int_equal(oauth_metadata_url(&url, bad[i], 0), -EINVAL);
}

/* --- replies ------------------------------------------------------------------------------------------------ */

static int tokens(OauthTokens *to, const char *text)
{
        return oauth_tokens_read(to, text, strlen(text));
}

static void test_tokens(void **state)
{
        /* claims: {"sub":"s1","email":"tim@example.org","aud":"waypost","nonce":"n1"} */
        static const char id[] =
                "e30.eyJzdWIiOiJzMSIsImVtYWlsIjoidGltQGV4YW1wbGUub3JnIiwiYXVkIjoid2F5cG9zdCIsIm5vbmNlIjoibjEifQ.x";
        static const char *const bad[] = {
                "{}",
                "{\"access_token\":\"a\"}",
                "{\"access_token\":\"a\",\"token_type\":\"mac\"}",
                "{\"access_token\":\"\",\"token_type\":\"Bearer\"}",
                "{\"access_token\":7,\"token_type\":\"Bearer\"}",
                "{\"access_token\":\"a\\u0001b\",\"token_type\":\"Bearer\"}",
                "{\"access_token\":\"a\",\"token_type\":\"Bearer\",\"refresh_token\":[]}",
                "{\"access_token\":\"a\",\"token_type\":\"Bearer\"} x",
                "<html>",
                "",
        };
        OauthTokens t = {};
        char text[1024];

        snprintf(
                text, sizeof(text),
                "{\"access_token\":\"at\",\"token_type\":\"bearer\",\"expires_in\":\"300\",\"refresh_token\":\"rt\","
                "\"scope\":\"mail openid\",\"id_token\":\"%s\"}",
                id);
        assert_int_equal(tokens(&t, text), 0);
        assert_string_equal(secret_data(t.access), "at");
        assert_string_equal(secret_data(t.refresh), "rt");
        assert_int_equal(t.expires_sec, 300);
        assert_string_equal(t.scope, "mail openid");
        assert_string_equal(t.email, "tim@example.org");
        assert_string_equal(t.subject, "s1");
        assert_string_equal(t.audience, "waypost");
        assert_string_equal(t.nonce, "n1");
        assert_int_equal(
                tokens(&t,
                       "{\"access_token\":\"b\",\"token_type\":\"Bearer\",\"expires_in\":-5,\"id_token\":\"no.t.\"}"),
                0);
        assert_int_equal(t.expires_sec, 0);
        assert_null(t.refresh);
        assert_null(t.email);
        for (size_t i = 0; i < ELEMENTS(bad); i++)
                if (tokens(&t, bad[i]) != -EBADMSG)
                        fail_msg("accepted: %s", bad[i]);
        assert_string_equal(secret_data(t.access), "b");
        oauth_tokens_deinit(&t);
}

static void test_errors(void **state)
{
        static const char microsoft[] =
                "{\"error\":\"invalid_grant\",\"error_description\":\"AADSTS700082: expired\","
                "\"error_codes\":[700082],\"suberror\":\"bad_token\"}";
        OauthError e;

        assert_int_equal(oauth_error_read(&e, microsoft, strlen(microsoft)), 0);
        assert_string_equal(e.error, "invalid_grant");
        assert_string_equal(e.detail, "700082");
        assert_string_equal(e.description, "AADSTS700082: expired");
        assert_int_equal(oauth_error_read(&e, "{\"error\":{}}", 12), -EBADMSG);
        assert_int_equal(oauth_error_read(&e, "busy", 4), -EBADMSG);
}

static void test_device(void **state)
{
        static const char good[] =
                "{\"device_code\":\"dc\",\"user_code\":\"WDJB-MJHT\",\"verification_uri\":\"https://a.b/d\","
                "\"verification_uri_complete\":\"javascript:x\",\"expires_in\":600,\"interval\":5}";
        static const char in_clear[] =
                "{\"device_code\":\"dc\",\"user_code\":\"W\",\"verification_uri\":\"http://a.b/d\"}";
        OauthDevice d = {};

        assert_int_equal(oauth_device_read(&d, good, strlen(good)), 0);
        assert_string_equal(d.user_code, "WDJB-MJHT");
        assert_string_equal(d.uri, "https://a.b/d");
        assert_string_equal(d.uri_complete, "");
        assert_int_equal(d.expires_sec, 600);
        assert_int_equal(d.interval_sec, 5);
        assert_int_equal(oauth_device_read(&d, in_clear, strlen(in_clear)), -EBADMSG);
        oauth_device_deinit(&d);
}

static void test_client(void **state)
{
        static const char text[] =
                "{\"client_id\":\"c1\",\"client_secret\":\"s\",\"client_secret_expires_at\":17}";
        OauthClient c = {};

        assert_int_equal(oauth_client_read(&c, text, strlen(text)), 0);
        assert_string_equal(c.id, "c1");
        assert_string_equal(secret_data(c.secret), "s");
        assert_int_equal(c.secret_expires_sec, 17);
        assert_int_equal(oauth_client_read(&c, "{\"error\":\"x\"}", 13), -EBADMSG);
        oauth_client_deinit(&c);
}

static void test_scopes(void **state)
{
        assert_true(oauth_scope_covers("mail", "openid offline_access email mail"));
        assert_true(oauth_scope_covers(" A  b ", "a B"));
        assert_false(oauth_scope_covers("openid email", "openid mail"));
        assert_false(oauth_scope_covers("mail-read", "mail"));
        assert_false(oauth_scope_covers("", "mail"));
        assert_true(oauth_scope_covers("", "openid"));
}

/* --- addresses ---------------------------------------------------------------------------------------------- */

static void test_challenge(void **state)
{
        _cleanup_buffer_ Buffer to = BUFFER(128);

        /* RFC 7636 appendix B */
        assert_int_equal(oauth_challenge(&to, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), 0);
        assert_string_equal(to.data, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

static void test_authorization_url(void **state)
{
        const OauthQuestion q = {
                .endpoint = ISSUER "/auth?tenant=1#x",
                .client = "way post",
                .redirect = "http://127.0.0.1:5000/callback/a",
                .scope = "mail offline_access",
                .state = "st",
                .verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                .login_hint = "tim&x=1@example.org",
                .parameters =
                        "prompt=consent&state=evil&redirect_uri=http://evil&code_challenge_method=plain&a=b",
        };
        _cleanup_free_ char *url = NULL;

        assert_int_equal(oauth_authorization_url(&url, &q), 0);
        assert_string_equal(
                url, ISSUER
                "/auth?tenant=1&response_type=code&client_id=way%20post"
                "&redirect_uri=http%3A%2F%2F127.0.0.1%3A5000%2Fcallback%2Fa&scope=mail%20offline_access"
                "&state=st&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
                "&code_challenge_method=S256&login_hint=tim%26x%3D1%40example.org&prompt=consent&a=b");
}

#define BACK "http://127.0.0.1:5000/callback/abc"

static void test_redirect(void **state)
{
        static const struct {
                const char *uri;
                int result;
        } cases[] = {
                { BACK "?code=c&state=s", 0 },
                { BACK "?code=c%2Bd&state=s&iss=https%3A%2F%2Fid.example.org#_=_", 0 },
                { BACK "?error=access_denied&state=s&error_description=no+way%0a", 0 },
                { BACK "?code=c&state=s&unknown=1&unknown=2&x", 0 },
                { BACK, -EXDEV },
                { BACK "/?code=c&state=s", -EXDEV },
                { BACK "d?code=c&state=s", -EXDEV },
                { "http://127.0.0.1:5001/callback/abc?code=c&state=s", -EXDEV },
                { "http://localhost:5000/callback/abc?code=c&state=s", -EXDEV },
                { "https://127.0.0.1:5000/callback/abc?code=c&state=s", -EXDEV },
                { "http://evil@127.0.0.1:5000/callback/abc?code=c&state=s", -EXDEV },
                { BACK "?", -EBADMSG },
                { BACK "?code=c", -EBADMSG },
                { BACK "?state=s", -EBADMSG },
                { BACK "?code=&state=s", -EBADMSG },
                { BACK "?code=c&code=d&state=s", -EBADMSG },
                { BACK "?code=c&state=s&state=t", -EBADMSG },
                { BACK "?code=c&error=e&state=s", -EBADMSG },
                { BACK "?code=c%0&state=s", -EBADMSG },
                { BACK "?code=c%zz&state=s", -EBADMSG },
                { BACK "?code=c%00d&state=s", -EBADMSG },
                { BACK "#code=c&state=s", -EXDEV },
                { BACK "?#code=c&state=s", -EBADMSG },
                { "", -EXDEV },
        };
        OauthRedirect r = {};

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                if (oauth_redirect_read(&r, cases[i].uri, BACK) != cases[i].result)
                        fail_msg("%s", cases[i].uri);
        assert_int_equal(oauth_redirect_read(&r, cases[1].uri, BACK), 0);
        assert_string_equal(secret_data(r.code), "c+d");
        assert_string_equal(r.state, "s");
        assert_true(r.has_issuer);
        assert_string_equal(r.issuer, "https://id.example.org");
        assert_int_equal(oauth_redirect_read(&r, cases[2].uri, BACK), 0);
        assert_null(r.code);
        assert_string_equal(r.error, "access_denied");
        assert_null(strchr(r.description, '\n'));
        oauth_redirect_deinit(&r);
}

static void test_redirect_long(void **state)
{
        _cleanup_free_ char *uri = malloc(OAUTH_REDIRECT_MAX + 64);
        OauthRedirect r = {};
        size_t n = (size_t) snprintf(uri, 64, "%s?state=s&code=", BACK);

        memset(uri + n, 'x', OAUTH_REDIRECT_MAX);
        uri[OAUTH_REDIRECT_MAX] = 0;
        assert_int_equal(oauth_redirect_read(&r, uri, BACK), 0);
        uri[OAUTH_REDIRECT_MAX] = 'x';
        uri[OAUTH_REDIRECT_MAX + 1] = 0;
        assert_int_equal(oauth_redirect_read(&r, uri, BACK), -EBADMSG);
        oauth_redirect_deinit(&r);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_metadata),
                cmocka_unit_test(test_metadata_url),
                cmocka_unit_test(test_tokens),
                cmocka_unit_test(test_errors),
                cmocka_unit_test(test_device),
                cmocka_unit_test(test_client),
                cmocka_unit_test(test_scopes),
                cmocka_unit_test(test_challenge),
                cmocka_unit_test(test_redirect),
                cmocka_unit_test(test_redirect_long),
                cmocka_unit_test(test_authorization_url),
        };

        return cmocka_run_group_tests_name("oauth", tests, NULL, NULL);
}
