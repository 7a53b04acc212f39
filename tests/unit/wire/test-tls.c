/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The TLS client against servers of each kind: good ones, those with every fault of a certificate, and those that
 * do not speak TLS at all. */
#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "tests/unit/wire/helper.h"
#include "wire/tls.h"

#define HOST "mail.example.test"

/* One family of certificates for all tests: making keys takes time. */
static struct {
        Cert root, intermediate, stranger, good;
        char *ca_file;
} pki;

static int pki_make(void **state)
{
        pki.root = cert_make((CertSpec){ .name = "Test Root CA", .ca = true });
        pki.intermediate = cert_make(
                (CertSpec){ .name = "Test Sub CA", .ca = true, .issuer = &pki.root });
        pki.stranger = cert_make((CertSpec){ .name = "Elsewhere CA", .ca = true });
        pki.good = cert_make(
                (CertSpec){ .name = "shown name", .dns = HOST, .issuer = &pki.intermediate });
        pki.ca_file = cert_file(&pki.root);
        return 0;
}

static int pki_drop(void **state)
{
        cert_deinit(&pki.root);
        cert_deinit(&pki.intermediate);
        cert_deinit(&pki.stranger);
        cert_deinit(&pki.good);
        unlink_freep(&pki.ca_file);
        return 0;
}

static void echo(SSL *ssl, void *arg)
{
        char data[4096];
        int n;

        SSL_write(ssl, "+OK hello\r\n", 11);
        while ((n = SSL_read(ssl, data, sizeof(data))) > 0)
                SSL_write(ssl, data, n);
}

/* Connects and shakes hands with @serve; the answer is what stream_start_tls() says. */
static int shake(Stream **ret, const char *ca_file, TlsRequest request, uint16_t port,
                 Certificate **ret_certificate, Outcome *no)
{
        _cleanup_(tls_freep) Tls *tls = NULL;
        _cleanup_(stream_freep) Stream *stream = stream_to(port);
        int r;

        assert_int_equal(tls_new(&tls, ca_file), 0);
        r = stream_start_tls(stream, tls, &request, ret_certificate, no);
        if (ret)
                *ret = TAKE(stream);
        return r;
}

FIBER_TEST(test_good)
{
        TlsServe serve = { .cert = &pki.good, .sent = { &pki.intermediate }, .talk = echo };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_(certificate_freep) Certificate *cert = NULL, *copy = NULL;
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        char spki[65];
        const char *line;
        size_t len;
        uint64_t now = clock_real();

        assert_int_equal(
                shake(&stream, pki.ca_file, (TlsRequest){ HOST }, server_port(server), &cert, &no),
                0);
        assert_true(stream_is_tls(stream));
        assert_int_equal(cert->faults, 0);
        assert_null(cert->errors);
        assert_false(cert->approved);
        assert_string_equal(cert->subject, "shown name");
        assert_string_equal(cert->issuer, "Test Sub CA");
        assert_int_equal(list_len(cert->names), 1);
        assert_string_equal(cert->names[0], HOST);
        assert_true(cert->not_before_usec < now && cert->not_after_usec > now + 364 * USEC_PER_DAY);
        assert_string_equal(cert->key, "EC P-256");
        assert_int_equal(cert->chain_len, 2);
        assert_string_equal(cert->protocol, "TLSv1.3");
        assert_true(text_starts_nocase(cert->cipher, "TLS_"));
        assert_int_equal(strlen(cert->sha256), 64);
        cert_spki(&pki.good, spki);
        assert_string_equal(cert->spki_sha256, spki);
        assert_int_equal(certificate_copy(&copy, cert), 0);
        assert_string_equal(copy->names[0], HOST);

        assert_int_equal(stream_read_line(stream, PHASE_GREETING, &line, &len, &no), 0);
        assert_string_equal(line, "+OK hello");
        assert_int_equal(stream_write(stream, PHASE_USER, "USER x\r\nPASS", 12, &no), 0);
        assert_int_equal(stream_read_line(stream, PHASE_USER, &line, &len, &no), 0);
        assert_string_equal(line, "USER x");
        assert_int_equal(stream_pending(stream), 4);
        assert_int_equal(stream_bytes_in(stream), 23);
        return 0;
}

