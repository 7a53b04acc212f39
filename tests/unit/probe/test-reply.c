/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What our own dialogues ask of the rules that come with the program: position decides, and temporary faults never blame the password. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "probe/reply.h"

typedef struct Case {
        const char *cause;
        Protocol protocol;
        Phase phase;
        unsigned status;
        const char *code, *text;
} Case;

static const Case cases[] = {
        { "access.pop-disabled", PROTOCOL_POP3, PHASE_LOGIN, 0, "SYS/PERM",
          "Your account is not enabled for POP access" },
        { "access.pop-disabled", PROTOCOL_POP3, PHASE_STAT, 0, "SYS/PERM",
          "Your account is not enabled for POP access. Please visit your settings page." },
        { "access.disabled-by-admin", PROTOCOL_POP3, PHASE_LOGIN, 0, "SYS/PERM",
          "POP access is disabled for your domain." },
        { "auth.app-password-required", PROTOCOL_POP3, PHASE_LOGIN, 0, "AUTH",
          "Application-specific password required: https://support.google.com/accounts/answer/185833" },
        { "auth.temporary-failure", PROTOCOL_POP3, PHASE_LOGIN, 0, "SYS/TEMP",
          "Temporary authentication failure. [mx:2026-03-02 10:00:00]" },
        { "auth.temporary-failure", PROTOCOL_POP3, PHASE_LOGIN, 0, "SYS/TEMP", "" },
        { "mailbox.locked", PROTOCOL_POP3, PHASE_LOGIN, 0, "IN-USE",
          "Mailbox is locked by another POP3 session." },
        { "mailbox.locked", PROTOCOL_POP3, PHASE_LOGIN, 0, "", "maildrop already locked" },
        { "limit.login-delay", PROTOCOL_POP3, PHASE_LOGIN, 0, "LOGIN-DELAY",
          "Logins must be at least 15 minutes apart" },
        { "auth.web-login-required", PROTOCOL_POP3, PHASE_LOGIN, 0, "SYS/PERM",
          "Please log in via your web browser: https://example.test/unlock" },
        { "auth.bad-credentials", PROTOCOL_POP3, PHASE_LOGIN, 0, "AUTH", "Authentication failed." },
        { "auth.bad-credentials", PROTOCOL_POP3, PHASE_LOGIN, 0, "",
          "Invalid user name or password." },
        { "auth.bad-credentials", PROTOCOL_POP3, PHASE_LOGIN, 0, "", "" },
        { "auth.password-expired", PROTOCOL_POP3, PHASE_LOGIN, 0, "AUTH", "Password expired" },
        { "tls.required", PROTOCOL_POP3, PHASE_USER, 0, "AUTH",
          "Plaintext authentication disallowed on non-secure (SSL/TLS) connections." },
        { "tls.starttls-failed", PROTOCOL_POP3, PHASE_STARTTLS, 0, "",
          "TLS is not available now." },
        { "tls.starttls-unavailable", PROTOCOL_POP3, PHASE_STARTTLS, 0, "", "Unknown command." },
        { "server.temporary", PROTOCOL_POP3, PHASE_GREETING, 0, "SYS/TEMP",
          "The server is busy, try again later." },
        { "limit.too-many-connections", PROTOCOL_POP3, PHASE_GREETING, 0, "IN-USE",
          "Too many connections from your address." },
        { "fetch.uidl-unsupported", PROTOCOL_POP3, PHASE_UIDL, 0, "", "Unrecognized command" },
        { "fetch.message-gone", PROTOCOL_POP3, PHASE_RETRIEVE, 0, "", "no such message" },
        { "mailbox.unavailable", PROTOCOL_POP3, PHASE_STAT, 0, "", "" },
        { "tls.starttls-failed", PROTOCOL_SMTP, PHASE_STARTTLS, 454, "4.7.0",
          "TLS not available due to local problem" },
        { "auth.app-password-required", PROTOCOL_SMTP, PHASE_LOGIN, 534, "5.7.9",
          "Application-specific password required. For more information, go to / https://support.google.com/mail/?p=InvalidSecondFactor odd - gsmtp" },
        { "access.smtp-auth-disabled", PROTOCOL_SMTP, PHASE_LOGIN, 535, "5.7.139",
          "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled for more information. [odd.example.test]" },
        { "auth.oauth-required", PROTOCOL_SMTP, PHASE_LOGIN, 535, "5.7.139",
          "Authentication unsuccessful, basic authentication is disabled. [odd.example.test]" },
        { "auth.web-login-required", PROTOCOL_SMTP, PHASE_LOGIN, 534, "5.7.14",
          "Please log in via your web browser and / then try again. / https://support.google.com/mail/answer/78754 odd - gsmtp" },
        { "auth.bad-credentials", PROTOCOL_SMTP, PHASE_LOGIN, 535, "5.7.8",
          "Error: authentication failed" },
        { "auth.bad-credentials", PROTOCOL_SMTP, PHASE_LOGIN, 535, "5.7.8",
          "Error: authentication failed: (reason unavailable)" },
        { "auth.bad-credentials", PROTOCOL_SMTP, PHASE_LOGIN, 535, "5.7.8",
          "Error: authentication failed: UGFzc3dvcmQ6" },
        { "auth.temporary-failure", PROTOCOL_SMTP, PHASE_LOGIN, 454, "4.7.0",
          "Temporary authentication failure" },
        { "auth.temporary-failure", PROTOCOL_SMTP, PHASE_LOGIN, 454, "", "" },
        { "auth.not-offered", PROTOCOL_SMTP, PHASE_LOGIN, 503, "5.5.1",
          "Error: authentication not enabled" },
        { "server.temporary", PROTOCOL_SMTP, PHASE_GREETING, 421, "4.7.0",
          "Try again later, closing connection." },
        { "smtp.wrong-server", PROTOCOL_SMTP, PHASE_GREETING, 554, "5.7.1",
          "No SMTP service here" },
        { "smtp.sender-rejected", PROTOCOL_SMTP, PHASE_MAIL, 553, "5.7.1",
          "<alice@example.test>: Sender address rejected: not owned by user alice@example.test" },
        { "smtp.sender-rejected", PROTOCOL_SMTP, PHASE_RCPT, 550, "5.7.1",
          "Client does not have permissions to send as this sender" },
        { "smtp.sender-rejected", PROTOCOL_SMTP, PHASE_DATA_END, 550, "5.7.60",
          "SMTP; Client does not have permissions to send as this sender." },
        { "smtp.recipient-unknown", PROTOCOL_SMTP, PHASE_RCPT, 550, "5.1.1", "No such user here" },
        { "smtp.greylisted", PROTOCOL_SMTP, PHASE_RCPT, 451, "4.7.1",
          "Greylisted, please try again in 5 minutes" },
        { "limit.sending-quota", PROTOCOL_SMTP, PHASE_MAIL, 550, "5.4.5",
          "Daily user sending limit exceeded." },
        { "smtp.content-rejected", PROTOCOL_SMTP, PHASE_DATA_END, 554, "5.7.1",
          "Message rejected as spam by Content Filtering." },
        /* nothing but a status */
        { "smtp.relay-denied", PROTOCOL_SMTP, PHASE_RCPT, 550, "", "" },
        { "smtp.sender-rejected", PROTOCOL_SMTP, PHASE_MAIL, 550, "", "" },
        { "auth.required", PROTOCOL_SMTP, PHASE_MAIL, 530, "", "" },
        { "tls.required", PROTOCOL_SMTP, PHASE_LOGIN, 530, "", "" },
        { "smtp.content-rejected", PROTOCOL_SMTP, PHASE_DATA_END, 550, "", "" },
        { "server.temporary", PROTOCOL_SMTP, PHASE_RCPT, 450, "", "" },
};

