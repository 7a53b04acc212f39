/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* STARTTLS for the three dialogues against a real TLS server: what was learnt in clear is forgotten, what is needed after it works
 * without a word in clear. */
#include "tests/unit/wire/helper.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "talk/imap.h"
#include "talk/pop3.h"
#include "talk/smtp.h"

#define HOST "mail.example.test"

/* A server on a thread: some lines in clear, then TLS, then answers to each line. */
typedef struct Script {
        const char *greeting, *command, *go, *behind_go;
        const char *const (*answers)[2]; /* line, answer; both NULL at the end */
        TlsServe tls;
        char heard[1024];
} Script;

static void read_until_lf(int fd, SSL *ssl, char *line, size_t size)
{
        size_t n = 0;

        while (n + 1 < size &&
               (ssl ? SSL_read(ssl, line + n, 1) : (int) recv(fd, line + n, 1, 0)) == 1)
                if (line[n++] == '\n')
                        break;
        line[n] = 0;
}

static void answer_under_tls(SSL *ssl, void *arg)
{
        Script *script = arg;
        char line[256];

        for (read_until_lf(-1, ssl, line, sizeof(line)); line[0];
             read_until_lf(-1, ssl, line, sizeof(line))) {
                const char *answer = "? what\r\n";

                for (size_t i = 0; script->answers[i][0]; i++)
                        if (strncmp(line, script->answers[i][0], strlen(script->answers[i][0])) ==
                            0)
                                answer = script->answers[i][1];
                snprintf(script->heard + strlen(script->heard),
                         sizeof(script->heard) - strlen(script->heard), "%s", line);
                SSL_write(ssl, answer, (int) strlen(answer));
        }
}

static void serve(int fd, void *arg)
{
        Script *script = arg;
        char line[256];

        serve_text(fd, script->greeting);
        for (read_until_lf(fd, NULL, line, sizeof(line));
             line[0] && strcmp(line, script->command) != 0;
             read_until_lf(fd, NULL, line, sizeof(line)))
                serve_text(fd, script->behind_go);
        if (!line[0])
                return;
        serve_text(fd, script->go);
        script->tls.talk = answer_under_tls;
        script->tls.arg = script;
        serve_tls(fd, &script->tls);
}

/* --- POP3 ---------------------------------------------------------------------------------------------------- */

static const char *const pop3_answers[][2] = {
        { "CAPA", "+OK\r\nSASL PLAIN\r\nPIPELINING\r\n.\r\n" },
        { "AUTH PLAIN ", "+OK\r\n" },
        { "STAT", "+OK 1 10\r\n" },
        { "QUIT", "+OK\r\n" },
        { NULL, NULL },
};

static int run_pop3(const Cert *cert, const char *ca_file, bool trusted)
{
        _cleanup_(tls_freep) Tls *tls = NULL;
        _cleanup_(pop3_freep) Pop3 *pop3 = NULL;
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_(server_stopp) Server *server = NULL;
        _cleanup_outcome_ Outcome no = {};
        const TlsRequest request = { .host = HOST };
        Script script = {
                .greeting = "+OK in clear\r\n",
                .command = "STLS\r\n",
                .go = "+OK go\r\n",
                .behind_go = "+OK\r\nSTLS\r\nUSER\r\n.\r\n",
                .answers = pop3_answers,
                .tls.cert = cert,
        };
        uint64_t messages, octets;

        server = server_start("127.0.0.1", 0, serve, &script);
        assert_int_equal(tls_new(&tls, ca_file), 0);
        assert_int_equal(secret_new(&secret, "geheim", 6), 0);
        assert_int_equal(pop3_open(&pop3, stream_to(server_port(server)), NULL, "incoming", &no),
                         0);
        assert_string_equal(pop3_greeting(pop3), "in clear");
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_true(pop3_capabilities(pop3)->user);
        if (!trusted) {
                assert_int_equal(pop3_start_tls(pop3, tls, &request, &certificate, &no), 1);
                assert_int_equal(no.kind, OUTCOME_CERTIFICATE);
                assert_null(certificate);
                assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
                pop3 = pop3_free(pop3);
                server = server_stop(server);
                assert_string_equal(script.heard, "");
                return 0;
        }
        assert_int_equal(pop3_start_tls(pop3, tls, &request, &certificate, &no), 0);
        assert_int_equal(certificate->faults, 0);
        assert_string_equal(pop3_greeting(pop3), "");
        assert_false(pop3_capabilities(pop3)->known || pop3_capabilities(pop3)->user);
        assert_int_equal(pop3_start_tls(pop3, tls, &request, NULL, &no), -EALREADY);
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_string_equal(pop3_login_method(pop3, &(Login){}), "PLAIN");
        assert_int_equal(
                pop3_login(pop3,
                           &(Login){ .user = "tim", .secret = secret, .allow_cleartext = false },
                           &no),
                0);
        assert_int_equal(pop3_stat(pop3, &messages, &octets, &no), 0);
        assert_int_equal(pop3_quit(pop3, &no), 0);
        pop3 = pop3_free(pop3);
        server = server_stop(server);
        assert_string_equal(script.heard,
                            "CAPA\r\nAUTH PLAIN AHRpbQBnZWhlaW0=\r\nSTAT\r\nQUIT\r\n");
        return 0;
}

/* --- SMTP ---------------------------------------------------------------------------------------------------- */

static const char *const smtp_answers[][2] = {
        { "EHLO", "250-x\r\n250 AUTH PLAIN\r\n" },
        { "AUTH PLAIN ", "235 ok\r\n" },
        { "QUIT", "221 bye\r\n" },
        { NULL, NULL },
};