/* Session tickets lie in the kernel after a TLS 1.3 handshake: they are not payload. */
FIBER_TEST(test_tickets_are_not_pending)
{
        TlsServe serve = { .cert = &pki.good, .sent = { &pki.intermediate } };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(
                shake(&stream, pki.ca_file, (TlsRequest){ HOST }, server_port(server), NULL, &no),
                0);
        assert_int_equal(fiber_sleep(20 * USEC_PER_MSEC), 0);
        assert_int_equal(stream_pending(stream), 0);
        return 0;
}

typedef struct FaultCase {
        const char *what;
        const char *host; /* NULL: HOST */
        CertSpec spec;    /* issuer NULL and not alone: the intermediate */
        bool alone;       /* issuer as in spec; nothing but the leaf is sent */
        unsigned faults;
        const char *error; /* one of OpenSSL's words that must be there */
} FaultCase;

static void run_fault(const FaultCase *c)
{
        CertSpec spec = c->spec;
        Cert cert;
        TlsServe serve = { .cert = &cert };
        Server *server;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_(certificate_freep) Certificate *facts = NULL;
        char spki[65];
        int r;

        if (!c->alone) {
                spec.issuer = &pki.intermediate;
                serve.sent[0] = &pki.intermediate;
        }
        if (!spec.name)
                spec.name = HOST;
        cert = cert_make(spec);
        server = server_start("127.0.0.1", 0, serve_tls, &serve);

        r = shake(NULL, pki.ca_file, (TlsRequest){ c->host ? c->host : HOST }, server_port(server),
                  &facts, &no);
        if (c->faults == 0) {
                assert_int_equal(r, 0);
                assert_int_equal(facts->faults, 0);
        } else {
                assert_int_equal(r, 1);
                assert_null(facts);
                assert_int_equal(no.kind, OUTCOME_CERTIFICATE);
                assert_int_equal(no.phase, PHASE_HANDSHAKE);
                assert_int_equal(no.certificate->faults, c->faults);
                if (c->error)
                        assert_true(list_contains_nocase(no.certificate->errors, c->error));
                cert_spki(&cert, spki);
                assert_string_equal(no.certificate->spki_sha256, spki);
        }
        server = server_stop(server);
        assert_true(serve.shaken);
        assert_int_equal(serve.n_read, 0);

        /* The same with its key approved: all facts as before, but it stands. */
        if (c->faults) {
                cert_spki(&cert, spki);
                server = server_start("127.0.0.1", 0, serve_tls, &serve);
                assert_int_equal(shake(NULL, pki.ca_file,
                                       (TlsRequest){ c->host ? c->host : HOST, spki },
                                       server_port(server), &facts, &no),
                                 0);
                assert_int_equal(facts->faults, c->faults);
                assert_true(facts->approved);
                server_stop(server);
        }
        cert_deinit(&cert);
}

