/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rule engine on rules of the test's own: what counts as a sign, what is refused, and that documents of an administrator go first. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tests/unit/base/check.h"

#include "base/text.h"
#include "probe/cause.h"
#include "probe/plain.h"
#include "probe/reply.h"

static const char document[] =
        "{\"concepts\": {\"wrong\": [\"bad\", \"inval*\", \"密码错\"], \"word\": [\"password\", \"pass word\"], \"off\": [\"not ~ on\", \"*abled\"]},"
        " \"providers\": {\"acme\": {\"names\": [\"acme.example\"], \"hosts\": [\"acme.example\"], \"words\": [\"acmesmtp\"]}},"
        " \"rules\": ["
        "  {\"cause\": \"test.code\", \"code\": [\"X-CODE\", \"5.7.1\"]},"
        "  {\"cause\": \"test.acme\", \"provider\": [\"acme\"], \"words\": [\"wrong\"]},"
        "  {\"cause\": \"test.off\", \"words\": [\"off\"], \"protocol\": [\"pop3\"], \"confidence\": \"high\"},"
        "  {\"cause\": \"test.login\", \"phase\": [\"login\"], \"words\": [\"wrong word\", \"wrong @no\"], \"not\": \"off\"},"
        "  {\"cause\": \"test.status\", \"code\": [\"535\"]},"
        "  {\"cause\": \"test.bare\", \"words\": [\"@bare @bye\"]},"
        "  {\"cause\": \"test.four\", \"words\": [\"@4xx\"], \"confidence\": \"low\"}]}";

static const char *ask(const char *protocol, const char *phase, const char *provider,
                       const char *host, const char *line)
{
        ReplyQuestion question = {
                .protocol = protocol, .phase = phase, .provider = provider, .host = host
        };
        ReplyVerdict verdict;

        reply_explain(&question, &line, 1, &verdict);
        return verdict.cause;
}

static int setup(void **state)
{
        _cleanup_free_ char *reason = NULL;

        return replies_load_text(document, strlen(document), &reason);
}

static int teardown(void **state)
{
        replies_unload();
        return 0;
}

