/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The IMAP dialogue against scripted servers, split at every octet. */
#include "tests/unit/talk/peer.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "config.h"
#include "talk/imap.h"

#define ID_LINE "ID (\"name\" \"waypost\" \"version\" \"" PACKAGE_VERSION "\")"

/* What a sink was given: "0(content)0=7 " for a message of index 0 with flags 7, "1!CODE " for a refusal, "2- " for one that is gone. */
static int seen_begin(void *userdata, size_t index, uint64_t octets)
{
        return buffer_printf(userdata, "%zu(", index);
}

static int seen_data(void *userdata, size_t index, const char *data, size_t len)
{
        return buffer_append(userdata, data, len);
}

static int seen_end(void *userdata, size_t index, uint32_t uid, unsigned flags)
{
        return buffer_printf(userdata, ")%zu:%u=%u ", index, uid, flags);
}

static int seen_refused(void *userdata, size_t index, const Outcome *no)
{
        assert_int_equal(no->kind, OUTCOME_REPLY);
        return buffer_printf(userdata, "%zu!%s ", index, no->code);
}

static int seen_gone(void *userdata, size_t index)
{
        return buffer_printf(userdata, "%zu- ", index);
}

static const ImapSink sink = { seen_begin, seen_data, seen_end, seen_refused, seen_gone };

static Imap *opened(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Imap *imap = NULL;

        assert_int_equal(imap_open(&imap, stream_take, transcript, "incoming", &no), 0);
        return imap;
}

static int login_as(Imap *imap, const char *user, const char *password, Outcome *no)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        Login login = { .user = user, .host = "imap.example.test", .allow_cleartext = true };

        assert_int_equal(secret_new(&secret, password, strlen(password)), 0);
        login.secret = secret;
        return imap_login(imap, &login, no);
}

static int login(Imap *imap, Outcome *no)
{
        return login_as(imap, "tim", PASSWORD, no);
}

static int folder_seen(void *userdata, const ImapFolder *folder)
{
        return buffer_printf(userdata, "%s%s%c%u ", folder->name, folder->selectable ? "" : "!",
                             folder->delimiter ? folder->delimiter : '-', folder->use);
}

static int uid_seen(void *userdata, uint32_t uid)
{
        return buffer_printf(userdata, "%u ", uid);
}

/* --- all of it ------------------------------------------------------------------------------------------------ */

static void play_ordinary(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer seen = BUFFER(4096);
        const Login any = { .user = "tim" };
        ImapMailbox box;
        bool deleted[3];

        assert_string_equal(imap_greeting(imap), "Dovecot ready.");
        assert_false(imap_signed_in(imap));
        assert_int_equal(imap_ask_capabilities(imap, &no), 0); /* nothing is asked */
        assert_true(imap_capabilities(imap)->known);
        assert_string_equal(imap_login_method(imap, &any), "PLAIN");
        assert_int_equal(login(imap, &no), 0);
        assert_true(imap_capabilities(imap)->uidplus);
        assert_int_equal(imap_identify(imap, &no), 0);
        assert_int_equal(imap_list(imap, folder_seen, &seen, &no), 0);
        assert_string_equal(seen.data, "INBOX.0 Sent.6 a\"b!.0 ");
        buffer_clear(&seen);
        assert_int_equal(imap_select(imap, "INBOX", true, &box, &no), 0);
        assert_true(box.exists == 4 && box.uid_validity == 77 && box.uid_next == 12 &&
                    box.read_only);
        assert_int_equal(imap_list_uids(imap, 8, uid_seen, &seen, &no), 0);
        assert_string_equal(seen.data, "8 9 10 11 ");
        buffer_clear(&seen);
        assert_int_equal(imap_retrieve(imap, (uint32_t[]){ 8, 9, 10, 11 }, 4, &sink, &seen, &no),
                         0);
        assert_string_equal(seen.data, "0(a\n.b\n\rc\r)0:8=1 2(d\xff\n)2:10=18 1()1:9=0 3- ");
        buffer_clear(&seen);
        assert_int_equal(imap_peek(imap, 2, 5, &sink, &seen, &no), 0);
        assert_string_equal(seen.data, "0(Subje)0:10=0 1(From)1:11=0 ");
        assert_int_equal(imap_delete(imap, (uint32_t[]){ 8, 9, 11 }, 3, deleted, &no), 0);
        assert_true(deleted[0] && !deleted[1] && deleted[2]);
        assert_int_equal(imap_exists(imap), 1);
        assert_int_equal(imap_noop(imap, &no), 0);
        assert_true(imap_bytes(imap) > 100);
        assert_int_equal(imap_logout(imap, &no), 0);
        assert_int_equal(no.kind, OUTCOME_NONE);
        assert_string_equal(imap_alert(imap), "disk is warm");
}

