/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Small documents over HTTPS, from a server on port 443 of a network of our own, and what is refused. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/wire/helper.h"
#include "wire/http.h"

#define HOME "https://home.example.test"

static struct {
        Cert cert;
        char *ca_file;
} pki;

static int pki_make(void **state)
{
        pki.cert = cert_make((CertSpec){ .name = "web", .dns = "*.example.test", .ca = true });
        pki.ca_file = cert_file(&pki.cert);
        return 0;
}

static int pki_drop(void **state)
{
        cert_deinit(&pki.cert);
        unlink_freep(&pki.ca_file);
        return 0;
}

/* --- the server -------------------------------------------------------------------------------------------- */

static const struct Page {
        const char *path, *answer;
        size_t filler; /* octets after it */
        bool stall;
} pages[] = {
        { "/ok", "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 5\r\n\r\n<ok/>" },
        { "/empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" },
        { "/missing", "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope" },
        { "/ended", "HTTP/1.1 200 OK\r\n\r\nuntil the end" },
        { "/moved", "HTTP/1.1 302 Found\r\nLocation: https://away.example.test/ok\r\n"
                    "Content-Length: 0\r\n\r\n" },
        { "/relative", "HTTP/1.1 301 Moved\r\nLocation: ok\r\nContent-Length: 0\r\n\r\n" },
        { "/downgrade", "HTTP/1.1 302 Found\r\nLocation: http://home.example.test/ok\r\n"
                        "Content-Length: 0\r\n\r\n" },
        { "/literal",
          "HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1/ok\r\nContent-Length: 0\r\n\r\n" },
        { "/port", "HTTP/1.1 302 Found\r\nLocation: https://home.example.test:8443/ok\r\n"
                   "Content-Length: 0\r\n\r\n" },
        { "/inside", "HTTP/1.1 302 Found\r\nLocation: https://private.example.test/ok\r\n"
                     "Content-Length: 0\r\n\r\n" },
        { "/loop", "HTTP/1.1 302 Found\r\nLocation: /loop\r\nContent-Length: 0\r\n\r\n" },
        { "/edge", "HTTP/1.1 200 OK\r\nContent-Length: 262144\r\n\r\n", LIMIT_DOCUMENT },
        { "/big", "HTTP/1.1 200 OK\r\nContent-Length: 262145\r\n\r\n", LIMIT_DOCUMENT + 1 },
        { "/endless", "HTTP/1.1 200 OK\r\n\r\n", 100 << 20 },
        { "/short", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123" },
        { "/nothing", "" },
        { "/stall", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123", 0, true },
        { "/garbage", "+OK Dovecot ready.\r\n" },
        { "/gzip", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n<ok/>" },
};

static char last_request[4096]; /* written before the answer is, read after it came */

static void talk_http(SSL *ssl, void *arg)
{
        char filler[4096], path[64] = "";
        int n = SSL_read(ssl, last_request, sizeof(last_request) - 1);

        memset(filler, 'x', sizeof(filler));
        last_request[MAX(n, 0)] = 0;
        (void) sscanf(last_request, "GET %63s ", path);
        for (size_t i = 0; i < ELEMENTS(pages); i++) {
                if (strcmp(pages[i].path, path) != 0)
                        continue;
                SSL_write(ssl, pages[i].answer, (int) strlen(pages[i].answer));
                for (size_t left = pages[i].filler; left > 0;) {
                        n = SSL_write(ssl, filler, (int) MIN(left, sizeof(filler)));
                        if (n <= 0)
                                return;
                        left -= (size_t) n;
                }
                while (pages[i].stall && SSL_read(ssl, filler, sizeof(filler)) > 0)
                        ;
        }
        SSL_shutdown(ssl);
}

#define SETUP_WITH(serve, serve_arg)                                                        \
        _cleanup_(resolver_stopp) _unused_ Resolver *resolver = resolver_start(53);         \
        _cleanup_(unlink_freep) char *conf = resolver_file(53);                             \
        _cleanup_(server_stopp)                                                             \
                _unused_ Server *server = server_start("127.0.0.1", 443, serve, serve_arg); \
        _cleanup_(dns_freep) Dns *dns = NULL;                                               \
        _cleanup_(http_freep) Http *http = NULL;                                            \
        _cleanup_outcome_ Outcome no = {};                                                  \
        assert_int_equal(dns_new(&dns, conf), 0);                                           \
        assert_int_equal(http_new(&http, dns, pki.ca_file), 0)

#define SETUP()                                                    \
        TlsServe serve = { .cert = &pki.cert, .talk = talk_http }; \
        SETUP_WITH(serve_tls, &serve)

/* --- what comes -------------------------------------------------------------------------------------------- */

FIBER_TEST(test_documents)
{
        static const struct {
                const char *url, *body, *from, *type;
                unsigned n_redirects;
        } cases[] = {
                { HOME "/ok", "<ok/>", HOME "/ok", "text/xml", 0 },
                { HOME ":443/ok#part", "<ok/>", HOME ":443/ok", "text/xml", 0 },
                { HOME "/empty", "", HOME "/empty", NULL, 0 },
                { HOME "/ended", "until the end", HOME "/ended", NULL, 0 },
                { HOME "/moved", "<ok/>", "https://away.example.test/ok", "text/xml", 1 },
                { HOME "/relative", "<ok/>", HOME "/ok", "text/xml", 1 },
                { HOME "/gzip", "<ok/>", HOME "/gzip", NULL, 0 },
        };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(http_response_freep) HttpResponse *response = NULL;

                assert_int_equal(http_get(&response, http, cases[i].url, ADDRESS_LOCAL, &no), 0);
                assert_string_equal(response->body, cases[i].body);
                assert_int_equal(response->body_len, strlen(cases[i].body));
                assert_string_equal(response->url, cases[i].from);
                assert_true(text_equal(response->content_type, cases[i].type));
                assert_int_equal(response->n_redirects, cases[i].n_redirects);
                assert_int_equal(no.kind, OUTCOME_NONE);
        }
        return 0;
}

FIBER_TEST(test_largest)
{
        SETUP();
        _cleanup_(http_response_freep) HttpResponse *response = NULL;

        assert_int_equal(http_get(&response, http, HOME "/edge", ADDRESS_LOCAL, &no), 0);
        assert_int_equal(response->body_len, LIMIT_DOCUMENT);
        return 0;
}

/* Neither the environment nor libcurl's habits reach the server. */
FIBER_TEST(test_manners)
{
        SETUP();
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        int r;

        setenv("https_proxy", "http://127.0.0.1:9", 1);
        setenv("ALL_PROXY", "http://127.0.0.1:9", 1);
        r = http_get(&response, http, HOME "/ok", ADDRESS_LOCAL, &no);
        unsetenv("https_proxy");
        unsetenv("ALL_PROXY");
        assert_int_equal(r, 0);
        assert_true(strstr(last_request, "\r\nUser-Agent: waypost/") != NULL);
        assert_null(strcasestr(last_request, "\r\nAccept-Encoding:"));
        assert_null(strcasestr(last_request, "\r\nCookie:"));
        assert_null(strcasestr(last_request, "\r\nAuthorization:"));
        return 0;
}

FIBER_TEST(test_not_ours_to_ask)
{
        static const char *const urls[] = {
                "",
                "http://home.example.test/ok",
                "file:///etc/passwd",
                "home.example.test",
                "https://127.0.0.1/ok",
                "https://127.1/ok",
                "https://[::1]/ok",
                "https://home.example.test:8443/ok",
                "https://user@home.example.test/ok",
                "https://user:pw@home.example.test/ok",
                "https://home.example.test./ok",
        };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(urls); i++) {
                HttpResponse *response = NULL;

                assert_int_equal(http_get(&response, http, urls[i], ADDRESS_LOCAL, &no), -EINVAL);
        }
        assert_int_equal(server_n_connections(server), 0);
        return 0;
}

FIBER_TEST(test_refusals)
{
        static const struct {
                const char *url;
                OutcomeKind kind;
                unsigned status;
        } cases[] = {
                { HOME "/missing", OUTCOME_HTTP, 404 },
                { HOME "/downgrade", OUTCOME_HTTP, 302 },
                { HOME "/literal", OUTCOME_HTTP, 302 },
                { HOME "/port", OUTCOME_HTTP, 302 },
                { HOME "/loop", OUTCOME_HTTP, 302 },
                { HOME "/inside", OUTCOME_POLICY, 0 },
                { HOME "/big", OUTCOME_TOO_LONG, 0 },
                { HOME "/endless", OUTCOME_TOO_LONG, 0 },
                { HOME "/short", OUTCOME_CLOSED, 0 },
                { HOME "/nothing", OUTCOME_CLOSED, 0 },
                { HOME "/garbage", OUTCOME_GARBAGE, 0 },
                { "https://nx.example.test/", OUTCOME_DNS, 0 },
                { "https://private.example.test/", OUTCOME_POLICY, 0 },
        };
        SETUP();

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                HttpResponse *response = NULL;

                outcome_reset(&no);
                assert_int_equal(http_get(&response, http, cases[i].url, ADDRESS_LOCAL, &no), 1);
                assert_null(response);
                if (no.kind != cases[i].kind)
                        fail_msg("%s: %s, %s", cases[i].url, outcome_kind_name(no.kind), no.text);
                if (cases[i].status)
                        assert_int_equal(no.status, cases[i].status);
        }
        return 0;
}

