/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The submission dialogue against scripted servers. */
#include "tests/unit/talk/peer.h"

#include <string.h>

#include "base/text.h"
#include "talk/smtp.h"

#define ME "tim@example.org"

static Smtp *opened(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Smtp *smtp = NULL;

        assert_int_equal(smtp_open(&smtp, stream_take, transcript, "outgoing", &no), 0);
        return smtp;
}

static Smtp *greeted(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Smtp *smtp = opened(stream_take, transcript);

        assert_int_equal(smtp_ehlo(smtp, &no), 0);
        return smtp;
}

static int login(Smtp *smtp, Outcome *no)
{
        _cleanup_(secret_unrefp) Secret *secret = peer_password();

        return smtp_login(smtp,
                          &(Login){ .user = "tim", .secret = secret, .allow_cleartext = true }, no);
}

#define GREETING "S: 220 mail.example.org ESMTP"
#define EHLO "C: EHLO [127.0.0.1]"

/* --- all of it ---------------------------------------------------------------------------------------------- */

static void play_ordinary(Stream *stream_take, Transcript *transcript)
{
        static const char message[] = "Subject: x\n\n.dot\r\n..\nend\n.";
        _cleanup_(smtp_freep) Smtp *smtp = opened(stream_take, transcript);
        _cleanup_free_ char *reply = NULL;
        _cleanup_outcome_ Outcome no = {};

        assert_string_equal(smtp_greeting(smtp), "one / two");
        assert_false(smtp_extensions(smtp)->known);
        assert_null(smtp_login_method(smtp, &(Login){}));
        assert_int_equal(smtp_ehlo(smtp, &no), 0);
        assert_true(smtp_extensions(smtp)->known && smtp_extensions(smtp)->has_size);
        assert_int_equal(smtp_extensions(smtp)->size, 1000);
        assert_int_equal(list_len(smtp_extensions(smtp)->lines), 2);
        assert_string_equal(smtp_login_method(smtp, &(Login){}), "PLAIN");
        assert_int_equal(login(smtp, &no), 0);
        assert_int_equal(smtp_check_sender(smtp, ME, ME, &no), 0);
        assert_int_equal(smtp_send(smtp, ME, ME, message, strlen(message), &reply, &no), 0);
        assert_string_equal(reply, "queued as 1");
        assert_int_equal(smtp_quit(smtp, &no), 0);
        assert_int_equal(no.kind, OUTCOME_NONE);
}

static const char *const ordinary[] = {
        "S: 220-one",
        "S: 220 two",
        EHLO,
        "S: 250-mail.example.org",
        "S: 250-SIZE 1000",
        "S: 250 AUTH LOGIN PLAIN",
        "C: AUTH PLAIN " PLAIN_BASE64,
        "S: 235 2.7.0 welcome",
        "C: MAIL FROM:<" ME ">",
        "S: 250 2.1.0 Ok",
        "C: RCPT TO:<" ME ">",
        "S: 250 2.1.5 Ok",
        "C: RSET",
        "S: 250 Ok",
        "C: MAIL FROM:<" ME ">",
        "S: 250 Ok",
        "C: RCPT TO:<" ME ">",
        "S: 251 Ok",
        "C: DATA",
        "S: 354 go on",
        "c: Subject: x",
        "c: ",
        "c: ..dot",
        "c: ...",
        "c: end",
        "c: ..",
        "C: .",
        "S: 250 2.0.0 queued as 1",
        "C: QUIT",
        "S: 221 bye",
        NULL,
};

static void test_ordinary(void **state)
{
        peer_play(*state, ordinary, play_ordinary);
}

static void play_anything(Stream *stream_take, Transcript *transcript)
{
        static const char message[] = "Subject: x\n\n.dot\r\n..\nend\n.";
        _cleanup_(smtp_freep) Smtp *smtp = NULL;
        _cleanup_free_ char *reply = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = smtp_open(&smtp, stream_take, transcript, "outgoing", &no);
        if (r == 0)
                r = smtp_ehlo(smtp, &no);
        if (r == 0)
                r = login(smtp, &no);
        if (r == 0)
                r = smtp_check_sender(smtp, ME, ME, &no);
        if (r == 0)
                r = smtp_send(smtp, ME, ME, message, strlen(message), &reply, &no);
        if (r == 0)
                r = smtp_quit(smtp, &no);
        if (r < 0 && smtp)
                assert_true(smtp_quit(smtp, &no) < 0);
        assert_true(r == 0 || r == -ECANCELED);
}