static int run_smtp(const Cert *cert, const char *ca_file)
{
        _cleanup_(tls_freep) Tls *tls = NULL;
        _cleanup_(smtp_freep) Smtp *smtp = NULL;
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_(server_stopp) Server *server = NULL;
        _cleanup_outcome_ Outcome no = {};
        const TlsRequest request = { .host = HOST };
        Script script = {
                .greeting = "220 in clear\r\n",
                .command = "STARTTLS\r\n",
                .go = "220 go\r\n",
                .behind_go = "250-x\r\n250-STARTTLS\r\n250 AUTH LOGIN\r\n",
                .answers = smtp_answers,
                .tls.cert = cert,
        };

        server = server_start("127.0.0.1", 0, serve, &script);
        assert_int_equal(tls_new(&tls, ca_file), 0);
        assert_int_equal(secret_new(&secret, "geheim", 6), 0);
        assert_int_equal(smtp_open(&smtp, stream_to(server_port(server)), NULL, "outgoing", &no),
                         0);
        assert_int_equal(smtp_ehlo(smtp, &no), 0);
        assert_string_equal(smtp_login_method(smtp, &(Login){}), "LOGIN");
        assert_int_equal(smtp_start_tls(smtp, tls, &request, &certificate, &no), 0);
        assert_int_equal(certificate->faults, 0);
        assert_string_equal(smtp_greeting(smtp), "");
        /* EHLO was said again, and only that counts. */
        assert_string_equal(smtp_login_method(smtp, &(Login){}), "PLAIN");
        assert_false(smtp_extensions(smtp)->starttls);
        assert_int_equal(
                smtp_login(smtp,
                           &(Login){ .user = "tim", .secret = secret, .allow_cleartext = false },
                           &no),
                0);
        assert_int_equal(smtp_quit(smtp, &no), 0);
        smtp = smtp_free(smtp);
        server = server_stop(server);
        assert_string_equal(script.heard,
                            "EHLO [127.0.0.1]\r\nAUTH PLAIN AHRpbQBnZWhlaW0=\r\nQUIT\r\n");
        return 0;
}

/* --- IMAP ---------------------------------------------------------------------------------------------------- */

static const char *const imap_answers[][2] = {
        { "w2 CAPABILITY", "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nw2 OK\r\n" },
        { "w3 AUTHENTICATE PLAIN ", "w3 OK [CAPABILITY IMAP4rev1 IDLE] in\r\n" },
        { "w4 LOGOUT", "* BYE\r\nw4 OK\r\n" },
        { NULL, NULL },
};

static int run_imap(const Cert *cert, const char *ca_file)
{
        _cleanup_(tls_freep) Tls *tls = NULL;
        _cleanup_(imap_freep) Imap *imap = NULL;
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_(server_stopp) Server *server = NULL;
        _cleanup_outcome_ Outcome no = {};
        const TlsRequest request = { .host = HOST };
        Login login = { .user = "tim" };
        Script script = {
                .greeting = "* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=LOGIN IDLE] in clear\r\n",
                .command = "w1 STARTTLS\r\n",
                .go = "w1 OK go\r\n",
                .behind_go = "",
                .answers = imap_answers,
                .tls.cert = cert,
        };

        server = server_start("127.0.0.1", 0, serve, &script);
        assert_int_equal(tls_new(&tls, ca_file), 0);
        assert_int_equal(secret_new(&secret, "geheim", 6), 0);
        login.secret = secret;
        assert_int_equal(imap_open(&imap, stream_to(server_port(server)), NULL, "incoming", &no),
                         0);
        assert_string_equal(imap_greeting(imap), "in clear");
        assert_true(imap_capabilities(imap)->idle);
        assert_int_equal(imap_start_tls(imap, tls, &request, &certificate, &no), 0);
        assert_int_equal(certificate->faults, 0);
        assert_string_equal(imap_greeting(imap), "");
        assert_false(imap_capabilities(imap)->known || imap_capabilities(imap)->idle);
        assert_int_equal(imap_start_tls(imap, tls, &request, NULL, &no), -EALREADY);
        assert_int_equal(imap_ask_capabilities(imap, &no), 0);
        assert_false(imap_capabilities(imap)->starttls);
        assert_int_equal(imap_login(imap, &login, &no), 0);
        assert_int_equal(imap_logout(imap, &no), 0);
        imap = imap_free(imap);
        server = server_stop(server);
        assert_string_equal(script.heard,
                            "w2 CAPABILITY\r\n"
                            "w3 AUTHENTICATE PLAIN AHRpbQBnZWhlaW0=\r\nw4 LOGOUT\r\n");
        return 0;
}

/* --- all ----------------------------------------------------------------------------------------------------- */

static int run_all(void *arg)
{
        _cleanup_cert_ Cert ca = cert_make((CertSpec){ .name = "CA", .ca = true });
        _cleanup_cert_ Cert cert = cert_make(
                (CertSpec){ .name = HOST, .dns = HOST, .issuer = &ca });
        _cleanup_(unlink_freep) char *ca_file = cert_file(&ca);

        return run_pop3(&cert, ca_file, true) + run_pop3(&cert, NULL, false) +
               run_smtp(&cert, ca_file) + run_imap(&cert, ca_file);
}

static void test_starttls(void **state)
{
        fiber_run(run_all, NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_starttls),
        };

        network_own();
        return cmocka_run_group_tests_name("starttls", tests, NULL, NULL);
}