FIBER_TEST(test_faults)
{
        const FaultCase cases[] = {
                { "good", NULL, { .dns = HOST } },
                { "wildcard", NULL, { .dns = "*.example.test" } },
                { "by address", "192.0.2.7", { .dns = HOST, .ip = "192.0.2.7" } },
                { "by IPv6 address", "2001:db8::7", { .ip = "2001:DB8:0::7" } },
                { "expired",
                  NULL,
                  { .dns = HOST, .start_days = -90, .end_days = -1 },
                  false,
                  CERTIFICATE_EXPIRED,
                  "certificate has expired" },
                { "not yet valid",
                  NULL,
                  { .dns = HOST, .start_days = 1, .end_days = 9 },
                  false,
                  CERTIFICATE_NOT_YET_VALID },
                { "wrong name",
                  NULL,
                  { .dns = "other.example.test" },
                  false,
                  CERTIFICATE_WRONG_NAME,
                  "hostname mismatch" },
                { "wrong address",
                  "192.0.2.8",
                  { .dns = HOST, .ip = "192.0.2.7" },
                  false,
                  CERTIFICATE_WRONG_NAME },
                { "common name only", NULL, {}, false, CERTIFICATE_WRONG_NAME },
                { "partial wildcard",
                  NULL,
                  { .dns = "m*.example.test" },
                  false,
                  CERTIFICATE_WRONG_NAME },
                { "wildcard too high", NULL, { .dns = "*.test" }, false, CERTIFICATE_WRONG_NAME },
                { "self-signed", NULL, { .dns = HOST }, true, CERTIFICATE_SELF_SIGNED },
                { "weak key", NULL, { .dns = HOST, .rsa_bits = 1024 }, false, CERTIFICATE_WEAK },
                { "sha1", NULL, { .dns = HOST, .sha1 = true }, false, CERTIFICATE_WEAK },
                { "expired and wrong",
                  NULL,
                  { .dns = "other.example.test", .start_days = -90, .end_days = -1 },
                  false,
                  CERTIFICATE_EXPIRED | CERTIFICATE_WRONG_NAME },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                run_fault(&cases[i]);
        return 0;
}

/* What can be said without a network about an issuer that nobody knows. */
FIBER_TEST(test_ends_of_chains)
{
        _cleanup_cert_ Cert root = cert_make((CertSpec){ .name = "Stranger Root CA", .ca = true }),
                            middle = cert_make((CertSpec){ .name = "Stranger Intermediate CA",
                                                           .ca = true,
                                                           .issuer = &root });
        const FaultCase cases[] = {
                { "cannot be told",
                  NULL,
                  { .dns = HOST, .issuer = &pki.stranger },
                  true,
                  CERTIFICATE_UNTRUSTED_CA | CERTIFICATE_INCOMPLETE_CHAIN,
                  "unable to get local issuer certificate" },
                { "the issuer has a home page",
                  NULL,
                  { .dns = HOST, .issuer = &pki.stranger, .issuer_url = "http://ca.test/sub.der" },
                  true,
                  CERTIFICATE_INCOMPLETE_CHAIN },
                { "the issuer's issuer is another",
                  NULL,
                  { .dns = HOST, .issuer = &pki.intermediate, .named_issuer = &pki.root },
                  true,
                  CERTIFICATE_INCOMPLETE_CHAIN },
                { "the issuer's issuer is itself",
                  NULL,
                  { .dns = HOST, .issuer = &pki.stranger, .named_issuer = &pki.stranger },
                  true,
                  CERTIFICATE_UNTRUSTED_CA },
                { "it calls itself a root",
                  NULL,
                  { .dns = HOST, .issuer = &root },
                  true,
                  CERTIFICATE_UNTRUSTED_CA },
                { "it calls itself an intermediate",
                  NULL,
                  { .dns = HOST, .issuer = &middle },
                  true,
                  CERTIFICATE_INCOMPLETE_CHAIN },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++)
                run_fault(&cases[i]);
        return 0;
}

FIBER_TEST(test_chain_to_unknown_root)
{
        _cleanup_cert_ Cert middle = cert_make((CertSpec){
                                    .name = "Middle CA", .ca = true, .issuer = &pki.stranger }),
                            leaf = cert_make(
                                    (CertSpec){ .name = HOST, .dns = HOST, .issuer = &middle });
        TlsServe with_root = { .cert = &leaf, .sent = { &middle, &pki.stranger } },
                 without = { .cert = &leaf, .sent = { &middle } };
        TlsServe *const serves[] = { &with_root, &without };

        for (size_t i = 0; i < ELEMENTS(serves); i++) {
                _cleanup_(server_stopp)
                        Server *server = server_start("127.0.0.1", 0, serve_tls, serves[i]);
                _cleanup_outcome_ Outcome no = {};

                assert_int_equal(shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server),
                                       NULL, &no),
                                 1);
                assert_int_equal(no.certificate->faults, CERTIFICATE_UNTRUSTED_CA);
                assert_int_equal(no.certificate->chain_len, 3 - i);
        }
        return 0;
}

/* Approval is for one key, not for one host. */
FIBER_TEST(test_other_key_is_not_approved)
{
        _cleanup_cert_ Cert cert = cert_make((CertSpec){ .name = HOST, .dns = HOST });
        TlsServe serve = { .cert = &cert };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_outcome_ Outcome no = {}, copy = {};
        char spki[65];

        cert_spki(&pki.good, spki);
        assert_int_equal(shake(NULL, pki.ca_file, (TlsRequest){ HOST, spki }, server_port(server),
                               NULL, &no),
                         1);
        assert_int_equal(no.kind, OUTCOME_CERTIFICATE);
        assert_false(no.certificate->approved);
        assert_int_equal(outcome_copy(&copy, &no), 0);
        assert_string_equal(copy.certificate->subject, HOST);
        return 0;
}