static const char *const ordinary[] = {
        "S: * OK [CAPABILITY IMAP4rev1 SASL-IR ID AUTH=PLAIN] Dovecot ready.",
        "C: w1 AUTHENTICATE PLAIN " PLAIN_BASE64,
        "S: * OK [ALERT] disk is warm",
        "S: w1 OK [CAPABILITY IMAP4rev1 ID UIDPLUS IDLE LITERAL+] Logged in",
        "C: w2 " ID_LINE,
        "S: * ID (\"name\" \"Dovecot\")",
        "S: w2 OK ID completed.",
        "C: w3 LIST \"\" \"*\"",
        "S: * LIST (\\HasNoChildren) \".\" inbox",
        "S: * LIST (\\Sent) \".\" {4}",
        "S: Sent",
        "S: * LIST (\\Noselect) \".\" \"a\\\"b\"",
        "S: w3 OK List completed.",
        "C: w4 EXAMINE \"INBOX\"",
        "S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)",
        "S: * OK [PERMANENTFLAGS ()] Read-only mailbox.",
        "S: * 4 EXISTS",
        "S: * 0 RECENT",
        "S: * OK [UIDVALIDITY 77] UIDs valid",
        "S: * OK [UIDNEXT 12] Predicted next UID",
        "S: w4 OK [READ-ONLY] Examine completed.",
        "C: w5 UID FETCH 8:* (UID)",
        "S: * 1 FETCH (UID 7)",
        "S: * 1 FETCH (UID 8)",
        "S: * 2 FETCH (UID 9)",
        "S: * 3 FETCH (FLAGS (\\Seen) UID 10)",
        "S: * 4 FETCH (UID 11)",
        "S: w5 OK Fetch completed.",
        "C: w6 UID FETCH 8:11 (UID FLAGS BODY.PEEK[])",
        "S: * 1 FETCH (UID 8 FLAGS (\\Seen) BODY[] {10}",
        "R: a\r\n.b\r\n\rc\r",
        "S: )",
        "S: * 2 FETCH (FLAGS (\\Seen))", /* news of another client */
        "S: * 3 FETCH (FLAGS (\\Answered) UID 10 BODY[] {4}",
        "R: d\xff\r\n",
        "S:  FLAGS (\\Answered \\Draft))",
        "S: * 8 EXISTS",
        "S: * 2 FETCH (UID 9 FLAGS () BODY[] {0}",
        "S: )",
        "S: * 4 EXPUNGE",
        "S: w6 OK Fetch completed.",
        "C: w7 FETCH 6:* (UID FLAGS BODY.PEEK[]<0.5>)",
        "S: * 6 FETCH (UID 10 BODY[]<0> {5}",
        "R: Subje",
        "S: )",
        "S: * 7 FETCH (UID 11 BODY[]<0> \"From\")",
        "S: w7 OK",
        "C: w8 UID STORE 8:9,11 +FLAGS (\\Deleted)",
        "S: * 1 FETCH (UID 8 FLAGS (\\Deleted \\Seen))",
        "S: * 3 FETCH (FLAGS (\\Deleted) UID 11)",
        "S: * 2 FETCH (FLAGS (\\Seen) UID 9)",
        "S: w8 OK",
        "C: w9 UID EXPUNGE 8:9,11",
        "S: * 1 EXPUNGE",
        "S: * 1 EXPUNGE",
        "S: * 1 EXPUNGE",
        "S: * 1 EXPUNGE",
        "S: * 1 EXPUNGE",
        "S: * 1 EXPUNGE",
        "S: w9 OK",
        "C: w10 NOOP",
        "S: w10 OK",
        "C: w11 LOGOUT",
        "S: * BYE Logging out",
        "S: w11 OK Logout completed.",
        "X",
        NULL,
};

