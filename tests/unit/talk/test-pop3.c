/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The POP3 dialogue against scripted servers. */
#include "tests/unit/talk/peer.h"

#include <string.h>

#include "base/buffer.h"
#include "base/text.h"
#include "talk/pop3.h"

static const Pop3Sink sink;

/* What a sink was given: "1(content)1." for a message of index 1, "2!CODE" for a refusal. */
typedef struct Seen {
        Buffer text;
} Seen;

static int seen_begin(void *userdata, size_t index)
{
        Seen *seen = userdata;

        return buffer_printf(&seen->text, "%zu(", index);
}

static int seen_data(void *userdata, size_t index, const char *data, size_t len)
{
        Seen *seen = userdata;

        return buffer_append(&seen->text, data, len);
}

static int seen_end(void *userdata, size_t index)
{
        Seen *seen = userdata;

        return buffer_printf(&seen->text, ")%zu.", index);
}

static int seen_refused(void *userdata, size_t index, const Outcome *no)
{
        Seen *seen = userdata;

        assert_int_equal(no->kind, OUTCOME_REPLY);
        return buffer_printf(&seen->text, "%zu!%s", index, no->code);
}

static const Pop3Sink sink = { seen_begin, seen_data, seen_end, seen_refused };

static Pop3 *opened(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Pop3 *pop3 = NULL;

        assert_int_equal(pop3_open(&pop3, stream_take, transcript, "incoming", &no), 0);
        return pop3;
}

static int login(Pop3 *pop3, Outcome *no)
{
        _cleanup_(secret_unrefp) Secret *secret = peer_password();

        return pop3_login(pop3,
                          &(Login){ .user = "tim", .secret = secret, .allow_cleartext = true }, no);
}

/* --- all of it, not pipelined ------------------------------------------------------------------------------- */

static int list_entry(void *userdata, uint32_t number, uint64_t octets)
{
        return buffer_printf(userdata, "%u=%llu ", number, (unsigned long long) octets);
}

static int uidl_entry(void *userdata, uint32_t number, const char *uidl)
{
        return buffer_printf(userdata, "%u=%s ", number, uidl);
}

static void play_ordinary(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer listed = BUFFER(4096);
        Seen seen = { BUFFER(4096) };
        uint64_t messages, octets;
        bool deleted[2];

        assert_string_equal(pop3_greeting(pop3), "ready ?");
        assert_false(pop3_capabilities(pop3)->known);
        assert_string_equal(pop3_login_method(pop3, &(Login){}), "USER");
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_true(pop3_capabilities(pop3)->known && pop3_capabilities(pop3)->top);
        assert_int_equal(list_len(pop3_capabilities(pop3)->lines), 4);
        assert_string_equal(pop3_login_method(pop3, &(Login){}), "USER");
        assert_int_equal(login(pop3, &no), 0);
        assert_int_equal(pop3_stat(pop3, &messages, &octets, &no), 0);
        assert_int_equal(messages, 2);
        assert_int_equal(octets, 320);
        assert_int_equal(pop3_list(pop3, list_entry, &listed, &no), 0);
        assert_int_equal(pop3_uidl(pop3, uidl_entry, &listed, &no), 0);
        assert_string_equal(listed.data, "1=120 2=200 1=aa 2=.b ");
        assert_int_equal(pop3_top(pop3, (uint32_t[]){ 2 }, 1, 5, &sink, &seen, &no), 0);
        assert_int_equal(pop3_retrieve(pop3, (uint32_t[]){ 1, 9, 2 }, 3, &sink, &seen, &no), 0);
        assert_string_equal(seen.text.data, "0(Subject: x\n)0."
                                            "0(a\n.b\n\nc\rd\n)0.1!SYS/TEMP2()2.");
        assert_int_equal(pop3_delete(pop3, (uint32_t[]){ 1, 9 }, 2, deleted, &no), 0);
        assert_true(deleted[0] && !deleted[1]);
        assert_true(pop3_bytes(pop3) > 100);
        assert_int_equal(pop3_quit(pop3, &no), 0);
        assert_int_equal(no.kind, OUTCOME_NONE);
        buffer_deinit(&seen.text);
}