FIBER_TEST(test_names_of_strangers)
{
        static const char name[] = "bank.test\0.evil\x1b[31m\xe2\x80\xae";
        _cleanup_cert_ Cert cert = cert_make(
                (CertSpec){ .name = name, .name_len = sizeof(name) - 1, .dns = HOST });
        TlsServe serve = { .cert = &cert };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(
                shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server), NULL, &no), 1);
        assert_true(text_is_clean(no.certificate->subject, strlen(no.certificate->subject)));
        assert_true(text_starts_nocase(no.certificate->subject, "bank.test?.evil?[31m"));
        return 0;
}

/* The environment must not be able to add a trust anchor. */
FIBER_TEST(test_environment_is_not_obeyed)
{
        TlsServe serve = { .cert = &pki.good, .sent = { &pki.intermediate } };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_outcome_ Outcome no = {};
        int r;

        setenv("SSL_CERT_FILE", pki.ca_file, 1);
        r = shake(NULL, NULL, (TlsRequest){ HOST }, server_port(server), NULL, &no);
        unsetenv("SSL_CERT_FILE");
        assert_int_equal(r, 1);
        assert_int_equal(no.kind, OUTCOME_CERTIFICATE);
        return 0;
}

FIBER_TEST(test_ca_file)
{
        Tls *tls = NULL;

        assert_int_equal(tls_new(&tls, "/nonexistent/ca.pem"), -ENOENT);
        assert_int_equal(tls_new(&tls, "/etc/passwd"), -EBADMSG);
        assert_null(tls);
        return 0;
}

/* --- those that do not speak TLS --------------------------------------------------------------------------- */

static void speak_first(int fd, void *arg)
{
        serve_text(fd, arg);
        serve_until_closed(fd);
}

static void answer_and_close(int fd, void *arg)
{
        char unused[4096];

        (void) !recv(fd, unused, sizeof(unused), 0);
        serve_text(fd, arg);
}

FIBER_TEST(test_plaintext_server)
{
        static char banner[] = "+OK Dovecot ready.\r\n",
                    http[] = "HTTP/1.1 400 Bad Request\r\n\r\n", shy[] = "+O";
        static const struct {
                Serve serve;
                char *text;
        } cases[] = { { speak_first, banner },
                      { answer_and_close, http },
                      { answer_and_close, shy } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(server_stopp) Server *server = server_start(
                        "127.0.0.1", 0, cases[i].serve, cases[i].text);
                _cleanup_outcome_ Outcome no = {};

                assert_int_equal(shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server),
                                       NULL, &no),
                                 1);
                assert_int_equal(no.kind, OUTCOME_HANDSHAKE);
                assert_int_equal(no.first_len, strlen(cases[i].text));
                assert_memory_equal(no.first, cases[i].text, no.first_len);
                if (i < 2)
                        assert_string_equal(no.text, "wrong version number");
        }
        return 0;
}

FIBER_TEST(test_stalls)
{
        static char nothing[] = "", shy[] = "+O";
        static const struct {
                char *text;
                OutcomeKind kind;
        } cases[] = { { nothing, OUTCOME_TIMEOUT }, { shy, OUTCOME_HANDSHAKE } };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(server_stopp)
                        Server *server = server_start("127.0.0.1", 0, speak_first, cases[i].text);
                _cleanup_outcome_ Outcome no = {};
                FIBER_DEADLINE(50 * USEC_PER_MSEC);

                assert_int_equal(shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server),
                                       NULL, &no),
                                 1);
                assert_int_equal(no.kind, cases[i].kind);
                assert_int_equal(no.phase, PHASE_HANDSHAKE);
                assert_int_equal(no.first_len, strlen(cases[i].text));
        }
        return 0;
}

static void close_at_once(int fd, void *arg)
{
        char unused[4096];

        (void) !recv(fd, unused, sizeof(unused), 0);
        if (arg)
                serve_reset(fd);
}