static void test_ordinary(void **state)
{
        peer_play(*state, ordinary, play_ordinary);
}

/* Whatever comes, as long as nothing is left behind. */
static void play_anything(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = NULL;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer seen = BUFFER(4096);
        ImapMailbox box;
        int r;

        r = imap_open(&imap, stream_take, transcript, "incoming", &no);
        if (r == 0)
                r = imap_ask_capabilities(imap, &no);
        if (r == 0)
                r = login(imap, &no);
        if (r == 0)
                r = imap_identify(imap, &no);
        if (r == 0)
                r = imap_list(imap, folder_seen, &seen, &no);
        if (r == 0)
                r = imap_select(imap, "INBOX", true, &box, &no);
        if (r == 0)
                r = imap_list_uids(imap, 8, uid_seen, &seen, &no);
        if (r == 0)
                r = imap_retrieve(imap, (uint32_t[]){ 8, 9, 10, 11 }, 4, &sink, &seen, &no);
        if (r == 0)
                r = imap_peek(imap, 2, 5, &sink, &seen, &no);
        if (r == 0)
                r = imap_delete(imap, (uint32_t[]){ 8, 9, 11 }, 3, (bool[3]){}, &no);
        if (r == 0)
                r = imap_noop(imap, &no);
        if (r == 0)
                r = imap_logout(imap, &no);
        /* Once cancelled, nothing can be said any more. */
        if (r < 0 && imap)
                assert_true(imap_logout(imap, &no) < 0);
}

static void test_cancelled(void **state)
{
        peer_play_cancelled(*state, ordinary, play_anything);
}

/* --- greetings ------------------------------------------------------------------------------------------------- */

typedef struct Greeting {
        const char *script[3];
        OutcomeKind kind;
        const char *text;
} Greeting;

static const Greeting *greeting;

static void play_greeting(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = NULL;
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(imap_open(&imap, stream_take, transcript, "incoming", &no), 1);
        assert_int_equal(no.kind, greeting->kind);
        assert_int_equal(no.phase, PHASE_GREETING);
        if (greeting->text)
                assert_string_equal(no.text, greeting->text);
        assert_null(imap);
}

static void test_greetings(void **state)
{
        static const Greeting table[] = {
                { { "S: * BYE Autologout" }, OUTCOME_REPLY, "BYE Autologout" },
                { { "S: * BYE [UNAVAILABLE] down" }, OUTCOME_REPLY, "BYE [UNAVAILABLE] down" },
                { { "S: * NO too many" }, OUTCOME_REPLY, "NO too many" },
                { { "S: +OK POP3" }, OUTCOME_GARBAGE, "+OK POP3" },
                { { "S: 220 smtp" }, OUTCOME_GARBAGE, NULL },
                { { "S: * 12 EXISTS" }, OUTCOME_GARBAGE, NULL },
                { { "S: *" }, OUTCOME_GARBAGE, NULL },
                { { "S: HTTP/1.1 400 Bad Request" }, OUTCOME_GARBAGE, NULL },
                { { "X" }, OUTCOME_CLOSED, NULL },
                { { "R: * OK", "X" }, OUTCOME_CLOSED, NULL },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                greeting = &table[i];
                peer_play(*state, table[i].script, play_greeting);
        }
}

