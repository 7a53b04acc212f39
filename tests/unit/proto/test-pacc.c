/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PACC: the document's fields, both names of one key, and the digest in all the ways a record may be written. */
#include "tests/unit/base/check.h"

#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "proto/pacc.h"

static int parse(Pacc **ret, const char *text)
{
        return pacc_parse(ret, text, strlen(text));
}

static void test_whole(void **state)
{
        _cleanup_(pacc_freep) Pacc *p = NULL;

        assert_int_equal(
                parse(&p,
                      "{\"protocols\":{\"pop3\":{\"host\":\"POP.Example.org\"},\"imap\":{\"host\":\"imap.example.org\"},"
                      "\"submit\":{\"host\":\"smtp.example.org\"},\"jmap\":{\"url\":\"https://x/\"}},"
                      "\"authentication\":{\"password\":false,\"oauth-public\":{\"issuer\":\"https://login.example.org\"}},"
                      "\"info\":{\"provider\":{\"name\":\"Example\"},\"help\":{\"documentation\":\"https://help.example.org/\"}}}"),
                0);
        assert_string_equal(p->pop3, "pop.example.org");
        assert_string_equal(p->imap, "imap.example.org");
        assert_string_equal(p->submit, "smtp.example.org");
        assert_true(p->no_password);
        assert_string_equal(p->oauth_issuer, "https://login.example.org");
        assert_string_equal(p->name, "Example");
        assert_string_equal(p->documentation, "https://help.example.org/");
}

static void test_older_name(void **state)
{
        _cleanup_(pacc_freep) Pacc *p = NULL;

        assert_int_equal(parse(&p, "{\"protocols\":{\"smtp\":{\"host\":\"a.example\"}}}"), 0);
        assert_string_equal(p->submit, "a.example");
        assert_false(p->no_password);
}

static void test_refused(void **state)
{
        static const char *const wrong[] = {
                "",
                "{}",
                "[]",
                "null",
                "{\"protocols\":{}}",
                "{\"protocols\":[{\"host\":\"a.example\"}]}",
                "{\"protocols\":{\"pop3\":\"a.example\"}}",
                "{\"protocols\":{\"pop3\":{\"host\":5}}}",
                "{\"protocols\":{\"pop3\":{\"host\":\"127.0.0.1\"}}}",
                "{\"protocols\":{\"pop3\":{\"host\":\"a b\"}}}",
                "{\"protocols\":{\"pop3\":{\"host\":\"a.example\"}}} x",
        };
        _cleanup_(pacc_freep) Pacc *p = NULL;

        for (size_t i = 0; i < ELEMENTS(wrong); i++)
                assert_int_equal(parse(&p, wrong[i]), -EBADMSG);
}

static void test_only_https(void **state)
{
        _cleanup_(pacc_freep) Pacc *p = NULL;

        assert_int_equal(
                parse(&p, "{\"protocols\":{\"pop3\":{\"host\":\"a.example\"}},\"authentication\":"
                          "{\"oauth-public\":{\"issuer\":\"http://login.example\"}},"
                          "\"info\":{\"help\":{\"documentation\":\"javascript:alert(1)\"}}}"),
                0);
        assert_null(p->oauth_issuer);
        assert_null(p->documentation);
}

static bool matches(const char *format, const char *body)
{
        _cleanup_buffer_ Buffer base64 = BUFFER(128);
        uint8_t digest[SHA256_LEN];
        char record[256];
        char *records[] = { (char[]){ "unrelated" }, record, NULL };
        const char *at = strstr(format, "%s");

        assert_int_equal(sha256("document", 8, digest), 0);
        assert_int_equal(base64_encode(&base64, digest, sizeof(digest)), 0);
        snprintf(record, sizeof(record), "%.*s%s%s", (int) (at - format), format, base64.data,
                 at + 2);
        return pacc_digest_matches(records, body, strlen(body));
}

static void test_digest(void **state)
{
        assert_true(matches("v=UAAC1; a=sha256; d=%s", "document"));
        assert_true(matches("v=UAAC1;a=sha256;d=%s;", "document"));
        assert_true(matches("  d=%s ;x=y; a = sha256;v =UAAC1 ; ", "document"));
        assert_false(matches("v=UAAC1; a=sha256; d=%s", "documenT"));
        assert_false(matches("v=UAAC2; a=sha256; d=%s", "document"));
        assert_false(matches("v=UAAC1; a=sha1; d=%s", "document"));
        assert_false(matches("v=UAAC1; a=sha256; d=A%s", "document"));
        assert_false(matches("a=sha256; d=%s", "document"));
        assert_false(matches("v=UAAC1; a=sha256; e=%s", "document"));
        assert_false(pacc_digest_matches(NULL, "document", 8));
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_whole),   cmocka_unit_test(test_older_name),
                cmocka_unit_test(test_refused), cmocka_unit_test(test_only_https),
                cmocka_unit_test(test_digest),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