FIBER_TEST(test_closed_in_handshake)
{
        static char yes[] = "reset";
        char *const args[] = { NULL, yes };

        for (size_t i = 0; i < ELEMENTS(args); i++) {
                _cleanup_(server_stopp)
                        Server *server = server_start("127.0.0.1", 0, close_at_once, args[i]);
                _cleanup_outcome_ Outcome no = {};

                assert_int_equal(shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server),
                                       NULL, &no),
                                 1);
                assert_int_equal(no.kind, i ? OUTCOME_RESET : OUTCOME_CLOSED);
                assert_int_equal(no.phase, PHASE_HANDSHAKE);
        }
        return 0;
}

/* A server that has nothing in common with us says so by an alert. */
FIBER_TEST(test_alert)
{
        TlsServe serve = { .cert = &pki.good, .ciphers = "RSA+SHA256" };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(
                shake(NULL, pki.ca_file, (TlsRequest){ HOST }, server_port(server), NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_HANDSHAKE);
        assert_int_equal(no.alert, SSL_AD_HANDSHAKE_FAILURE);
        assert_true(strlen(no.text) > 0);
        return 0;
}

/* --- STARTTLS ---------------------------------------------------------------------------------------------- */

/* Speaks in clear first: @arg is a TlsServe whose arg is what to say. */
static void serve_starttls(int fd, void *arg)
{
        TlsServe *serve = arg;
        char unused[64];

        serve_text(fd, "+OK hello\r\n");
        if (recv(fd, unused, sizeof(unused), 0) <= 0)
                return;
        serve_text(fd, serve->arg);
        serve_tls(fd, serve);
}

static int start_tls_after(Stream *stream, uint64_t pause_usec, Outcome *no)
{
        _cleanup_(tls_freep) Tls *tls = NULL;
        const char *line;
        size_t len;

        assert_int_equal(tls_new(&tls, pki.ca_file), 0);
        assert_int_equal(stream_read_line(stream, PHASE_GREETING, &line, &len, no), 0);
        assert_int_equal(stream_write(stream, PHASE_STARTTLS, "STLS\r\n", 6, no), 0);
        assert_int_equal(stream_read_line(stream, PHASE_STARTTLS, &line, &len, no), 0);
        assert_string_equal(line, "+OK");
        assert_int_equal(fiber_sleep(pause_usec), 0);
        return stream_start_tls(stream, tls, &(TlsRequest){ HOST }, NULL, no);
}

FIBER_TEST(test_starttls)
{
        static char ok[] = "+OK\r\n";
        TlsServe serve = { .cert = &pki.good, .sent = { &pki.intermediate }, .arg = ok };
        _cleanup_(server_stopp)
                Server *server = server_start("127.0.0.1", 0, serve_starttls, &serve);
        _cleanup_(stream_freep) Stream *stream = stream_to(server_port(server));
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(start_tls_after(stream, 0, &no), 0);
        assert_true(stream_is_tls(stream));
        return 0;
}

static void serve_starttls_injected(int fd, void *arg)
{
        char unused[64];

        serve_text(fd, "+OK hello\r\n");
        if (recv(fd, unused, sizeof(unused), 0) <= 0)
                return;
        if (arg) {
                serve_text(fd, "+OK\r\n+OK 1 message\r\n"); /* the client reads both at once */
        } else {
                serve_text(fd, "+OK\r\n");
                usleep(20000); /* on its own, so that it waits in the kernel */
                serve_text(fd, "+OK 1 message\r\n");
        }
        serve_until_closed(fd);
}

FIBER_TEST(test_injected)
{
        static char together[] = "together";
        char *const args[] = { NULL, together };

        for (size_t i = 0; i < ELEMENTS(args); i++) {
                _cleanup_(server_stopp) Server *server = server_start(
                        "127.0.0.1", 0, serve_starttls_injected, args[i]);
                _cleanup_(stream_freep) Stream *stream = stream_to(server_port(server));
                _cleanup_outcome_ Outcome no = {};

                assert_int_equal(start_tls_after(stream, 60 * USEC_PER_MSEC, &no), 1);
                assert_int_equal(no.kind, OUTCOME_INJECTED);
                assert_int_equal(no.phase, PHASE_STARTTLS);
                assert_memory_equal(no.first, "+OK 1 message\r\n", 15);
                assert_false(stream_is_tls(stream));
        }
        return 0;
}

/* --- later ------------------------------------------------------------------------------------------------- */

static void say_and_leave(SSL *ssl, void *arg)
{
        SSL_write(ssl, "-ERR half", 9);
        if (arg)
                SSL_shutdown(ssl);
}

FIBER_TEST(test_end_with_and_without_notice)
{
        static char notice[] = "close_notify";
        char *const args[] = { NULL, notice };

        for (size_t i = 0; i < ELEMENTS(args); i++) {
                TlsServe serve = { .cert = &pki.good,
                                   .sent = { &pki.intermediate },
                                   .talk = say_and_leave,
                                   .arg = args[i] };
                _cleanup_(server_stopp)
                        Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
                _cleanup_(stream_freep) Stream *stream = NULL;
                _cleanup_outcome_ Outcome no = {};
                const char *line;
                size_t len;

                assert_int_equal(shake(&stream, pki.ca_file, (TlsRequest){ HOST },
                                       server_port(server), NULL, &no),
                                 0);
                for (int twice = 0; twice < 2; twice++) {
                        outcome_reset(&no);
                        assert_int_equal(stream_read_line(stream, PHASE_LIST, &line, &len, &no), 1);
                        assert_int_equal(no.kind, OUTCOME_CLOSED);
                        assert_memory_equal(no.first, "-ERR half", 9);
                }
        }
        return 0;
}

typedef struct Shaking {
        uint16_t port;
        int result;
} Shaking;

static int shake_alone(void *arg)
{
        Shaking *shaking = arg;
        _cleanup_outcome_ Outcome no = {};

        return shaking->result = shake(NULL, pki.ca_file, (TlsRequest){ HOST }, shaking->port, NULL,
                                       &no);
}

FIBER_TEST(test_cancel_in_handshake)
{
        static char nothing[] = "";
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, speak_first, nothing);
        Shaking shaking = { server_port(server), 7 };
        Fiber *fiber = NULL;

        assert_int_equal(fiber_start(&fiber, "shake", shake_alone, &shaking), 0);
        assert_int_equal(fiber_sleep(10 * USEC_PER_MSEC), 0);
        assert_int_equal(shaking.result, 7);
        fiber_cancel(fiber);
        assert_int_equal(shaking.result, -ECANCELED);
        return 0;
}