static const char *const ordinary[] = {
        "S: +OK ready \x01",
        "C: CAPA",
        "S: +OK list follows",
        "S: USER",
        "S: TOP",
        "S: UIDL",
        "S: ..odd",
        "S: .",
        "C: USER tim",
        "S: +OK",
        "C: PASS " PASSWORD,
        "S: +OK logged in",
        "C: STAT",
        "S: +OK 2 320",
        "C: LIST",
        "S: +OK 2 messages",
        "S: 1 120",
        "S: 2 200",
        "S: .",
        "C: UIDL",
        "S: +OK",
        "S: 1 aa",
        "S: 2 .b",
        "S: .",
        "C: TOP 2 5",
        "S: +OK",
        "S: Subject: x",
        "S: .",
        "C: RETR 1",
        "S: +OK 120 octets",
        "S: a",
        "S: ..b",
        "S: ",
        "S: c\rd",
        "S: .",
        "C: RETR 9",
        "S: -ERR [SYS/TEMP] later",
        "C: RETR 2",
        "S: +OK",
        "S: .",
        "C: DELE 1",
        "S: +OK",
        "C: DELE 9",
        "S: -ERR no such message",
        "C: QUIT",
        "S: +OK bye",
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
        _cleanup_(pop3_freep) Pop3 *pop3 = NULL;
        _cleanup_(secret_unrefp) Secret *secret = peer_password();
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer listed = BUFFER(4096);
        Seen seen = { BUFFER(4096) };
        uint64_t messages, octets;
        int r;

        r = pop3_open(&pop3, stream_take, transcript, "incoming", &no);
        if (r == 0)
                r = pop3_ask_capabilities(pop3, &no);
        if (r == 0)
                r = login(pop3, &no);
        if (r == 0)
                r = pop3_stat(pop3, &messages, &octets, &no);
        if (r == 0)
                r = pop3_list(pop3, list_entry, &listed, &no);
        if (r == 0)
                r = pop3_uidl(pop3, uidl_entry, &listed, &no);
        if (r == 0)
                r = pop3_top(pop3, (uint32_t[]){ 2 }, 1, 5, &sink, &seen, &no);
        if (r == 0)
                r = pop3_retrieve(pop3, (uint32_t[]){ 1, 9, 2 }, 3, &sink, &seen, &no);
        if (r == 0)
                r = pop3_delete(pop3, (uint32_t[]){ 1, 9 }, 2, NULL, &no);
        if (r == 0)
                r = pop3_quit(pop3, &no);
        /* Once cancelled, nothing can be said any more. */
        if (r < 0 && pop3)
                assert_true(pop3_quit(pop3, &no) < 0);
        buffer_deinit(&seen.text);
        assert_true(r == 0 || r == -ECANCELED);
}

static void test_cancelled(void **state)
{
        peer_play_cancelled(*state, ordinary, play_anything);
}

/* --- greetings ---------------------------------------------------------------------------------------------- */

static OutcomeKind greeting_kind;
static const char *greeting_text, *greeting_first;

static void play_bad_greeting(Stream *stream_take, Transcript *transcript)
{
        _cleanup_outcome_ Outcome no = {};
        Pop3 *pop3 = NULL;

        assert_int_equal(pop3_open(&pop3, stream_take, transcript, "incoming", &no), 1);
        assert_null(pop3);
        assert_int_equal(no.kind, greeting_kind);
        assert_int_equal(no.phase, PHASE_GREETING);
        assert_string_equal(no.text, greeting_text);
        if (greeting_first)
                assert_memory_equal(no.first, greeting_first, strlen(greeting_first));
        assert_true(!greeting_first || no.first_len >= strlen(greeting_first));
}

static void bad_greeting(Loop *loop, const char *const *script, OutcomeKind kind, const char *text,
                         const char *first)
{
        greeting_kind = kind;
        greeting_text = text;
        greeting_first = first;
        peer_play(loop, script, play_bad_greeting);
}