static void test_cancelled(void **state)
{
        peer_play_cancelled(*state, ordinary, play_anything);
}

static void play_pipelined(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_check_sender(smtp, ME, ME, &no), 0);
        assert_int_equal(smtp_check_sender(smtp, ME, ME, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_MAIL);
        assert_int_equal(no.status, 550);
        assert_int_equal(smtp_check_sender(smtp, ME, ME, &no), 1);
        assert_int_equal(no.phase, PHASE_RCPT);
        assert_string_equal(no.code, "5.1.1");
        assert_int_equal(smtp_quit(smtp, &no), 0);
}

#define GROUP "c: MAIL FROM:<" ME ">", "c: RCPT TO:<" ME ">", "C: RSET"

static void test_pipelined(void **state)
{
        peer_play(*state,
                  (const char *[]){ GREETING,   EHLO,        "S: 250-x",        "S: 250 PIPELINING",
                                    GROUP,      "S: 250 a",  "S: 250 b",        "S: 250 c",
                                    GROUP,      "S: 550 no", "S: 503 no mail",  "S: 250 c",
                                    GROUP,      "S: 250 a",  "S: 550-5.1.1 no", "S: 550 user",
                                    "S: 250 c", "C: QUIT",   "S: 221 bye",      NULL },
                  play_pipelined);
}

/* --- greetings, EHLO, STARTTLS ------------------------------------------------------------------------------- */

static OutcomeKind greeting_kind;
static unsigned greeting_status;
static const char *greeting_text;

static void play_bad_greeting(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Smtp *smtp = NULL;

        assert_int_equal(smtp_open(&smtp, stream_take, transcript, "outgoing", &no), 1);
        assert_null(smtp);
        assert_int_equal(no.kind, greeting_kind);
        assert_int_equal(no.phase, PHASE_GREETING);
        assert_int_equal(no.status, greeting_status);
        assert_string_equal(no.text, greeting_text);
}

static void bad_greeting(Loop *loop, const char *line, OutcomeKind kind, unsigned status,
                         const char *text)
{
        greeting_kind = kind;
        greeting_status = status;
        greeting_text = text;
        peer_play(loop, (const char *[]){ line, NULL }, play_bad_greeting);
}

static void test_greetings(void **state)
{
        bad_greeting(*state, "S: 554 5.7.1 go away", OUTCOME_REPLY, 554, "go away");
        bad_greeting(*state, "S: 421-busy\r\n421 later", OUTCOME_REPLY, 421, "busy / later");
        bad_greeting(*state, "S: 200 news", OUTCOME_GARBAGE, 0, "200 news");
        bad_greeting(*state, "S: 250 Ok", OUTCOME_GARBAGE, 0, "250 Ok");
        bad_greeting(*state, "S: +OK POP3", OUTCOME_GARBAGE, 0, "+OK POP3");
        bad_greeting(*state, "S: * OK IMAP4rev1", OUTCOME_GARBAGE, 0, "* OK IMAP4rev1");
        bad_greeting(*state, "S: 220-one\r\nnonsense", OUTCOME_GARBAGE, 0, "nonsense");
        bad_greeting(*state, "X", OUTCOME_CLOSED, 0, "");
}