/* Much in both directions, in pieces: partial writes, lines over records. */
FIBER_TEST(test_bulk)
{
        TlsServe serve = { .cert = &pki.good, .sent = { &pki.intermediate }, .talk = echo };
        _cleanup_(server_stopp) Server *server = server_start("127.0.0.1", 0, serve_tls, &serve);
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_free_ char *data = malloc(60000);
        const char *line;
        size_t len;

        for (size_t i = 0; i < 60000; i++)
                data[i] = i % 100 == 99 ? '\n' : (char) ('a' + i % 7);
        assert_int_equal(
                shake(&stream, pki.ca_file, (TlsRequest){ HOST }, server_port(server), NULL, &no),
                0);
        assert_int_equal(stream_read_line(stream, PHASE_GREETING, &line, &len, &no), 0);
        for (int round = 0; round < 20; round++) {
                assert_int_equal(stream_write(stream, PHASE_DATA, data, 60000, &no), 0);
                for (size_t i = 0; i < 600; i++) {
                        assert_int_equal(stream_read_line(stream, PHASE_DATA, &line, &len, &no), 0);
                        assert_int_equal(len, 99);
                        assert_memory_equal(line, data + 100 * i, 99);
                }
        }
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good),
                cmocka_unit_test(test_tickets_are_not_pending),
                cmocka_unit_test(test_faults),
                cmocka_unit_test(test_ends_of_chains),
                cmocka_unit_test(test_chain_to_unknown_root),
                cmocka_unit_test(test_other_key_is_not_approved),
                cmocka_unit_test(test_names_of_strangers),
                cmocka_unit_test(test_environment_is_not_obeyed),
                cmocka_unit_test(test_ca_file),
                cmocka_unit_test(test_plaintext_server),
                cmocka_unit_test(test_stalls),
                cmocka_unit_test(test_closed_in_handshake),
                cmocka_unit_test(test_alert),
                cmocka_unit_test(test_starttls),
                cmocka_unit_test(test_injected),
                cmocka_unit_test(test_end_with_and_without_notice),
                cmocka_unit_test(test_cancel_in_handshake),
                cmocka_unit_test(test_bulk),
        };

        network_own();
        return cmocka_run_group_tests(tests, pki_make, pki_drop);
}