static void test_greetings(void **state)
{
        bad_greeting(*state, (const char *[]){ "S: -ERR [SYS/TEMP] later", NULL }, OUTCOME_REPLY,
                     "later", NULL);
        bad_greeting(*state, (const char *[]){ "S: 220 mail.example.org ESMTP", NULL },
                     OUTCOME_GARBAGE, "220 mail.example.org ESMTP", "220 mail");
        bad_greeting(*state, (const char *[]){ "S: HTTP/1.1 400 Bad Request", "S: ", NULL },
                     OUTCOME_GARBAGE, "HTTP/1.1 400 Bad Request", "HTTP/1.1");
        bad_greeting(*state, (const char *[]){ "S: SSH-2.0-x", NULL }, OUTCOME_GARBAGE, "SSH-2.0-x",
                     "SSH-2.0-x");
        bad_greeting(*state, (const char *[]){ "S: +OH", NULL }, OUTCOME_GARBAGE, "+OH", "+OH");
        bad_greeting(*state, (const char *[]){ "S: ", NULL }, OUTCOME_GARBAGE, "", NULL);
        /* a TLS alert has no line end */
        bad_greeting(*state, (const char *[]){ "R: \x15\x03\x01\x01\x02\x02\x46", "X", NULL },
                     OUTCOME_GARBAGE,
                     "???\x3f\x3f\x3f"
                     "F",
                     "\x15\x03\x01\x01\x02\x02\x46");
        bad_greeting(*state, (const char *[]){ "R: 554 no", "X", NULL }, OUTCOME_GARBAGE, "554 no",
                     "554 no");
        bad_greeting(*state, (const char *[]){ "X", NULL }, OUTCOME_CLOSED, "", NULL);
        bad_greeting(*state, (const char *[]){ "R: +OK rea", "X", NULL }, OUTCOME_CLOSED, "", NULL);
}

static void test_silent_greeting(void **state)
{
        static const char *const silence[] = { NULL };
        static const char *const half[] = { "R: \x16\x03", NULL };

        check_virtual_clock();
        bad_greeting(*state, silence, OUTCOME_TIMEOUT, "", NULL);
        bad_greeting(*state, half, OUTCOME_GARBAGE, "??", "\x16\x03");
}

/* --- capabilities and STLS ---------------------------------------------------------------------------------- */

