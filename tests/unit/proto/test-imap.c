/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IMAP responses in, facts out: as the servers of the world say them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "proto/imap.h"

static bool is(const char *p, size_t len, const char *text)
{
        return p && strlen(text) == len && memcmp(p, text, len) == 0;
}

static void test_status(void **state)
{
        static const struct {
                const char *line;
                ImapKind kind;
                ImapStatus status;
                const char *tag, *code, *arguments, *text;
        } table[] = {
                { "* OK Dovecot ready.", IMAP_UNTAGGED, IMAP_OK, "", "", "", "Dovecot ready." },
                { "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] Dovecot (Debian) ready.",
                  IMAP_UNTAGGED, IMAP_OK, "", "CAPABILITY", "IMAP4rev1 SASL-IR AUTH=PLAIN",
                  "Dovecot (Debian) ready." },
                { "* PREAUTH IMAP4rev1 server logged in as Smith", IMAP_UNTAGGED, IMAP_PREAUTH, "",
                  "", "", "IMAP4rev1 server logged in as Smith" },
                { "* BYE Autologout; idle for too long", IMAP_UNTAGGED, IMAP_BYE, "", "", "",
                  "Autologout; idle for too long" },
                { "* BYE", IMAP_UNTAGGED, IMAP_BYE, "", "", "", "" },
                { "* bye [UNAVAILABLE]later", IMAP_UNTAGGED, IMAP_BYE, "", "UNAVAILABLE", "",
                  "later" },
                { "*  OK  two  blanks", IMAP_UNTAGGED, IMAP_OK, "", "", "", "two  blanks" },
                { "w1 OK done", IMAP_TAGGED, IMAP_OK, "w1", "", "", "done" },
                { "w1 ok", IMAP_TAGGED, IMAP_OK, "w1", "", "", "" },
                { "w1 OK[READ-ONLY] x", IMAP_TAGGED, IMAP_OK, "w1", "READ-ONLY", "", "x" },
                { "w1 NO [AUTHENTICATIONFAILED] Authentication failed.", IMAP_TAGGED, IMAP_NO, "w1",
                  "AUTHENTICATIONFAILED", "", "Authentication failed." },
                { "w1 NO [ALERT] Please log in via your web browser: https://x/ (Failure)",
                  IMAP_TAGGED, IMAP_NO, "w1", "ALERT", "",
                  "Please log in via your web browser: https://x/ (Failure)" },
                { "w1 BAD User is authenticated but not connected.", IMAP_TAGGED, IMAP_BAD, "w1",
                  "", "", "User is authenticated but not connected." },
                /* Exchange: an error inside an OK; the quotes hold no bracket here, but might. */
                { "w1 OK [Error=\"UserDisabled\" AuthResult=27] AUTHENTICATE completed.",
                  IMAP_TAGGED, IMAP_OK, "w1", "", "",
                  "[Error=\"UserDisabled\" AuthResult=27] AUTHENTICATE completed." },
                { "w1 OK [X-A \"b]c\"] d", IMAP_TAGGED, IMAP_OK, "w1", "X-A", "\"b]c\"", "d" },
                { "w1 OK [X-A \"b\\\"]c\"] d", IMAP_TAGGED, IMAP_OK, "w1", "X-A", "\"b\\\"]c\"",
                  "d" },
                { "w1 OK [X-A \"b] d", IMAP_TAGGED, IMAP_OK, "w1", "X-A", "\"b", "d" },
                { "w1 OK [not closed", IMAP_TAGGED, IMAP_OK, "w1", "", "", "[not closed" },
                { "w1 OK [] x", IMAP_TAGGED, IMAP_OK, "w1", "", "", "[] x" },
                { "* OK [UIDVALIDITY 3857529045] UIDs valid", IMAP_UNTAGGED, IMAP_OK, "",
                  "UIDVALIDITY", "3857529045", "UIDs valid" },
                { "* OK [PERMANENTFLAGS (\\Deleted \\*)] Limited", IMAP_UNTAGGED, IMAP_OK, "",
                  "PERMANENTFLAGS", "(\\Deleted \\*)", "Limited" },
                { "* NO [OVERQUOTA] Account exceeded command or bandwidth limits.", IMAP_UNTAGGED,
                  IMAP_NO, "", "OVERQUOTA", "", "Account exceeded command or bandwidth limits." },
                { "w3 NO SELECT Unsafe Login. Please contact kefu@188.com for help", IMAP_TAGGED,
                  IMAP_NO, "w3", "", "",
                  "SELECT Unsafe Login. Please contact kefu@188.com for help" },
                { "+ ", IMAP_CONTINUATION, IMAP_DATA, "", "", "", "" },
                { "+", IMAP_CONTINUATION, IMAP_DATA, "", "", "", "" },
                { "+ idling", IMAP_CONTINUATION, IMAP_DATA, "", "", "", "idling" },
                { "+ eyJzdGF0dXMiOiI0MDAifQ==", IMAP_CONTINUATION, IMAP_DATA, "", "", "",
                  "eyJzdGF0dXMiOiI0MDAifQ==" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *words = strstr(table[i].line, table[i].text);
                ImapReply reply;

                assert_int_equal(imap_parse_reply(&reply, table[i].line, strlen(table[i].line)), 0);
                assert_int_equal(reply.kind, table[i].kind);
                assert_int_equal(reply.status, table[i].status);
                assert_true(is(reply.tag ?: "", reply.tag_len, table[i].tag));
                assert_string_equal(reply.code, table[i].code);
                assert_true(is(reply.arguments ?: "", reply.arguments_len, table[i].arguments));
                assert_true(is(reply.text, reply.text_len, table[i].text));
                assert_non_null(words);
                assert_true(reply.words + reply.words_len == table[i].line + strlen(table[i].line));
        }
}

static void test_no_imap(void **state)
{
        static const char *const lines[] = {
                "",
                "*",
                "* ",
                "+OK POP3 ready",
                "-ERR",
                "220 smtp",
                "HTTP/1.1 400 Bad Request",
                "w1",
                "w1 ",
                "w1 PREAUTH x",
                "w1 BYE x",
                "w1 FETCH x",
                " OK",
                "(w1 OK x",
                "w1\x01 OK x",
                "* 99999999999 EXISTS",
                "* 12x EXISTS",
                "* 12",
                "123456789012345678901234567890123 OK tag of 33",
        };

        for (size_t i = 0; i < ELEMENTS(lines); i++) {
                ImapReply reply;

                assert_int_equal(imap_parse_reply(&reply, lines[i], strlen(lines[i])), -EBADMSG);
        }
}

static void test_data(void **state)
{
        static const struct {
                const char *line, *name;
                bool numbered;
                uint32_t number;
                const char *data;
        } table[] = {
                { "* 172 EXISTS", "EXISTS", true, 172, "" },
                { "* 0 exists", "EXISTS", true, 0, "" },
                { "* 12 FETCH (UID 4)", "FETCH", true, 12, "(UID 4)" },
                { "* FLAGS (\\Seen)", "FLAGS", false, 0, "(\\Seen)" },
                { "* SEARCH", "SEARCH", false, 0, "" },
                { "* SEARCH 2 84 882", "SEARCH", false, 0, "2 84 882" },
                { "* VANISHED (EARLIER) 41,43:116", "VANISHED", false, 0, "(EARLIER) 41,43:116" },
                { "* NOTHING-THAT-WE-HAVE-EVER-HEARD-OF x", "", false, 0, "x" },
                { "* OKAY x", "OKAY", false, 0, "x" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                ImapReply reply;

                assert_int_equal(imap_parse_reply(&reply, table[i].line, strlen(table[i].line)), 0);
                assert_int_equal(reply.status, IMAP_DATA);
                assert_string_equal(reply.name, table[i].name);
                assert_int_equal(reply.numbered, table[i].numbered);
                assert_int_equal(reply.number, table[i].number);
                assert_true(is(reply.data, reply.data_len, table[i].data));
        }
}

static void test_literal(void **state)
{
        static const struct {
                const char *line;
                int r;
                uint64_t size;
                size_t octets;
        } table[] = {
                { "* 1 FETCH (BODY[] {12}", 1, 12, 4 },
                { "{0}", 1, 0, 3 },
                { "x {3+}", 1, 3, 4 },
                { "x ~{3}", 1, 3, 4 },
                { "x {9223372036854775807}", 1, INT64_MAX, 21 },
                { "x {9223372036854775808}", -EBADMSG, 0, 0 },
                { "x {99999999999999999999999999}", -EBADMSG, 0, 0 },
                { "x {}", 0, 0, 0 },
                { "x {-1}", 0, 0, 0 },
                { "x {+}", 0, 0, 0 },
                { "x {1", 0, 0, 0 },
                { "x 1}", 0, 0, 0 },
                { "1}", 0, 0, 0 },
                { "}", 0, 0, 0 },
                { "", 0, 0, 0 },
                { "w1 NO see {12} please", 0, 0, 0 },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                uint64_t size = 0;
                size_t octets = 0;

                assert_int_equal(
                        imap_literal_at_end(table[i].line, strlen(table[i].line), &size, &octets),
                        table[i].r);
                assert_int_equal(size, table[i].size);
                assert_int_equal(octets, table[i].octets);
        }
}

static void test_fetch(void **state)
{
        static const struct {
                const char *data;
                int r;
                uint32_t uid;
                unsigned flags;
                ImapBody body;
                const char *content;
        } table[] = {
                { "(UID 4 FLAGS (\\Seen \\answered $Junk) BODY[] {5}", 1, 4,
                  IMAP_SEEN | IMAP_ANSWERED, IMAP_BODY_FOLLOWS, NULL },
                { "(UID 4 BODY[] {0}\r\n FLAGS (\\Deleted))", 0, 4, IMAP_DELETED, IMAP_BODY_HERE,
                  "" },
                { "(BODY[] {3}\r\na)b UID 9)", 0, 9, 0, IMAP_BODY_HERE, "a)b" },
                { "(BODY[] {3}", 1, 0, 0, IMAP_BODY_FOLLOWS, NULL },
                { "(UID 1 BODY[] NIL)", 0, 1, 0, IMAP_BODY_NIL, NULL },
                { "(UID 1 BODY[] \"a\\\"b\")", 0, 1, 0, IMAP_BODY_HERE, "a\\\"b" },
                { "(uid 1 body[]<0> {3}", 1, 1, 0, IMAP_BODY_FOLLOWS, NULL },
                { "(UID 1 BODY[HEADER.FIELDS (DATE \"x]\")] {3}", 1, 1, 0, IMAP_BODY_FOLLOWS,
                  NULL },
                { "(UID 1 RFC822 {3}", 1, 1, 0, IMAP_BODY_FOLLOWS, NULL },
                { "(RFC822.SIZE 44827 UID 7)", 0, 7, 0, IMAP_BODY_NONE, NULL },
                { "(X-GM-LABELS (\"\\\\Inbox\" {2}\r\n)( (a (b))) X-GM-MSGID 1278455344230334865 UID 7)",
                  0, 7, 0, IMAP_BODY_NONE, NULL },
                { "(ENVELOPE (NIL {4}", 1, 0, 0, IMAP_BODY_NONE, NULL },
                { "(INTERNALDATE \"17-Jul-1996 02:44:25 -0700\" MODSEQ (624140003) UID 2)", 0, 2, 0,
                  IMAP_BODY_NONE, NULL },
                { "(UID  5   FLAGS  ()  )", 0, 5, 0, IMAP_BODY_NONE, NULL },
                { "()", 0, 0, 0, IMAP_BODY_NONE, NULL },
                { "(UID 0)", -EBADMSG },
                { "(UID 4294967296)", -EBADMSG },
                { "(UID -1)", -EBADMSG },
                { "(UID)", -EBADMSG },
                { "(UID 1", -EBADMSG },
                { "UID 1", -EBADMSG },
                { "", -EBADMSG },
                { "(BODY[] {5}\r\nabc)", -EBADMSG },
                { "(BODY[ {5}", -EBADMSG },
                { "(BODY[] {5} x)", -EBADMSG },
                { "(BODY[] \"abc)", -EBADMSG },
                { "(FLAGS (\\Seen (x)) UID 1)", -EBADMSG },
                { "(X (((()))", -EBADMSG },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                ImapFetch fetch = {};

                assert_int_equal(imap_parse_fetch(&fetch, table[i].data, strlen(table[i].data)),
                                 table[i].r);
                assert_int_equal(fetch.uid, table[i].uid);
                assert_int_equal(fetch.flags, table[i].flags);
                assert_int_equal(fetch.body, table[i].body);
                if (table[i].content)
                        assert_true(is(fetch.data, fetch.data_len, table[i].content));
        }
}

static void test_deep(void **state)
{
        _cleanup_buffer_ Buffer deep = BUFFER(1 << 20);
        ImapFetch fetch;

        assert_int_equal(buffer_append_text(&deep, "(X "), 0);
        for (size_t i = 0; i < 200000; i++)
                assert_int_equal(buffer_append_text(&deep, "("), 0);
        assert_int_equal(imap_parse_fetch(&fetch, deep.data, deep.len), -EBADMSG);
}

static void test_capabilities(void **state)
{
        static const char dovecot[] =
                "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE LITERAL+ STARTTLS "
                "LOGINDISABLED AUTH=PLAIN auth=login AUTH=PLAIN UIDPLUS ESEARCH";
        ImapCapabilities c = {};

        assert_int_equal(imap_parse_capabilities(&c, dovecot, strlen(dovecot)), 0);
        assert_true(c.known && c.rev1 && c.sasl_ir && c.id && c.enable && c.idle &&
                    c.literal_plus && c.starttls && c.login_disabled && c.uidplus);
        assert_false(c.rev2 || c.literal_minus || c.special_use);
        assert_int_equal(list_len(c.sasl), 2);
        assert_string_equal(c.sasl[1], "LOGIN");
        assert_int_equal(list_len(c.list), 14);
        /* What was known before is gone. */
        assert_int_equal(imap_parse_capabilities(&c, "IMAP4rev2", 9), 0);
        assert_true(c.rev2 && c.sasl_ir && c.uidplus && c.literal_minus);
        assert_false(c.rev1 || c.starttls);
        assert_null(c.sasl);
        imap_capabilities_clear(&c);
        assert_false(c.known);
}

static void test_list(void **state)
{
        static const struct {
                const char *data;
                int r;
                bool selectable;
                ImapUse use;
                char delimiter;
                const char *name;
        } table[] = {
                { "(\\HasNoChildren) \".\" INBOX", 0, true, IMAP_USE_NONE, '.', "INBOX" },
                { "(\\Marked) \"/\" inbox", 0, true, IMAP_USE_NONE, '/', "INBOX" },
                { "(\\HasChildren \\Noselect) \"/\" \"[Gmail]\"", 0, false, IMAP_USE_NONE, '/',
                  "[Gmail]" },
                { "(\\HasNoChildren \\Sent) \"/\" \"[Gmail]/Sent Mail\"", 0, true, IMAP_USE_SENT,
                  '/', "[Gmail]/Sent Mail" },
                { "() NIL \"a\\\"b\\\\c\"", 0, true, IMAP_USE_NONE, 0, "a\"b\\c" },
                { "() \"\\\\\" {6}\r\nab cd(", 0, true, IMAP_USE_NONE, '\\', "ab cd(" },
                { "(\\Junk) \"|\" Junk E-mail", 0, true, IMAP_USE_JUNK, '|', "Junk E-mail" },
                { "() \"/\" a (\"CHILDINFO\" (\"SUBSCRIBED\"))", 0, true, IMAP_USE_NONE, '/', "a" },
                { "() \"/\" {3}", -EBADMSG },
                { "() \"/\" ", -EBADMSG },
                { "() \"/\" \"\"", -EBADMSG },
                { "() \"//\" a", -EBADMSG },
                { "() / a", -EBADMSG },
                { "(x \"/\" a", -EBADMSG },
                { "() \"/\" \"a\nb\"", -EBADMSG },
        };
        _cleanup_buffer_ Buffer big = BUFFER(4096);
        ImapFolder folder;

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                assert_int_equal(imap_parse_list(&folder, table[i].data, strlen(table[i].data)),
                                 table[i].r);
                if (table[i].r < 0)
                        continue;
                assert_int_equal(folder.selectable, table[i].selectable);
                assert_int_equal(folder.use, table[i].use);
                assert_int_equal(folder.delimiter, table[i].delimiter);
                assert_string_equal(folder.name, table[i].name);
        }
        assert_int_equal(buffer_append_text(&big, "() \"/\" "), 0);
        for (size_t i = 0; i <= LIMIT_FOLDER; i++)
                assert_int_equal(buffer_append_text(&big, "x"), 0);
        assert_int_equal(imap_parse_list(&folder, big.data, big.len), -EBADMSG);
        assert_int_equal(imap_parse_list(&folder, big.data, big.len - 1), 0);
}

static void test_sets(void **state)
{
        static const uint32_t uids[] = { 1, 2, 3, 7, 9, 10, UINT32_MAX };
        _cleanup_buffer_ Buffer text = BUFFER(100);

        assert_int_equal(imap_set_append(&text, uids, ELEMENTS(uids), 100), ELEMENTS(uids));
        assert_string_equal(text.data, "1:3,7,9:10,4294967295");
        buffer_clear(&text);
        assert_int_equal(imap_set_append(&text, uids, ELEMENTS(uids), 8), 4);
        assert_string_equal(text.data, "1:3,7");
}

static void test_quote(void **state)
{
        _cleanup_buffer_ Buffer text = BUFFER(100);

        assert_int_equal(imap_quote(&text, "a\"b\\c d", 7), 0);
        assert_string_equal(text.data, "\"a\\\"b\\\\c d\"");
        assert_int_equal(imap_quote(&text, "x\r\nw2 LOGOUT", 12), 1);
        assert_int_equal(imap_quote(&text, "\xc3\xa4", 2), 1);
        assert_int_equal(imap_quote(&text, "a\0b", 3), -EINVAL);
        assert_string_equal(text.data, "\"a\\\"b\\\\c d\"");
}

static void test_names(void **state)
{
        static const struct {
                const char *wire, *name;
        } table[] = {
                { "INBOX", "INBOX" },
                { "~peter/mail/&U,BTFw-/&ZeVnLIqe-", "~peter/mail/台北/日本語" },
                { "Entw&APw-rfe", "Entwürfe" },
                { "Tom &- Jerry", "Tom & Jerry" },
                { "&2D3eAA-", "\xf0\x9f\x98\x80" },
        };
        static const char *const bad[] = { "&",    "&AGE", "&2D0-",    "&3gA-", "&AGEh-",
                                           "&AA-", "&!-",  "\xc3\xa4", "&AAo-" };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_buffer_ Buffer a = BUFFER(100), b = BUFFER(100);

                assert_int_equal(imap_name_to_utf8(&a, table[i].wire), 0);
                assert_string_equal(a.data, table[i].name);
                assert_int_equal(imap_name_from_utf8(&b, table[i].name), 0);
                assert_string_equal(b.data, table[i].wire);
        }
        for (size_t i = 0; i < ELEMENTS(bad); i++) {
                _cleanup_buffer_ Buffer a = BUFFER(100);

                assert_int_equal(imap_name_to_utf8(&a, bad[i]), -EINVAL);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status),       cmocka_unit_test(test_no_imap),
                cmocka_unit_test(test_data),         cmocka_unit_test(test_literal),
                cmocka_unit_test(test_fetch),        cmocka_unit_test(test_deep),
                cmocka_unit_test(test_capabilities), cmocka_unit_test(test_list),
                cmocka_unit_test(test_sets),         cmocka_unit_test(test_quote),
                cmocka_unit_test(test_names),
        };

        return cmocka_run_group_tests_name("imap", tests, NULL, NULL);
}