static void test_signs(void **state)
{
        static const struct {
                const char *cause, *protocol, *phase, *provider, *host, *line;
        } table[] = {
                { "test.code", "pop3", "login", NULL, NULL, "-ERR [X-CODE] something" },
                { "test.code", "pop3", "login", NULL, NULL, "-ERR [x-code something] something" },
                { "test.code", "smtp", "rcpt", NULL, NULL, "554 5.7.1 something" },
                { "test.code", "smtp", "rcpt", NULL, NULL, "554 something (#5.7.1)" },
                { "", "smtp", "rcpt", NULL, NULL, "554 version 5.7.1.2 and 5.7.10" },
                { "test.acme", "smtp", "rcpt", "ACME", NULL, "554 bad" },
                { "test.acme", "smtp", "rcpt", "acme.example", NULL, "554 bad" },
                { "test.acme", "smtp", "rcpt", NULL, "mx.Acme.example", "554 bad" },
                { "", "smtp", "rcpt", NULL, "mx.notacme.example", "554 bad" },
                { "test.acme", "smtp", "rcpt", NULL, NULL, "554 bad ACMESMTP 12" },
                { "test.off", "pop3", NULL, NULL, NULL, "it is not really switched on" },
                { "", "pop3", NULL, NULL, NULL, "not one two three four on" },
                { "", "pop3", NULL, NULL, NULL, "on, or not" },
                { "test.off", "pop3", NULL, NULL, NULL, "disabled" },
                { "", "pop3", NULL, NULL, NULL, "unablednow" },
                { "", "imap", NULL, NULL, NULL, "disabled" },
                { "test.login", "imap", "login", NULL, NULL, "a NO invalid-password" },
                { "test.login", NULL, "auth", NULL, NULL, "Invalid pass\tword" },
                { "test.login", "imap", "AUTHENTICATE", NULL, NULL, "NO 密码错误" },
                { "", "imap", "select", NULL, NULL, "a NO invalid password" },
                { "", "imap", "login", NULL, NULL, "a NO invalid password, disabled" },
                { "test.status", "smtp", "auth", NULL, NULL, "535 no" },
                { "test.status", NULL, "auth", NULL, NULL,
                  "SMTPAuthenticationError: (535, b'no')" },
                { "", NULL, "auth", NULL, NULL, "port 535 is open" },
                { "test.bare", "imap", NULL, NULL, NULL, "* BYE" },
                { "test.four", "smtp", "mail", NULL, NULL, "451-one" },
                { "test.four", NULL, NULL, NULL, NULL, "deferred (4.2.0)" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_string_equal(ask(table[i].protocol, table[i].phase, table[i].provider,
                                        table[i].host, table[i].line),
                                    table[i].cause);
}

/* What is wrong in a document is told, and the rules that stood stay. */
static void test_refused(void **state)
{
        static const char *const documents[] = {
                "",
                "[]",
                "{\"rules\": [{\"cause\": \"a.b\", \"words\": [\"nobody-knows\"]}]}",
                "{\"rules\": [{\"words\": [\"@wire\"]}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"phase\": [\"lunch\"]}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"protocol\": [\"gopher\"]}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"confidence\": \"total\"}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"colour\": \"red\"}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"words\": [\"\"]}]}",
                "{\"rules\": [{\"cause\": \"a.b\", \"words\": [\"@nothing\"]}]}",
                "{\"rules\": [1]}",
                "{\"concepts\": {\"a b\": []}}",
                "{\"concepts\": {\"a\": [\"one two three four five\"]}}",
                "{\"concepts\": {\"a\": [\"one ~ two ~ three\"]}}",
                "{\"concepts\": {\"a\": [\"\"]}}",
                "{\"concepts\": {\"a\": [\"...\"]}}",
                "{\"concepts\": {\"a\": \"b\"}}",
                "{\"rulez\": []}",
                "{\"providers\": {\"p\": {\"hosts\": \"h\"}}}",
        };

        for (size_t i = 0; i < ELEMENTS(documents); i++) {
                _cleanup_free_ char *reason = NULL;

                assert_int_equal(replies_load_text(documents[i], strlen(documents[i]), &reason),
                                 -EBADMSG);
                assert_non_null(reason);
        }
        assert_string_equal(ask("pop3", NULL, NULL, NULL, "disabled"), "test.off");
}

static void write_file(const char *directory, const char *name, const char *text)
{
        _cleanup_free_ char *path = NULL;
        FILE *file;

        assert_int_equal(text_format(&path, "%s/%s", directory, name), 0);
        file = fopen(path, "we");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
}

static void test_administrator(void **state)
{
        char directory[] = "/tmp/waypost-rules-XXXXXX";

        assert_non_null(mkdtemp(directory));
        assert_int_equal(causes_load(), 0);
        write_file(
                directory, "10-house.json",
                "{\"concepts\": {\"house\": [\"house rule\"], \"password\": [\"magic word\"]},"
                " \"rules\": [{\"cause\": \"access.blocked-by-policy\", \"words\": [\"house\"], \"confidence\": \"high\"}]}");
        write_file(directory, "20-broken.json", "{\"rules\": [{\"cause\": ");
        write_file(directory, "30-unknown.json",
                   "{\"rules\": [{\"cause\": \"no.such-cause\", \"words\": [\"@wire\"]}]}");
        write_file(directory, "40-ignored.txt", "not read");
        assert_int_equal(replies_load(directory), 0);
        assert_string_equal(ask("pop3", "login", NULL, NULL, "-ERR [AUTH] House rule 7"),
                            "access.blocked-by-policy");
        assert_string_equal(ask("pop3", "login", NULL, NULL, "-ERR wrong magic word"),
                            "auth.bad-credentials");
        assert_string_equal(ask("pop3", "login", NULL, NULL, "-ERR [IN-USE] another one"),
                            "mailbox.locked");
        assert_int_equal(replies_load("/nonexistent/replies.d"), 0);
        assert_string_equal(ask("pop3", "login", NULL, NULL, "-ERR [AUTH] House rule 7"),
                            "auth.bad-credentials");
        causes_unload();
        for (unsigned i = 1; i <= 4; i++) {
                static const char *const names[] = { "10-house.json", "20-broken.json",
                                                     "30-unknown.json", "40-ignored.txt" };
                _cleanup_free_ char *path = NULL;

                assert_int_equal(text_format(&path, "%s/%s", directory, names[i - 1]), 0);
                assert_int_equal(unlink(path), 0);
        }
        assert_int_equal(rmdir(directory), 0);
        assert_int_equal(setup(state), 0);
}

static double seconds(const char *line, unsigned times)
{
        struct timespec from, to;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
        for (unsigned i = 0; i < times; i++)
                (void) ask("smtp", "data", NULL, NULL, line);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
        return (double) (to.tv_sec - from.tv_sec) + (double) (to.tv_nsec - from.tv_nsec) / 1e9;
}

/* Twice the text may take three times as long, not four: nothing is quadratic, whatever is repeated. */
static void test_linear(void **state)
{
        static const char *const parts[] = { "not ", "[X-CODE",     "a",        "5.7.1 ",
                                             "eyJ",  "inval inval", "\xe4\xb8", "535 " };
        static char half[PLAIN_MAX / 6], whole[PLAIN_MAX / 3];

        for (size_t p = 0; p < ELEMENTS(parts); p++) {
                size_t len = strlen(parts[p]);

                for (size_t i = 0; i < sizeof(whole) - 1; i++)
                        whole[i] = parts[p][i % len];
                memcpy(half, whole, sizeof(half) - 1);
                assert_true(seconds(whole, 200) < 3 * seconds(half, 200) + 0.2);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_signs),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_administrator),
                cmocka_unit_test(test_linear),
        };

        return cmocka_run_group_tests_name("probe/rules", tests, setup, teardown);
}