static void play_no_capa(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(no.kind, OUTCOME_NONE);
        assert_false(pop3_capabilities(pop3)->known);
        assert_string_equal(pop3_login_method(pop3, &(Login){}), "USER");
        /* STLS may be there all the same */
        assert_int_equal(pop3_start_tls(pop3, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_STARTTLS);
        assert_string_equal(no.text, "what?");
}

static void test_no_capa(void **state)
{
        peer_play(*state,
                  (const char *[]){ "S: +OK", "C: CAPA", "S: -ERR what?", "C: STLS",
                                    "S: -ERR what?", NULL },
                  play_no_capa);
}

static void play_not_offered(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_null(pop3_login_method(pop3, &(Login){}));
        assert_int_equal(pop3_start_tls(pop3, NULL, NULL, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_string_equal(no.text, "STLS");
        assert_int_equal(login(pop3, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(pop3_top(pop3, (uint32_t[]){ 1 }, 1, 0, &sink, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(pop3_quit(pop3, &no), 0);
}

static void test_not_offered(void **state)
{
        peer_play(*state,
                  (const char *[]){ "S: +OK", "C: CAPA", "S: +OK", "S: SASL DIGEST-MD5", "S: .",
                                    "C: QUIT", "S: +OK", NULL },
                  play_not_offered);
}

static void play_injected(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_(tls_freep) Tls *tls = NULL;
        const TlsRequest request = { .host = "mail.example.org" };

        assert_int_equal(tls_new(&tls, NULL), 0);
        assert_int_equal(pop3_start_tls(pop3, tls, &request, NULL, &no), 1);
        /* What waits is refused; what comes a moment later is no TLS. */
        assert_true(no.kind == OUTCOME_INJECTED || no.kind == OUTCOME_HANDSHAKE);
        assert_string_equal(pop3_greeting(pop3), "");
        assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
}

static void test_injected(void **state)
{
        peer_play(*state,
                  (const char *[]){ "S: +OK hello", "C: STLS", "R: +OK\r\n+OK injected\r\n", NULL },
                  play_injected);
}

static void serve_endless_capa(Peer *peer)
{
        char line[256];

        peer_send(peer, "+OK\r\n", 5);
        assert_true(peer_read(peer, line, sizeof(line)));
        peer_send(peer, "+OK\r\n", 5);
        for (int i = 0; i < 40000; i++)
                peer_send(peer, "X-ANOTHER-CAPABILITY\r\n", 22);
}

static void play_endless_capa(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TOO_LONG);
        assert_false(pop3_capabilities(pop3)->known);
}

static void test_endless_capa(void **state)
{
        peer_play_serve(*state, serve_endless_capa, play_endless_capa);
}

/* --- login -------------------------------------------------------------------------------------------------- */

static OutcomeKind login_kind;
static Phase login_phase;
static const char *login_code, *login_text;

static void play_login(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(login(pop3, &no), login_kind != OUTCOME_NONE);
        assert_int_equal(no.kind, login_kind);
        if (login_kind == OUTCOME_NONE)
                return;
        assert_int_equal(no.phase, login_phase);
        assert_string_equal(no.code, login_code);
        assert_string_equal(no.text, login_text);
        assert_null(memmem(no.first, no.first_len, PASSWORD, strlen(PASSWORD)));
}

static void logins(Loop *loop, const char *const *script, OutcomeKind kind, Phase phase,
                   const char *code, const char *text)
{
        login_kind = kind;
        login_phase = phase;
        login_code = code;
        login_text = text;
        peer_play(loop, script, play_login);
}

#define NO_CAPA "S: +OK", "C: CAPA", "S: -ERR"
#define SASL_CAPA "S: +OK", "C: CAPA", "S: +OK", "S: SASL PLAIN LOGIN", "S: ."
#define AUTH "C: AUTH PLAIN " PLAIN_BASE64

static void test_login_user(void **state)
{
        logins(*state,
               (const char *[]){ NO_CAPA, "C: USER tim", "S: -ERR [AUTH] no such user", NULL },
               OUTCOME_REPLY, PHASE_USER, "AUTH", "no such user");
        logins(*state,
               (const char *[]){ NO_CAPA, "C: USER tim", "S: +OK", "C: PASS " PASSWORD,
                                 "S: -ERR [AUTH] wrong", NULL },
               OUTCOME_REPLY, PHASE_LOGIN, "AUTH", "wrong");
        logins(*state,
               (const char *[]){ NO_CAPA, "C: USER tim", "S: +OK", "C: PASS " PASSWORD,
                                 "S: -ERR '" PASSWORD "' is wrong", NULL },
               OUTCOME_REPLY, PHASE_LOGIN, "", "'******' is wrong");
        logins(*state,
               (const char *[]){ NO_CAPA, "C: USER tim", "S: +OK", "C: PASS " PASSWORD,
                                 "S: oops " PASSWORD, NULL },
               OUTCOME_GARBAGE, PHASE_LOGIN, "", "oops ******");
        logins(*state,
               (const char *[]){ NO_CAPA, "C: USER tim", "S: +OK", "C: PASS " PASSWORD, "X", NULL },
               OUTCOME_CLOSED, PHASE_LOGIN, "", "");
}

static void test_login_plain(void **state)
{
        logins(*state, (const char *[]){ SASL_CAPA, AUTH, "S: +OK", NULL }, OUTCOME_NONE,
               PHASE_NONE, "", "");
        logins(*state, (const char *[]){ SASL_CAPA, AUTH, "S: -ERR [SYS/TEMP] later", NULL },
               OUTCOME_REPLY, PHASE_LOGIN, "SYS/TEMP", "later");
        /* the initial response was ignored */
        logins(*state,
               (const char *[]){ SASL_CAPA, AUTH, "S: + ", "C: " PLAIN_BASE64, "S: +OK", NULL },
               OUTCOME_NONE, PHASE_NONE, "", "");
        /* and asked for again and again */
        logins(*state,
               (const char *[]){ SASL_CAPA, AUTH, "S: +", "C: " PLAIN_BASE64, "S: + eA==", "C: *",
                                 "S: -ERR cancelled", NULL },
               OUTCOME_REPLY, PHASE_LOGIN, "", "cancelled");
        logins(*state,
               (const char *[]){ SASL_CAPA, AUTH, "S: +", "C: " PLAIN_BASE64, "S: +", "C: *",
                                 "S: +", "C: *", "S: +", NULL },
               OUTCOME_GARBAGE, PHASE_LOGIN, "", "+");
        logins(*state, (const char *[]){ SASL_CAPA, AUTH, "S: -ERR not " PLAIN_BASE64, NULL },
               OUTCOME_REPLY, PHASE_LOGIN, "", "not ******");
}

static void play_long_password(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_outcome_ Outcome no = {};
        char password[180];

        memset(password, 'x', sizeof(password));
        assert_int_equal(secret_new(&secret, password, sizeof(password)), 0);
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(
                pop3_login(pop3,
                           &(Login){ .user = "tim", .secret = secret, .allow_cleartext = true },
                           &no),
                0);
}

/* RFC 5034 section 4: the line with an initial response has at most 255 octets. */
static void test_login_two_steps(void **state)
{
        static char line[300] = "C: AHRpbQB4";

        for (size_t n = strlen(line); n < 3 + 4 * 185 / 3; n += 4)
                memcpy(line + n, "eHh4", 4);
        memcpy(line + 3 + 244, "eHg=", 5);
        peer_play(*state,
                  (const char *[]){ SASL_CAPA, "C: AUTH PLAIN", "S: + ", line, "S: +OK", NULL },
                  play_long_password);
}

static void play_unsendable(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_(secret_unrefp) Secret *good = peer_password(), *bad = NULL;
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(secret_new(&bad, "a\r\nDELE 1", 9), 0);
        assert_int_equal(
                pop3_login(pop3,
                           &(Login){ .user = "tim", .secret = good, .allow_cleartext = false },
                           &no),
                -EPROTO);
        assert_int_equal(
                pop3_login(pop3, &(Login){ .user = "tim", .secret = bad, .allow_cleartext = true },
                           &no),
                -EINVAL);
        assert_int_equal(
                pop3_login(
                        pop3,
                        &(Login){ .user = "tim\nDELE 1", .secret = good, .allow_cleartext = true },
                        &no),
                -EINVAL);
        assert_int_equal(pop3_login(pop3,
                                    &(Login){ .user = "", .secret = good, .allow_cleartext = true },
                                    &no),
                         -EINVAL);
        assert_int_equal(pop3_quit(pop3, &no), 0);
}

static void test_unsendable(void **state)
{
        peer_play(*state, (const char *[]){ "S: +OK", "C: QUIT", "S: +OK", NULL }, play_unsendable);
}

/* --- answers that make no sense ----------------------------------------------------------------------------- */

static void play_bad_stat(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        uint64_t messages = 77, octets = 77;

        assert_int_equal(pop3_stat(pop3, &messages, &octets, &no), 1);
        assert_int_equal(no.kind, OUTCOME_GARBAGE);
        assert_int_equal(no.phase, PHASE_STAT);
        assert_int_equal(messages, 77);
        assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
}

static void play_bad_uidl(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer listed = BUFFER(100);

        assert_int_equal(pop3_uidl(pop3, uidl_entry, &listed, &no), 1);
        assert_int_equal(no.kind, OUTCOME_GARBAGE);
        assert_string_equal(no.text, "2");
        assert_string_equal(listed.data, "1=a ");
}

static int full(void *userdata, uint32_t number, uint64_t octets)
{
        return -ENOSPC;
}

static void play_full(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_list(pop3, full, NULL, &no), -ENOSPC);
        assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
}

static void play_refused_listing(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_list(pop3, full, NULL, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_LIST);
        assert_int_equal(pop3_quit(pop3, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_QUIT);
}

static void play_cut_message(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        Seen seen = { BUFFER(100) };

        assert_int_equal(pop3_retrieve(pop3, (uint32_t[]){ 1 }, 1, &sink, &seen, &no), 1);
        assert_int_equal(no.kind, OUTCOME_CLOSED);
        assert_int_equal(no.phase, PHASE_RETRIEVE);
        assert_null(strchr(seen.text.data, ')'));
        buffer_deinit(&seen.text);
}

static void test_nonsense(void **state)
{
        peer_play(*state, (const char *[]){ "S: +OK", "C: STAT", "S: +OK many", NULL },
                  play_bad_stat);
        peer_play(*state, (const char *[]){ "S: +OK", "C: STAT", "S: 2 320", NULL }, play_bad_stat);
        peer_play(*state, (const char *[]){ "S: +OK", "C: UIDL", "S: +OK", "S: 1 a", "S: 2", NULL },
                  play_bad_uidl);
        peer_play(*state, (const char *[]){ "S: +OK", "C: LIST", "S: +OK", "S: 1 1", NULL },
                  play_full);
        peer_play(*state,
                  (const char *[]){ "S: +OK", "C: LIST", "S: -ERR none", "C: QUIT",
                                    "S: -ERR some deleted messages not removed", NULL },
                  play_refused_listing);
        peer_play(*state,
                  (const char *[]){ "S: +OK", "C: RETR 1", "S: +OK", "S: a", "R: .\r", "X", NULL },
                  play_cut_message);
}

static void play_late(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        uint64_t messages, octets, before = clock_now();

        assert_int_equal(pop3_stat(pop3, &messages, &octets, &no), 1);
        assert_int_equal(no.kind, OUTCOME_TIMEOUT);
        assert_int_equal(no.phase, PHASE_STAT);
        assert_int_equal(clock_now() - before, LIMIT_COMMAND_USEC);
        /* The late answer must not become that of another command. */
        assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
}

static void test_late(void **state)
{
        check_virtual_clock();
        peer_play(*state, (const char *[]){ "S: +OK", "C: STAT", NULL }, play_late);
}

/* --- pipelining --------------------------------------------------------------------------------------------- */

static void play_pipelined(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        Seen seen = { BUFFER(4096) };
        bool deleted[3];

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(pop3_retrieve(pop3, (uint32_t[]){ 3, 1, 2 }, 3, &sink, &seen, &no), 0);
        assert_string_equal(seen.text.data, "0(c\n)0.1!2(b\n)2.");
        assert_int_equal(pop3_delete(pop3, (uint32_t[]){ 3, 1, 2 }, 3, deleted, &no), 0);
        assert_true(deleted[0] && !deleted[1] && deleted[2]);
        assert_int_equal(pop3_retrieve(pop3, NULL, 0, &sink, &seen, &no), 0);
        assert_int_equal(pop3_quit(pop3, &no), 0);
        buffer_deinit(&seen.text);
}

/* All commands have come before anything is answered; QUIT waits for its turn. */
static void test_pipelined(void **state)
{
        peer_play(*state, (const char *[]){ "S: +OK",    "C: CAPA",   "S: +OK",    "S: PIPELINING",
                                            "S: .",      "c: RETR 3", "c: RETR 1", "C: RETR 2",
                                            "S: +OK",    "S: c",      "S: .",      "S: -ERR",
                                            "S: +OK",    "S: b",      "S: .",      "c: DELE 3",
                                            "c: DELE 1", "C: DELE 2", "S: +OK",    "S: -ERR",
                                            "S: +OK",    "C: QUIT",   "S: +OK",    NULL },
                  play_pipelined);
}

static void play_lists_together(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};
        _cleanup_buffer_ Buffer listed = BUFFER(4096);

        assert_int_equal(pop3_uidl_and_list(pop3, uidl_entry, list_entry, &listed, &no), 1);
        assert_int_equal(no.kind, OUTCOME_NOT_OFFERED);
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(pop3_uidl_and_list(pop3, uidl_entry, list_entry, &listed, &no), 0);
        assert_string_equal(listed.data, "1=a 2=b 1=12 2=34 ");
        assert_int_equal(pop3_uidl_and_list(pop3, uidl_entry, list_entry, &listed, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_int_equal(no.phase, PHASE_UIDL);
        /* The answer to LIST must not become that of another command. */
        assert_int_equal(pop3_quit(pop3, &no), -ENOTCONN);
}

static void test_lists_together(void **state)
{
        peer_play(*state,
                  (const char *[]){ "S: +OK",  "C: CAPA", "S: +OK",  "S: PIPELINING", "S: .",
                                    "c: UIDL", "C: LIST", "S: +OK",  "S: 1 a",        "S: 2 b",
                                    "S: .",    "S: +OK",  "S: 1 12", "S: 2 34",       "S: .",
                                    "c: UIDL", "C: LIST", "S: -ERR", "S: +OK",        "S: .",
                                    NULL },
                  play_lists_together);
}

enum { MANY = 1000, BODY = 3000 };

static size_t most_waiting;

/* A server that answers one command after the other and never reads ahead of its own writing. */
static void serve_many(Peer *peer)
{
        char line[256], body[BODY];

        memset(body, 'b', sizeof(body));
        memcpy(body + BODY - 5, "\r\n.\r\n", 5);
        peer_send(peer, "+OK\r\n", 5);
        assert_true(peer_read(peer, line, sizeof(line)));
        peer_send(peer, "+OK\r\nPIPELINING\r\nTOP\r\n.\r\n", 25);
        most_waiting = 0;
        while (peer_read(peer, line, sizeof(line))) {
                size_t waiting = peer_waiting(peer);

                most_waiting = MAX(most_waiting, waiting + 1);
                peer_send(peer, "+OK\r\n", 5);
                if (strncmp(line, "DELE", 4) != 0)
                        peer_send(peer, body, sizeof(body));
        }
}

typedef struct Count {
        size_t next, octets;
} Count;

static int count_begin(void *userdata, size_t index)
{
        Count *count = userdata;

        assert_int_equal(index, count->next);
        return 0;
}

static int count_data(void *userdata, size_t index, const char *data, size_t len)
{
        Count *count = userdata;

        count->octets += len;
        return 0;
}

static int count_end(void *userdata, size_t index)
{
        Count *count = userdata;

        assert_int_equal(index, count->next++);
        return 0;
}

static void play_many(Stream *stream_take, Transcript *transcript)
{
        static const Pop3Sink counting = { count_begin, count_data, count_end, seen_refused };
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, NULL);
        _cleanup_outcome_ Outcome no = {};
        uint32_t numbers[MANY];
        bool deleted[MANY];
        Count count = {};

        for (uint32_t i = 0; i < MANY; i++)
                numbers[i] = UINT32_MAX - i;
        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(pop3_retrieve(pop3, numbers, MANY, &counting, &count, &no), 0);
        assert_int_equal(count.next, MANY);
        assert_int_equal(count.octets, MANY * (BODY - 4));
        assert_true(most_waiting >= 120 && most_waiting <= 240);
        most_waiting = 0;
        count.next = 0;
        assert_int_equal(pop3_top(pop3, numbers, MANY, 0, &counting, &count, &no), 0);
        assert_int_equal(pop3_delete(pop3, numbers, MANY, deleted, &no), 0);
        for (size_t i = 0; i < MANY; i++)
                assert_true(deleted[i]);
        assert_true(most_waiting >= 64 && most_waiting <= 128);
}

static void test_many(void **state)
{
        peer_play_serve(*state, serve_many, play_many);
}

/* --- sign-ins by token and by proof ------------------------------------------------------------------------- */

static int login_token(Pop3 *pop3, const char *token, Outcome *no)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;

        assert_int_equal(secret_new(&secret, token, strlen(token)), 0);
        return pop3_login(pop3,
                          &(Login){ .user = "tim@example.org",
                                    .secret = secret,
                                    .host = "pop.example.org",
                                    .port = 995,
                                    .token = true,
                                    .allow_cleartext = true },
                          no);
}

static void play_token_refused(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_string_equal(pop3_login_method(pop3, &(Login){}), "PLAIN");
        assert_string_equal(pop3_login_method(pop3, &(Login){ .token = true }), "XOAUTH2");
        assert_int_equal(login_token(pop3, "tok-" PASSWORD, &no), 1);
        assert_int_equal(no.kind, OUTCOME_REPLY);
        assert_string_equal(no.code, "AUTH");
        assert_string_equal(no.sasl, "401");
        assert_string_equal(no.sasl_text, "{\"status\":\"401\",\"scope\":\"x ******\"}");
        assert_false(no.unjudged);
        /* The dialogue goes on: the error was answered. */
        assert_int_equal(login_token(pop3, "fresh", &no), 0);
        assert_int_equal(no.sasl[0], 0);
}

/* RFC 5034 section 4, and what Exchange insists upon: the token on a line of its own. */
static void test_token(void **state)
{
        peer_play(*state,
                  (const char *[]){
                          "S: +OK", "C: CAPA", "S: +OK", "S: SASL PLAIN XOAUTH2", "S: .",
                          "C: AUTH XOAUTH2", "S: + ",
                          "C: dXNlcj10aW1AZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgdG9rLWdlaGVpbS1Xb3J0NwEB",
                          /* {"status":"401","scope":"x tok-geheim-Wort7"} */
                          "S: + eyJzdGF0dXMiOiI0MDEiLCJzY29wZSI6InggdG9rLWdlaGVpbS1Xb3J0NyJ9",
                          "C: ", "S: -ERR [AUTH] no", "C: AUTH XOAUTH2", "S: +",
                          "C: dXNlcj10aW1AZXhhbXBsZS5vcmcBYXV0aD1CZWFyZXIgZnJlc2gBAQ==", "S: +OK",
                          NULL },
                  play_token_refused);
}

static void play_bearer(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(login_token(pop3, "fresh", &no), 1);
        assert_string_equal(no.sasl, "invalid_token");
        assert_string_equal(no.text, "no");
}

static void test_bearer(void **state)
{
        peer_play(
                *state,
                (const char *[]){
                        "S: +OK", "C: CAPA", "S: +OK", "S: SASL XOAUTH2 OAUTHBEARER", "S: .",
                        "C: AUTH OAUTHBEARER", "S: +",
                        "C: bixhPXRpbUBleGFtcGxlLm9yZywBaG9zdD1wb3AuZXhhbXBsZS5vcmcBcG9ydD05OTUBYXV0aD1CZWFyZXIgZnJlc2gBAQ==",
                        "S: + eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIn0=", "C: AQ==", "S: -ERR [AUTH] no",
                        NULL },
                play_bearer);
}

/* A server without the shared half of the password says so before the proof: nothing was judged. */
static void play_scram_unjudged(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_(secret_unrefp) Secret *secret = peer_password();
        _cleanup_outcome_ Outcome no = {};
        Login login = { .user = "tim", .secret = secret, .allow_cleartext = true };

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_string_equal(pop3_login_method(pop3, &login), "SCRAM-SHA-256");
        assert_int_equal(pop3_login(pop3, &login, &no), 1);
        assert_true(no.unjudged);
        login.after = "SCRAM-SHA-256";
        assert_int_equal(pop3_login(pop3, &login, &no), 0);
}

static void say(Peer *peer, const char *text)
{
        peer_send(peer, text, strlen(text));
}

static void serve_scram(Peer *peer, bool unproven)
{
        char line[512];

        say(peer, "+OK\r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        say(peer, "+OK\r\nSASL SCRAM-SHA-256 PLAIN\r\n.\r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        assert_memory_equal(line, "AUTH SCRAM-SHA-256 ", 19);
        if (unproven) {
                say(peer, "+OK welcome\r\n");
                return;
        }
        say(peer, "-ERR [AUTH] no\r\n");
        assert_true(peer_read(peer, line, sizeof(line)));
        assert_string_equal(line, "AUTH PLAIN " PLAIN_BASE64);
        say(peer, "+OK\r\n");
}

static void serve_scram_unjudged(Peer *peer)
{
        serve_scram(peer, false);
}

static void serve_scram_unproven(Peer *peer)
{
        serve_scram(peer, true);
}

/* Nor is a server believed that lets everybody in. */
static void play_scram_unproven(Stream *stream_take, Transcript *transcript)
{
        _cleanup_(pop3_freep) Pop3 *pop3 = opened(stream_take, transcript);
        _cleanup_outcome_ Outcome no = {};

        assert_int_equal(pop3_ask_capabilities(pop3, &no), 0);
        assert_int_equal(login(pop3, &no), 1);
        assert_int_equal(no.kind, OUTCOME_GARBAGE);
}

static void test_scram(void **state)
{
        peer_play_serve(*state, serve_scram_unjudged, play_scram_unjudged);
        peer_play_serve(*state, serve_scram_unproven, play_scram_unproven);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                LOOP_TEST(test_ordinary),       LOOP_TEST(test_cancelled),
                LOOP_TEST(test_greetings),      LOOP_TEST(test_silent_greeting),
                LOOP_TEST(test_no_capa),        LOOP_TEST(test_not_offered),
                LOOP_TEST(test_token),          LOOP_TEST(test_bearer),
                LOOP_TEST(test_scram),          LOOP_TEST(test_injected),
                LOOP_TEST(test_endless_capa),   LOOP_TEST(test_login_user),
                LOOP_TEST(test_login_plain),    LOOP_TEST(test_login_two_steps),
                LOOP_TEST(test_unsendable),     LOOP_TEST(test_nonsense),
                LOOP_TEST(test_late),           LOOP_TEST(test_pipelined),
                LOOP_TEST(test_lists_together), LOOP_TEST(test_many),
        };

        return cmocka_run_group_tests_name("pop3", tests, NULL, NULL);
}