FIBER_TEST(test_redirects_are_counted)
{
        SETUP();
        HttpResponse *response = NULL;

        assert_int_equal(http_get(&response, http, HOME "/loop", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(server_n_connections(server), LIMIT_REDIRECTS + 1);
        assert_string_equal(no.text, HOME "/loop");
        return 0;
}

FIBER_TEST(test_policy)
{
        SETUP();
        HttpResponse *response = NULL;

        assert_int_equal(http_get(&response, http, HOME "/ok", ADDRESS_PRIVATE, &no), 1);
        assert_int_equal(no.kind, OUTCOME_POLICY);
        assert_int_equal(no.dial.n_attempts, 1);
        assert_string_equal(no.dial.attempts[0].address, "127.0.0.1");
        assert_int_equal(server_n_connections(server), 0);
        return 0;
}

FIBER_TEST(test_certificate)
{
        _cleanup_cert_ Cert other = cert_make(
                (CertSpec){ .name = "x", .dns = "x.test", .ca = true });
        TlsServe serve = { .cert = &other, .talk = talk_http };
        SETUP_WITH(serve_tls, &serve);
        HttpResponse *response = NULL;

        assert_int_equal(http_get(&response, http, HOME "/ok", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_CERTIFICATE);
        assert_null(no.certificate);
        assert_true(strlen(no.text) > 0);
        return 0;
}

static void speak_plain(int fd, void *arg)
{
        serve_text(fd, arg);
        serve_until_closed(fd);
}

FIBER_TEST(test_no_tls)
{
        static char greeting[] = "SSH-2.0-OpenSSH_9.2\r\n";
        SETUP_WITH(speak_plain, greeting);
        HttpResponse *response = NULL;

        assert_int_equal(http_get(&response, http, HOME "/ok", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_HANDSHAKE);
        assert_int_equal(no.phase, PHASE_HANDSHAKE);
        return 0;
}

FIBER_TEST(test_closed_port)
{
        SETUP();
        HttpResponse *response = NULL;

        server = server_stop(server);
        assert_int_equal(http_get(&response, http, HOME "/ok", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_CONNECT);
        assert_int_equal(no.error, ECONNREFUSED);
        return 0;
}

FIBER_TEST(test_stall)
{
        SETUP();
        HttpResponse *response = NULL;
        FIBER_DEADLINE(200 * USEC_PER_MSEC);

        assert_int_equal(http_get(&response, http, HOME "/stall", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TIMEOUT);
        assert_int_equal(no.phase, PHASE_HTTP);
        return 0;
}

FIBER_TEST(test_stall_in_handshake)
{
        static char nothing[] = "";
        SETUP_WITH(speak_plain, nothing);
        HttpResponse *response = NULL;
        FIBER_DEADLINE(100 * USEC_PER_MSEC);

        assert_int_equal(http_get(&response, http, HOME "/ok", ADDRESS_LOCAL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TIMEOUT);
        assert_int_equal(no.phase, PHASE_HANDSHAKE);
        return 0;
}

typedef struct Get {
        Http *http;
        const char *url;
        int result;
} Get;

static int get(void *arg)
{
        Get *g = arg;
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        _cleanup_outcome_ Outcome no = {};

        return g->result = http_get(&response, g->http, g->url, ADDRESS_LOCAL, &no);
}

/* At each moment from the question to the resolver to the middle of the document. */
FIBER_TEST(test_cancel)
{
        SETUP();

        for (int yields = 0; yields < 60; yields++) {
                Get g = { http, HOME "/stall", 7 };
                Fiber *fiber = NULL;

                assert_int_equal(fiber_start(&fiber, "get", get, &g), 0);
                for (int i = 0; i < yields; i++)
                        assert_int_equal(fiber_sleep(300), 0);
                assert_int_equal(g.result, 7);
                fiber_cancel(fiber);
                assert_int_equal(g.result, yields ? -ECANCELED : 7);
        }
        return 0;
}

FIBER_TEST(test_many_at_once)
{
        SETUP();
        Get gets[8];
        Fiber *fibers[8] = {};

        for (size_t i = 0; i < ELEMENTS(gets); i++) {
                gets[i] = (Get){ http, i % 2 ? HOME "/ok" : HOME "/moved", 7 };
                assert_int_equal(fiber_start(&fibers[i], "get", get, &gets[i]), 0);
        }
        for (size_t i = 0; i < ELEMENTS(gets); i++) {
                assert_int_equal(fiber_join(&fibers[i], NULL), 0);
                assert_int_equal(gets[i].result, 0);
        }
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_documents), cmocka_unit_test(test_largest),
                cmocka_unit_test(test_manners),   cmocka_unit_test(test_not_ours_to_ask),
                cmocka_unit_test(test_refusals),  cmocka_unit_test(test_redirects_are_counted),
                cmocka_unit_test(test_policy),    cmocka_unit_test(test_certificate),
                cmocka_unit_test(test_no_tls),    cmocka_unit_test(test_closed_port),
                cmocka_unit_test(test_stall),     cmocka_unit_test(test_stall_in_handshake),
                cmocka_unit_test(test_cancel),    cmocka_unit_test(test_many_at_once),
        };

        network_own();
        return cmocka_run_group_tests(tests, pki_make, pki_drop);
}