static void play_not_offered(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = opened(stream_take, transcript);
        _cleanup_(secret_unrefp) Secret *secret = peer_password();
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_ehlo(smtp, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_CAPABILITY);
        assert_int_equal(smtp_ehlo(smtp, &no), 0);
        assert_int_equal(smtp_start_tls(smtp, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_string_equal(no.text, "STARTTLS");
        assert_int_equal(
                smtp_login(smtp,
                           &(Login){ .user = "tim", .secret = secret, .allow_cleartext = false },
                           &no),
                -EPROTO);
        assert_int_equal(login(smtp, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(smtp_check_sender(smtp, "j\xc3\xb6rg@example.org", ME, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_string_equal(no.text, "SMTPUTF8");
        assert_int_equal(smtp_send(smtp, ME, ME, "\xc3\xb6\n", 3, NULL, &no), 1);
        assert_string_equal(no.text, "8BITMIME");
        assert_int_equal(smtp_send(smtp, ME, ME, "a\rb\n", 4, NULL, &no), -EINVAL);
        assert_int_equal(smtp_send(smtp, ME, ME, "a\0b\n", 4, NULL, &no), -EINVAL);
        assert_int_equal(smtp_send(smtp, ME, ME, "a\r", 2, NULL, &no), -EINVAL);
        assert_int_equal(smtp_check_sender(smtp, "a>\r\nDATA", ME, &no), -EINVAL);
        assert_int_equal(smtp_quit(smtp, &no), 0);
}

static void test_not_offered(void **state)
{
        peer_play(*state,
                  (const char *[]){ GREETING, EHLO, "S: 502 what?", EHLO, "S: 250 x", "C: QUIT",
                                    "S: 221 bye", NULL },
                  play_not_offered);
}

static void play_tls_refused(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_start_tls(smtp, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_STARTTLS);
        assert_int_equal(no.status, 454);
        assert_int_equal(smtp_quit(smtp, &no), 0);
}

static void test_tls_refused(void **state)
{
        peer_play(*state,
                  (const char *[]){ GREETING, EHLO, "S: 250-x", "S: 250 STARTTLS", "C: STARTTLS",
                                    "S: 454 4.7.0 not now", "C: QUIT", "S: 221 bye", NULL },
                  play_tls_refused);
}

static void serve_endless(Peer *peer)
{
        char line[256];

        peer_send(peer, "220 x\r\n", 7);
        assert_true(peer_read(peer, line, sizeof(line)));
        for (int i = 0; i < 40000; i++)
                peer_send(peer, "250-X-ANOTHER\r\n", 15);
}

static void play_endless(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_ehlo(smtp, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TOO_LONG);
        assert_int_equal(smtp_quit(smtp, &no), -ENOTCONN);
}

static void test_endless(void **state)
{
        peer_play_serve(*state, serve_endless, play_endless);
}

/* --- login -------------------------------------------------------------------------------------------------- */

static OutcomeKind login_kind;
static unsigned login_status;
static const char *login_code, *login_text;

static void play_login(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(login(smtp, &no), login_kind != OUTCOME_NONE);
        assert_int_equal(no.kind, login_kind);
        assert_int_equal(no.status, login_status);
        assert_string_equal(no.code, login_code);
        assert_string_equal(no.text, login_text);
        if (login_kind != OUTCOME_NONE)
                assert_int_equal(no.phase, PHASE_LOGIN);
        assert_null(memmem(no.first, no.first_len, PASSWORD, strlen(PASSWORD)));
}

static void logins(Loop *loop, const char *const *script, OutcomeKind kind, unsigned status,
                   const char *code, const char *text)
{
        login_kind = kind;
        login_status = status;
        login_code = code;
        login_text = text;
        peer_play(loop, script, play_login);
}

#define PLAIN_OFFERED GREETING, EHLO, "S: 250-x", "S: 250 AUTH PLAIN"
#define LOGIN_OFFERED GREETING, EHLO, "S: 250-x", "S: 250 AUTH=LOGIN"
#define AUTH "C: AUTH PLAIN " PLAIN_BASE64
#define USER_BASE64 "dGlt"

static void test_login(void **state)
{
        logins(*state,
               (const char *[]){ PLAIN_OFFERED, AUTH, "S: 534-5.7.9 Application password",
                                 "S: 534 5.7.9 needed", NULL },
               OUTCOME_REPLY, 534, "5.7.9", "Application password / needed");
        logins(*state,
               (const char *[]){ PLAIN_OFFERED, AUTH, "S: 535 '" PASSWORD "' is wrong", NULL },
               OUTCOME_REPLY, 535, "", "'******' is wrong");
        logins(*state, (const char *[]){ PLAIN_OFFERED, AUTH, "S: " PASSWORD, NULL },
               OUTCOME_GARBAGE, 0, "", "******");
        logins(*state, (const char *[]){ PLAIN_OFFERED, AUTH, "S: 235 2.7.0 ok", NULL },
               OUTCOME_NONE, 0, "", "");
        logins(*state,
               (const char *[]){ PLAIN_OFFERED, AUTH, "S: 334 ", "C: " PLAIN_BASE64, "S: 235 ok",
                                 NULL },
               OUTCOME_NONE, 0, "", "");
        logins(*state,
               (const char *[]){ PLAIN_OFFERED, AUTH, "S: 334", "C: " PLAIN_BASE64, "S: 334 more",
                                 "C: *", "S: 501 5.7.0 cancelled", NULL },
               OUTCOME_REPLY, 501, "5.7.0", "cancelled");
        logins(*state, (const char *[]){ PLAIN_OFFERED, AUTH, "X", NULL }, OUTCOME_CLOSED, 0, "",
               "");
        logins(*state,
               (const char *[]){ LOGIN_OFFERED, "C: AUTH LOGIN", "S: 334 VXNlcm5hbWU6",
                                 "C: " USER_BASE64, "S: 334 UGFzc3dvcmQ6", "C: " PASSWORD_BASE64,
                                 "S: 235 ok", NULL },
               OUTCOME_NONE, 0, "", "");
        /* in plain words, and asking once too often */
        logins(*state,
               (const char *[]){ LOGIN_OFFERED, "C: AUTH LOGIN",
                                 "S: 334 Username:", "C: " USER_BASE64,
                                 "S: 334 Password:", "C: " PASSWORD_BASE64, "S: 334 Again:", "C: *",
                                 "S: 535 5.7.8 no " PASSWORD_BASE64, NULL },
               OUTCOME_REPLY, 535, "5.7.8", "no ******");
        logins(*state,
               (const char *[]){ LOGIN_OFFERED, "C: AUTH LOGIN", "S: 504 5.5.4 unknown", NULL },
               OUTCOME_REPLY, 504, "5.5.4", "unknown");
}

/* --- refusals of a message ---------------------------------------------------------------------------------- */

static OutcomeKind send_kind;
static Phase send_phase;
static bool send_goes_on;

static void play_send(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_send(smtp, "j\xc3\xb6rg@example.org", ME, "\xc3\xb6", 2, NULL, &no),
                         1);
        assert_int_equal(no.kind, send_kind);
        assert_int_equal(no.phase, send_phase);
        assert_int_equal(smtp_quit(smtp, &no), send_goes_on ? 0 : -ENOTCONN);
}

static void sends(Loop *loop, const char *const *script, OutcomeKind kind, Phase phase,
                  bool goes_on)
{
        send_kind = kind;
        send_phase = phase;
        send_goes_on = goes_on;
        peer_play(loop, script, play_send);
}

#define UTF8_OFFERED GREETING, EHLO, "S: 250-x", "S: 250-8BITMIME", "S: 250 SMTPUTF8"
#define MAIL "C: MAIL FROM:<j\xc3\xb6rg@example.org> BODY=8BITMIME SMTPUTF8"
#define RCPT "C: RCPT TO:<" ME ">"
#define END "C: RSET", "S: 250 ok", "C: QUIT", "S: 221 bye", NULL
#define CONTENT "C: DATA", "S: 354 go", "c: \xc3\xb6", "C: ."

static void test_send_refused(void **state)
{
        sends(*state, (const char *[]){ UTF8_OFFERED, MAIL, "S: 553 5.7.1 not yours", END },
              OUTCOME_REPLY, PHASE_MAIL, true);
        sends(*state, (const char *[]){ UTF8_OFFERED, MAIL, "S: 250 ok", RCPT, "S: 550 no", END },
              OUTCOME_REPLY, PHASE_RCPT, true);
        sends(*state,
              (const char *[]){ UTF8_OFFERED, MAIL, "S: 250 ok", RCPT, "S: 250 ok", "C: DATA",
                                "S: 451 later", END },
              OUTCOME_REPLY, PHASE_DATA, true);
        sends(*state,
              (const char *[]){ UTF8_OFFERED, MAIL, "S: 250 ok", RCPT, "S: 250 ok", CONTENT,
                                "S: 552 5.2.2 full", "C: QUIT", "S: 221 bye", NULL },
              OUTCOME_REPLY, PHASE_DATA_END, true);
        /* unknown whether it was taken */
        sends(*state,
              (const char *[]){ UTF8_OFFERED, MAIL, "S: 250 ok", RCPT, "S: 250 ok", CONTENT, "X",
                                NULL },
              OUTCOME_CLOSED, PHASE_DATA_END, false);
        /* refused and gone: the refusal is told */
        sends(*state,
              (const char *[]){ UTF8_OFFERED, MAIL, "S: 421 4.7.0 too many", "X", "C: RSET", NULL },
              OUTCOME_REPLY, PHASE_MAIL, false);
}

static void test_send_unanswered(void **state)
{
        check_virtual_clock();
        sends(*state,
              (const char *[]){ UTF8_OFFERED, MAIL, "S: 250 ok", RCPT, "S: 250 ok", CONTENT, NULL },
              OUTCOME_TIMEOUT, PHASE_DATA_END, false);
}

/* --- sign-ins by token -------------------------------------------------------------------------------------- */

static int login_token(Smtp *smtp, const char *token, Outcome *no)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;

        assert_int_equal(secret_new(&secret, token, strlen(token)), 0);
        return smtp_login(smtp,
                          &(Login){ .user = "tim@example.org",
                                    .secret = secret,
                                    .token = true,
                                    .allow_cleartext = true },
                          no);
}

static void play_token(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_string_equal(smtp_login_method(smtp, &(Login){ .token = true }), "XOAUTH2");
        assert_int_equal(login_token(smtp, "stale", &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.status, 535);
        assert_string_equal(no.sasl, "400");
        assert_int_equal(login_token(smtp, "fresh", &no), 0);
}

/* RFC 4954 section 4: a short one goes along; the error is answered by an empty line. */
static void test_token(void **state)
{
        peer_play(*state,
                  (const char *[]){ GREETING, EHLO, "S: 250-x", "S: 250 AUTH PLAIN XOAUTH2",
                                    "C: AUTH XOAUTH2 "
                                    "dXNlcj10aW1AZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgc3RhbGUBAQ==",
                                    "S: 334 eyJzdGF0dXMiOiI0MDAifQ==", "C: ", "S: 535 5.7.8 no",
                                    "C: AUTH XOAUTH2 "
                                    "dXNlcj10aW1AZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgZnJlc2gBAQ==",
                                    "S: 235 2.7.0 ok", NULL },
                  play_token);
}

static void say(Peer *peer, const char *text)
{
        peer_send(peer, text, strlen(text));
}

static void serve_long_token(Peer *peer)
{
        static char line[64 * 1024];

        say(peer, "220 x\r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        say(peer, "250-x\r\n250 AUTH XOAUTH2\r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        assert_string_equal(line, "AUTH XOAUTH2");
        say(peer, "334 \r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        assert_true(strlen(line) > LIMIT_TOKEN * 4 / 3);
        say(peer, "235 ok\r\n");
}

static void play_long_token(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = greeted(stream_take, transcript);
        _cleanup_free_ char *token = malloc(LIMIT_TOKEN + 1);
        _cleanup_outcome_ Outcome no = {};

        memset(token, 'x', LIMIT_TOKEN);
        token[LIMIT_TOKEN] = 0;
        assert_int_equal(login_token(smtp, token, &no), 0);
}

static void test_long_token(void **state)
{
        peer_play_serve(*state, serve_long_token, play_long_token);
}

/* --- LMTP ---------------------------------------------------------------------------------------------------- */

#define LHLO "S: 220 x LMTP", "C: LHLO localhost"

static int deliver(Smtp *smtp, const char *content, Outcome *no)
{
        int r = smtp_deliver_begin(smtp, "tim", strlen(content), no);

        if (r == 0)
                r = smtp_deliver_write(smtp, content, 4, no);
        if (r == 0)
                r = smtp_deliver_write(smtp, content + 4, strlen(content) - 4, no);
        return r ? r : smtp_deliver_end(smtp, no);
}

static void play_lmtp(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(smtp_freep) Smtp *smtp = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(smtp_lhlo(smtp, &no), 0);
        assert_int_equal(deliver(smtp, "one\r\ntwo\r\n", &no), 0);
        assert_int_equal(deliver(smtp, "three\r\n", &no), 1);
        assert_int_equal(no.status, 554);
        assert_int_equal(no.phase, PHASE_DATA_END);
        outcome_reset(&no);
        assert_int_equal(deliver(smtp, "four\r\n", &no), 1);
        assert_int_equal(no.phase, PHASE_RCPT);
        outcome_reset(&no);
        assert_int_equal(deliver(smtp, "five\r\n", &no), 1);
        assert_int_equal(no.kind, OUTCOME_CLOSED);
        assert_int_equal(no.phase, PHASE_DATA_END);
}

/* Each content has its own answer; one that never comes is not known. */
static void test_lmtp(void **state)
{
        peer_play(*state,
                  (const char *[]){ LHLO,
                                    "S: 250 x",
                                    "C: MAIL FROM:<>",
                                    "S: 250 ok",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "C: DATA",
                                    "S: 354 go",
                                    "c: one",
                                    "c: two",
                                    "C: .",
                                    "S: 250 2.0.0 taken",
                                    "C: MAIL FROM:<>",
                                    "S: 250 ok",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "C: DATA",
                                    "S: 354 go",
                                    "c: three",
                                    "C: .",
                                    "S: 554 5.7.1 no",
                                    "C: MAIL FROM:<>",
                                    "S: 250 ok",
                                    "C: RCPT TO:<tim>",
                                    "S: 450 4.2.0 not now",
                                    "C: RSET",
                                    "S: 250 ok",
                                    "C: MAIL FROM:<>",
                                    "S: 250 ok",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "C: DATA",
                                    "S: 354 go",
                                    "c: five",
                                    "C: .",
                                    "X",
                                    NULL },
                  play_lmtp);
        peer_play(*state,
                  (const char *[]){ LHLO,
                                    "S: 250-x",
                                    "S: 250-PIPELINING",
                                    "S: 250 CHUNKING",
                                    "c: MAIL FROM:<>",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "S: 250 ok",
                                    "c: BDAT 10 LAST",
                                    "c: one",
                                    "C: two",
                                    "S: 250 taken",
                                    "c: MAIL FROM:<>",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "S: 250 ok",
                                    "c: BDAT 7 LAST",
                                    "C: three",
                                    "S: 554 5.7.1 no",
                                    "c: MAIL FROM:<>",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "S: 450 not now",
                                    "C: RSET",
                                    "S: 250 ok",
                                    "c: MAIL FROM:<>",
                                    "C: RCPT TO:<tim>",
                                    "S: 250 ok",
                                    "S: 250 ok",
                                    "c: BDAT 6 LAST",
                                    "C: five",
                                    "X",
                                    NULL },
                  play_lmtp);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                LOOP_TEST(test_ordinary),     LOOP_TEST(test_cancelled),
                LOOP_TEST(test_pipelined),    LOOP_TEST(test_greetings),
                LOOP_TEST(test_not_offered),  LOOP_TEST(test_tls_refused),
                LOOP_TEST(test_endless),      LOOP_TEST(test_login),
                LOOP_TEST(test_send_refused), LOOP_TEST(test_send_unanswered),
                LOOP_TEST(test_token),        LOOP_TEST(test_long_token),
                LOOP_TEST(test_lmtp),
        };

        return cmocka_run_group_tests_name("smtp", tests, NULL, NULL);
}