static void play_preauth(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        /* In clear it is nobody's word. */
        assert_false(imap_signed_in(imap));
        assert_int_equal(imap_start_tls(imap, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(no.phase, PHASE_STARTTLS);
}

static void test_preauth(void **state)
{
        static const char *const script[] = {
                "S: * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] come in", NULL
        };

        peer_play(*state, script, play_preauth);
}

static void play_injected(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_(tls_freep) Tls *tls = NULL;
        _cleanup_outcome_ Outcome no = {};
        const TlsRequest request = { .host = "imap.example.test" };

        assert_int_equal(tls_new(&tls, NULL), 0);
        assert_int_equal(imap_start_tls(imap, tls, &request, NULL, &no), 1);
        /* What waits is refused; what comes a moment later is no TLS. */
        assert_true(no.kind == OUTCOME_INJECTED || no.kind == OUTCOME_HANDSHAKE);
        assert_int_equal(imap_noop(imap, &no), -ENOTCONN);
}

/* What waits behind the answer was written by somebody in between. */
static void test_injected(void **state)
{
        static const char *const script[] = {
                "S: * OK [CAPABILITY IMAP4rev1 STARTTLS] x",
                "C: w1 STARTTLS",
                "R: w1 OK go\r\n* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] injected\r\n",
                NULL,
        };

        peer_play(*state, script, play_injected);
}

static void play_stripped(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(imap_start_tls(imap, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_string_equal(no.text, "STARTTLS");
}

static void test_stripped(void **state)
{
        static const char *const script[] = { "S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] x", NULL };

        peer_play(*state, script, play_stripped);
}

/* --- logins ------------------------------------------------------------------------------------------------------ */

static const char *login_user, *login_password;
static int login_result;
static OutcomeKind login_kind;
static const char *login_text;

static void play_login(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        if (!imap_capabilities(imap)->known)
                assert_int_equal(imap_ask_capabilities(imap, &no), 0);
        assert_int_equal(login_as(imap, login_user, login_password, &no), login_result);
        assert_int_equal(no.kind, login_kind);
        if (login_text)
                assert_string_equal(no.text, login_text);
}

static void check_login(void **state, const char *const *script, int r, OutcomeKind kind,
                        const char *text)
{
        login_result = r;
        login_kind = kind;
        login_text = text;
        peer_play(*state, script, play_login);
}

static void test_login(void **state)
{
        static const char *const waits[] = { "S: * OK hello",
                                             "C: w1 CAPABILITY",
                                             "S: * CAPABILITY IMAP4rev1 AUTH=PLAIN",
                                             "S: w1 OK",
                                             "C: w2 AUTHENTICATE PLAIN",
                                             "S: + ",
                                             "C: " PLAIN_BASE64,
                                             "S: w2 OK done",
                                             "C: w3 CAPABILITY",
                                             "S: * CAPABILITY IMAP4rev1",
                                             "S: w3 OK",
                                             NULL };
        static const char *const command[] = { "S: * OK [CAPABILITY IMAP4rev1] hello",
                                               "C: w1 LOGIN \"tim\" \"" PASSWORD "\"",
                                               "S: w1 NO [AUTHENTICATIONFAILED] you said " PASSWORD,
                                               NULL };
        static const char *const quoted[] = { "S: * OK [CAPABILITY IMAP4rev1] hello",
                                              "C: w1 LOGIN \"t\\\"\\\\m\" \"a\\\"b\\\\\"",
                                              "S: w1 OK",
                                              "C: w2 CAPABILITY",
                                              "S: w2 BAD what",
                                              NULL };
        static const char *const literals[] = { "S: * OK [CAPABILITY IMAP4rev1] hello",
                                                "C: w1 LOGIN {4}",
                                                "S: + go",
                                                "C: t\xc3\xacm {5}",
                                                "S: * OK still here",
                                                "S: +",
                                                "C: gr\xc3\xbcn",
                                                "S: w1 OK [CAPABILITY IMAP4rev1] in",
                                                NULL };
        static const char *const at_once[] = { "S: * OK [CAPABILITY IMAP4rev1 LITERAL-] hello",
                                               "c: w1 LOGIN {4+}",
                                               "c: t\xc3\xacm {5+}",
                                               "C: gr\xc3\xbcn",
                                               "S: w1 OK [CAPABILITY IMAP4rev1] in",
                                               NULL };
        static const char *const refused_early[] = { "S: * OK [CAPABILITY IMAP4rev1] hello",
                                                     "C: w1 LOGIN {4}", "S: w1 BAD no literals",
                                                     NULL };
        static const char *const disabled[] = {
                "S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello", NULL
        };
        static const char *const error_inside[] = {
                "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] The Microsoft Exchange IMAP4 service is ready.",
                "C: w1 AUTHENTICATE PLAIN " PLAIN_BASE64,
                "S: w1 OK [Error=\"UserDisabled\" AuthResult=27] AUTHENTICATE completed.", NULL
        };
        static const char *const stale[] = {
                "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello",
                "C: w1 AUTHENTICATE PLAIN " PLAIN_BASE64, "S: w0 NO [AUTHENTICATIONFAILED] stale",
                NULL
        };
        static const char *const bye[] = {
                "S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello",
                "C: w1 AUTHENTICATE PLAIN " PLAIN_BASE64, "S: * BYE [ALERT] too many failures", NULL
        };

        login_user = "tim";
        login_password = PASSWORD;
        check_login(state, waits, 0, OUTCOME_NONE, NULL);
        check_login(state, command, 1, OUTCOME_REPLY, "NO [AUTHENTICATIONFAILED] you said ******");
        check_login(state, disabled, 1, OUTCOME_NOT_OFFERED, NULL);
        check_login(state, error_inside, 1, OUTCOME_REPLY,
                    "OK [Error=\"UserDisabled\" AuthResult=27] AUTHENTICATE completed.");
        check_login(state, stale, 1, OUTCOME_GARBAGE, NULL);
        check_login(state, bye, 1, OUTCOME_REPLY, "BYE [ALERT] too many failures");
        login_user = "t\"\\m";
        login_password = "a\"b\\";
        check_login(state, quoted, 0, OUTCOME_NONE, NULL);
        login_user = "t\xc3\xacm";
        login_password = "gr\xc3\xbcn";
        check_login(state, literals, 0, OUTCOME_NONE, NULL);
        check_login(state, at_once, 0, OUTCOME_NONE, NULL);
        check_login(state, refused_early, 1, OUTCOME_REPLY, "BAD no literals");
}

/* --- retrieving --------------------------------------------------------------------------------------------------- */

static const char *retrieved;
static int retrieve_result;
static OutcomeKind retrieve_kind;

static void play_retrieve(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_buffer_ Buffer seen = BUFFER(4096);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(imap_retrieve(imap, (uint32_t[]){ 3, 4, 9 }, 3, &sink, &seen, &no),
                         retrieve_result);
        assert_int_equal(no.kind, retrieve_kind);
        assert_string_equal(seen.data ? seen.data : "", retrieved);
        /* After an answer that made no sense nothing is said any more. */
        if (retrieve_result)
                assert_int_equal(imap_noop(imap, &no), -ENOTCONN);
}

static void check_retrieve(void **state, const char *const *script, int r, OutcomeKind kind,
                           const char *seen)
{
        retrieved = seen;
        retrieve_result = r;
        retrieve_kind = kind;
        peer_play(*state, script, play_retrieve);
}

#define ASKED "S: * OK [CAPABILITY IMAP4rev1] x", "C: w1 UID FETCH 3:4,9 (UID FLAGS BODY.PEEK[])"

static void test_retrieve(void **state)
{
        /* The UID behind the content, or not at all where only one can be meant. */
        static const char *const behind[] = { ASKED,
                                              "S: * 1 FETCH (BODY[] {1}",
                                              "S: a UID 3)",
                                              "S: * 2 FETCH (UID 4 BODY[] {1}",
                                              "S: b)",
                                              "S: w1 OK",
                                              "C: w2 UID FETCH 3 (UID FLAGS BODY.PEEK[])",
                                              "S: * 1 FETCH (BODY[] {1}",
                                              "S: a UID 3)",
                                              "S: w2 OK",
                                              "C: w3 UID FETCH 9 (UID FLAGS BODY.PEEK[])",
                                              "S: * 3 FETCH (FLAGS (\\Seen) BODY[] {1}",
                                              "S: c)",
                                              "S: w3 OK",
                                              NULL };
        static const char *const wrong_uid[] = { ASKED,
                                                 "S: * 1 FETCH (BODY[] {1}",
                                                 "S: a UID 3)",
                                                 "S: w1 OK",
                                                 "C: w2 UID FETCH 3 (UID FLAGS BODY.PEEK[])",
                                                 "S: * 1 FETCH (BODY[] {1}",
                                                 "S: b UID 4)",
                                                 NULL };
        /* One that is refused does not hold up the others. */
        static const char *const one_refused[] = { ASKED,
                                                   "S: * 1 FETCH (UID 3 BODY[] {1}",
                                                   "S: a)",
                                                   "S: w1 NO [SERVERBUG] one is broken",
                                                   "C: w2 UID FETCH 4 (UID FLAGS BODY.PEEK[])",
                                                   "S: w2 NO [SERVERBUG] this one",
                                                   "C: w3 UID FETCH 9 (UID FLAGS BODY.PEEK[])",
                                                   "S: * 3 FETCH (UID 9 BODY[] \"x\\\"y\")",
                                                   "S: w3 OK",
                                                   NULL };
        static const char *const all_refused[] = {
                ASKED, "S: w1 NO [OVERQUOTA] Account exceeded command or bandwidth limits.", NULL
        };
        static const char *const nil[] = { ASKED, "S: * 1 FETCH (UID 3 BODY[] NIL)", "S: w1 OK",
                                           NULL };
        static const char *const twice[] = { ASKED,   "S: * 1 FETCH (UID 3 BODY[] {1}",
                                             "S: a)", "S: * 1 FETCH (UID 3 BODY[] {1}",
                                             "S: b)", "S: * 1 FETCH (UID 7 BODY[] {1}",
                                             "S: c)", "S: w1 OK",
                                             NULL };
        static const char *const bye[] = { ASKED, "S: * 1 FETCH (UID 3 BODY[] {1}", "S: a)",
                                           "S: * BYE shutting down", NULL };
        static const char *const cut[] = { ASKED, "S: * 1 FETCH (UID 3 BODY[] {10}", "R: abc", "X",
                                           NULL };
        static const char *const stale[] = { ASKED, "S: w0 OK", NULL };
        static const char *const huge[] = { ASKED,
                                            "S: * 1 FETCH (UID 77 BODY[] {9223372036854775807}",
                                            NULL };
        static const char *const huge_other[] = { ASKED,
                                                  "S: * 1 FETCH (UID 3 ENVELOPE ({4294967296}",
                                                  NULL };
        static const char *const no_size[] = { ASKED,
                                               "S: * 1 FETCH (UID 3 BODY[] {99999999999999999999}",
                                               NULL };
        static const char *const garbage[] = { ASKED, "S: * 1 FETCH (UID x)", NULL };
        static const char *const plus[] = { ASKED, "S: + go on", NULL };

        check_retrieve(state, behind, 0, OUTCOME_NONE, "1(b)1:4=0 0(a)0:3=0 2(c)2:9=1 ");
        check_retrieve(state, wrong_uid, 1, OUTCOME_GARBAGE, "0(b");
        check_retrieve(state, one_refused, 0, OUTCOME_NONE, "0(a)0:3=0 1!SERVERBUG 2(x\"y)2:9=0 ");
        check_retrieve(state, all_refused, 1, OUTCOME_REPLY, "");
        check_retrieve(state, nil, 0, OUTCOME_NONE, "0! 1- 2- ");
        check_retrieve(state, twice, 0, OUTCOME_NONE, "0(a)0:3=0 1- 2- ");
        check_retrieve(state, bye, 1, OUTCOME_REPLY, "0(a)0:3=0 ");
        check_retrieve(state, cut, 1, OUTCOME_CLOSED, "0(abc");
        check_retrieve(state, stale, 1, OUTCOME_GARBAGE, "");
        check_retrieve(state, huge, 1, OUTCOME_TOO_LONG, "");
        check_retrieve(state, huge_other, 1, OUTCOME_TOO_LONG, "");
        check_retrieve(state, no_size, 1, OUTCOME_TOO_LONG, "");
        check_retrieve(state, garbage, 1, OUTCOME_GARBAGE, "");
        check_retrieve(state, plus, 1, OUTCOME_GARBAGE, "");
}

/* Many messages: several commands are under way, and no more than fit anywhere. */
static void serve_many(Peer *peer)
{
        static const char greeting_line[] = "* OK [CAPABILITY IMAP4rev1] x\r\n";
        char line[8192];
        unsigned commands = 0;

        peer_send(peer, greeting_line, sizeof(greeting_line) - 1);
        while (peer_read(peer, line, sizeof(line))) {
                unsigned long from, to, tag;
                char answer[128];

                assert_int_equal(sscanf(line, "w%lu UID FETCH %lu:%lu ", &tag, &from, &to), 3);
                assert_true(peer_waiting(peer) <= 2);
                commands++;
                for (unsigned long uid = from; uid <= to; uid++) {
                        int n = snprintf(answer, sizeof(answer),
                                         "* %lu FETCH (UID %lu FLAGS () BODY[] {3}\r\nx\r\n)\r\n",
                                         uid, uid);

                        peer_send(peer, answer, (size_t) n);
                }
                peer_send(peer, answer,
                          (size_t) snprintf(answer, sizeof(answer), "w%lu OK\r\n", tag));
                if (to == 1000)
                        break;
        }
        assert_int_equal(commands, 8);
}

static int count_end(void *userdata, size_t index, uint32_t uid, unsigned flags)
{
        assert_int_equal(index + 1, uid);
        ++*(unsigned *) userdata;
        return 0;
}

static int count_begin(void *userdata, size_t index, uint64_t octets)
{
        assert_int_equal(octets, 3);
        return 0;
}

static int count_data(void *userdata, size_t index, const char *data, size_t len)
{
        return 0;
}

static void play_many(Stream *stream_take, Transcript *transcript)
{
        static const ImapSink counting = { .begin = count_begin,
                                           .data = count_data,
                                           .end = count_end };
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        uint32_t uids[1000];
        unsigned n = 0;

        for (size_t i = 0; i < ELEMENTS(uids); i++)
                uids[i] = (uint32_t) i + 1;
        assert_int_equal(imap_retrieve(imap, uids, ELEMENTS(uids), &counting, &n, &no), 0);
        assert_int_equal(n, 1000);
}

static void test_many(void **state)
{
        peer_play_serve(*state, serve_many, play_many);
}

/* --- hostile ------------------------------------------------------------------------------------------------------- */

static void serve_endless(Peer *peer)
{
        static const char hello[] = "* OK [CAPABILITY IMAP4rev1] x\r\n", more[] = "* 1 RECENT\r\n";
        char line[8192];

        peer_send(peer, hello, sizeof(hello) - 1);
        if (peer_read(peer, line, sizeof(line)))
                for (unsigned i = 0; i < LIMIT_UNTAGGED + 100; i++)
                        peer_send(peer, more, sizeof(more) - 1);
}

static void play_endless(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(imap_noop(imap, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TOO_LONG);
}

static void test_endless(void **state)
{
        peer_play_serve(*state, serve_endless, play_endless);
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */

static void play_idle(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer seen = BUFFER(100);
        ImapMailbox box;
        bool news = false;

        assert_int_equal(imap_select(imap, "INBOX", false, &box, &no), 0);
        assert_int_equal(imap_idle(imap, 10 * USEC_PER_SEC, &news, &no), 0);
        assert_true(news);
        /* DONE goes with the next command: one way less. */
        assert_int_equal(imap_list_uids(imap, 5, uid_seen, &seen, &no), 0);
        assert_string_equal(seen.data, "5 ");
        assert_int_equal(imap_idle(imap, USEC_PER_SEC, &news, &no), 0);
        assert_false(news);
        assert_int_equal(imap_idle(imap, USEC_PER_SEC, &news, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_string_equal(no.text, "BYE idle for too long");
}

static void test_idle(void **state)
{
        static const char *const script[] = {
                "S: * OK [CAPABILITY IMAP4rev1 IDLE] x",
                "C: w1 SELECT \"INBOX\"",
                "S: * 4 EXISTS",
                "S: w1 OK [READ-WRITE] done",
                "C: w2 IDLE",
                "S: + idling",
                "S: * OK Still here",
                "S: * 4 EXPUNGE",
                "S: * 3 EXISTS",
                "S: * 4 EXISTS",
                "c: DONE",
                "C: w3 UID FETCH 5:* (UID)",
                "S: w2 OK Idle completed.",
                "S: * 4 FETCH (UID 5)",
                "S: w3 OK",
                "C: w4 IDLE",
                "S: + idling",
                "c: DONE",
                "C: w5 IDLE",
                "S: w4 OK",
                "S: + idling",
                "S: * BYE idle for too long",
                NULL,
        };

        check_virtual_clock();
        peer_play(*state, script, play_idle);
}

static void play_no_idle(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        bool news;

        assert_int_equal(imap_idle(imap, USEC_PER_SEC, &news, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(imap_delete(imap, (uint32_t[]){ 1 }, 1, (bool[1]){}, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(imap_identify(imap, &no), 0);
}

static void test_nothing_offered(void **state)
{
        static const char *const script[] = { "S: * OK [CAPABILITY IMAP4rev1] x", NULL };

        peer_play(*state, script, play_no_idle);
}

/* --- the mailbox ---------------------------------------------------------------------------------------------------- */

static void play_unsafe(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(imap_freep) Imap *imap = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        ImapMailbox box;

        assert_int_equal(imap_identify(imap, &no), 0); /* refused: no matter */
        assert_int_equal(imap_select(imap, "INBOX", true, &box, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_SELECT);
        assert_string_equal(no.text,
                            "NO EXAMINE Unsafe Login. Please contact kefu@188.com for help");
        assert_int_equal(imap_select(imap, "&ZeVnLIqe-/a\"b", true, &box, &no), 1);
        assert_string_equal(no.text, "BAD User is authenticated but not connected.");
        assert_int_equal(imap_logout(imap, &no), 0);
}

static void test_refused_mailbox(void **state)
{
        static const char *const script[] = {
                "S: * OK [CAPABILITY IMAP4rev1 ID] x",
                "C: w1 " ID_LINE,
                "S: w1 BAD Parse command error",
                "C: w2 EXAMINE \"INBOX\"",
                "S: w2 NO EXAMINE Unsafe Login. Please contact kefu@188.com for help",
                "C: w3 EXAMINE \"&ZeVnLIqe-/a\\\"b\"",
                "S: w3 BAD User is authenticated but not connected.",
                "C: w4 LOGOUT",
                "S: * BYE",
                "S: w4 OK",
                NULL,
        };

        peer_play(*state, script, play_unsafe);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                LOOP_TEST(test_ordinary),
                LOOP_TEST(test_cancelled),
                LOOP_TEST(test_greetings),
                LOOP_TEST(test_preauth),
                LOOP_TEST(test_injected),
                LOOP_TEST(test_stripped),
                LOOP_TEST(test_login),
                LOOP_TEST(test_retrieve),
                LOOP_TEST(test_many),
                LOOP_TEST(test_endless),
                LOOP_TEST(test_idle),
                LOOP_TEST(test_nothing_offered),
                LOOP_TEST(test_refused_mailbox),
        };

        return cmocka_run_group_tests_name("imap", tests, NULL, NULL);
}