static void test_dialogues(void **state)
{
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                const Case *c = &cases[i];
                ReplyContext context = { .protocol = c->protocol, .phase = c->phase, .tls = true };

                printf("# %s\n", c->text);
                assert_string_equal(reply_judge(&context, c->status, c->code, c->text), c->cause);
        }
}

/* The same sentence at another place is another cause. */
static void test_position(void **state)
{
        static const struct {
                const char *phase, *cause;
        } table[] = { { "login", "auth.temporary-failure" },
                      { "greeting", "server.temporary" },
                      { "select", "mailbox.unavailable" } };
        const char *line = "NO [UNAVAILABLE] ";

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                ReplyQuestion question = { .protocol = "imap", .phase = table[i].phase };
                ReplyVerdict verdict;

                reply_explain(&question, &line, 1, &verdict);
                assert_string_equal(verdict.cause, table[i].cause);
        }
}

/* However the place is written: as a command, as a program's log does, as a step of the contract. */
static void test_places(void **state)
{
        static const struct {
                const char *phase, *protocol, *line, *cause;
        } table[] = {
                { "MAIL FROM", "smtp", "550", "smtp.sender-rejected" },
                { "mail_from", "smtp", "550", "smtp.sender-rejected" },
                { "rcpt-to", "smtp", "550", "smtp.relay-denied" },
                { "RCPT TO", "smtp", "550", "smtp.relay-denied" },
                { "outgoing.login", "smtp", "535", "auth.bad-credentials" },
                { "incoming.mailbox", "pop3", "-ERR", "mailbox.unavailable" },
                { "UID FETCH", "imap", "a NO no such message", "fetch.message-gone" },
                { "end of data", "smtp", "554", "smtp.content-rejected" },
                { ".", "smtp", "451", "server.temporary" },
                { "", "smtp", "451", "server.temporary" },
                { "no such place, and a very long name for one", "smtp", "451",
                  "server.temporary" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                ReplyQuestion question = { .protocol = table[i].protocol, .phase = table[i].phase };
                ReplyVerdict verdict;

                reply_explain(&question, &table[i].line, 1, &verdict);
                printf("# %s\n", table[i].phase);
                assert_string_equal(verdict.cause, table[i].cause);
        }
}

static void test_temporary_beats_credentials(void **state)
{
        static const char *const lines[] = {
                "-ERR Login failed, service temporarily unavailable",
                "535 5.7.8 Authentication failed: temporary error in the password database",
                "NO [AUTHENTICATIONFAILED] Authentication failed, backend unavailable, try again later",
                "NO Anmeldung fehlgeschlagen: Dienst vorübergehend nicht verfügbar",
                "-ERR Échec de l'authentification: service momentanément indisponible",
                "535 Ошибка авторизации: сервис временно недоступен",
                "NO 登录失败，系统繁忙，请稍后重试",
        };

        for (size_t i = 0; i < ELEMENTS(lines); i++) {
                ReplyQuestion question = { .phase = "login" };
                ReplyVerdict verdict;

                reply_explain(&question, &lines[i], 1, &verdict);
                printf("# %s: %s\n", lines[i], verdict.cause);
                assert_true(strcmp(verdict.cause, "auth.temporary-failure") == 0 ||
                            strcmp(verdict.cause, "server.temporary") == 0);
        }
}

/* A provider is known by its id, its server's name or its own words. */
static void test_provider(void **state)
{
        static const ReplyQuestion questions[] = {
                { .protocol = "pop3", .phase = "login", .provider = "gmx-de" },
                { .protocol = "pop3", .phase = "login", .host = "pop.gmx.net" },
        };
        const char *line = "-ERR authentication failed";
        ReplyVerdict verdict;

        for (size_t i = 0; i < ELEMENTS(questions); i++) {
                reply_explain(&questions[i], &line, 1, &verdict);
                assert_string_equal(verdict.cause, "auth.bad-credentials-or-disabled");
                assert_string_equal(verdict.provider, "gmx");
        }
        reply_explain(
                &(ReplyQuestion){ .protocol = "pop3", .phase = "login", .host = "pop.notgmx.net" },
                &line, 1, &verdict);
        assert_string_equal(verdict.cause, "auth.bad-credentials");
        assert_null(verdict.provider);
}

/* Nothing wrong is no cause. */
static void test_nothing(void **state)
{
        static const char *const lines[] = { "+OK Logged in.", "250 2.0.0 Ok: queued as 4FxYz",
                                             "a1 OK LOGIN completed", "", "***" };

        for (size_t i = 0; i < ELEMENTS(lines); i++) {
                ReplyVerdict verdict;

                reply_explain(&(ReplyQuestion){}, &lines[i], 1, &verdict);
                assert_string_equal(verdict.cause, "");
        }
}

static int teardown(void **state)
{
        replies_unload();
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_dialogues),
                cmocka_unit_test(test_position),
                cmocka_unit_test(test_places),
                cmocka_unit_test(test_temporary_beats_credentials),
                cmocka_unit_test(test_provider),
                cmocka_unit_test(test_nothing),
        };

        return cmocka_run_group_tests_name("probe/reply", tests, NULL, teardown);
}
