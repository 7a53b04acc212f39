/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pop3.h. Pipelined commands are kept so few and short that they fit into any server's receive buffer: we never wait
 * to write while the server waits to write to us. */
#include <string.h>

#include "base/text.h"
#include "proto/unstuff.h"
#include "talk/dialogue.h"
#include "talk/pop3.h"

enum {
        CONTENT_PIECE = 32 * 1024,  /* octets given to a sink at once */
        COMMAND_LINE_MAX = 255,     /* RFC 2449 section 4, CRLF included */
        PIPELINE_OCTETS = 4 * 1024, /* of commands under way */
        WINDOW_RETRIEVE = 240, /* replies under way: a fast line with a long way needs that many */
        WINDOW_SMALL = 128,    /* the same where replies are small */
        CAPA_OCTETS = LIMIT_DOCUMENT,
};

struct Pop3 {
        Dialogue dialogue;
        char *greeting;
        Pop3Capabilities capabilities;
        char *content; /* CONTENT_PIECE + 2, made when first needed */
};

/* --- one command, one reply --------------------------------------------------------------------------------- */

static int reply_refused(const Pop3 *pop3, const Pop3Reply *reply, Phase phase, Outcome *no)
{
        memcpy(no->code, reply->code, sizeof(no->code));
        dialogue_set_text(&pop3->dialogue, no, reply->text, reply->text_len);
        return outcome_set(no, OUTCOME_REPLY, phase);
}

/* Reads a status line. Returns 0 for +OK and for -ERR. */
static int read_status(Pop3 *pop3, Phase phase, Pop3Reply *ret, Outcome *no)
{
        const char *line;
        size_t len;
        int r;

        r = dialogue_read_line(&pop3->dialogue, phase, &line, &len, no);
        if (r)
                return r;
        if (pop3_parse_reply(ret, line, len) < 0)
                return dialogue_garbage(&pop3->dialogue, no, phase, line, len);
        return 0;
}

/* Sends what was said and reads the status. Returns 0 for +OK; after REPLY the dialogue is ready for more. */
static int ask(Pop3 *pop3, Phase phase, Pop3Reply *ret, Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&pop3->dialogue, phase, no);
        if (r)
                return r;
        r = read_status(pop3, phase, ret, no);
        if (r || ret->ok)
                return r;
        return dialogue_end(&pop3->dialogue, reply_refused(pop3, ret, phase, no));
}

/* A line of a multi-line reply, a stuffed dot removed (RFC 1939 section 3). Sets @ret_last at the terminator. */
static int read_listed(Pop3 *pop3, Phase phase, const char **ret, size_t *ret_len, bool *ret_last,
                       Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_IDLE_USEC);
        r = stream_read_line(pop3->dialogue.stream, phase, ret, ret_len, no);
        if (r)
                return r;
        *ret_last = *ret_len == 1 && **ret == '.';
        if (*ret_len > 1 && **ret == '.') {
                (*ret)++;
                (*ret_len)--;
        }
        return 0;
}

/* --- greeting and capabilities ------------------------------------------------------------------------------ */

Pop3 *pop3_free(Pop3 *pop3)
{
        if (!pop3)
                return NULL;
        dialogue_deinit(&pop3->dialogue);
        free(pop3->greeting);
        pop3_capabilities_clear(&pop3->capabilities);
        free(pop3->content);
        free(pop3);
        return NULL;
}

static int read_greeting(Pop3 *pop3, Outcome *no)
{
        Pop3Reply reply;
        const char *line;
        size_t len;
        int r;

        FIBER_DEADLINE(LIMIT_GREETING_USEC);
        r = dialogue_read_greeting(&pop3->dialogue, "+-", &line, &len, no);
        if (r)
                return r;
        if (pop3_parse_reply(&reply, line, len) < 0)
                return dialogue_garbage(&pop3->dialogue, no, PHASE_GREETING, line, len);
        if (!reply.ok)
                return reply_refused(pop3, &reply, PHASE_GREETING, no);
        pop3->greeting = text_printable_new(reply.text, reply.text_len, LIMIT_REPLY_TEXT);
        return pop3->greeting ? 0 : -ENOMEM;
}

int pop3_open(Pop3 **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no)
{
        _cleanup_(stream_freep) Stream *stream = stream_take;
        _cleanup_(pop3_freep) Pop3 *pop3 = calloc(1, sizeof(*pop3));
        int r;

        if (!pop3)
                return -ENOMEM;
        dialogue_init(&pop3->dialogue, TAKE(stream), transcript, label);
        r = dialogue_begin(&pop3->dialogue, no);
        if (r == 0)
                r = read_greeting(pop3, no);
        if (r)
                return r;
        dialogue_end(&pop3->dialogue, 0);
        *ret = TAKE(pop3);
        return 0;
}

const char *pop3_greeting(const Pop3 *pop3)
{
        return pop3->greeting ? pop3->greeting : "";
}

/* Nothing of a listing that never ends is kept but its beginning, and it is not read for ever. */
static int read_capabilities(Pop3 *pop3, Pop3Capabilities *capabilities, Outcome *no)
{
        size_t octets = 0;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        for (;;) {
                const char *line;
                size_t len;
                bool last;
                int r;

                r = read_listed(pop3, PHASE_CAPABILITY, &line, &len, &last, no);
                if (r)
                        return r;
                transcript_line(pop3->dialogue.transcript, pop3->dialogue.label, TRANSCRIPT_SERVER,
                                line, len);
                if (last)
                        return 0;
                octets += len + 2;
                if (octets > CAPA_OCTETS)
                        return outcome_set(no, OUTCOME_TOO_LONG, PHASE_CAPABILITY);
                r = pop3_parse_capability(capabilities, line, len);
                if (r < 0)
                        return r;
        }
}

int pop3_ask_capabilities(Pop3 *pop3, Outcome *no)
{
        Pop3Capabilities capabilities = {};
        Pop3Reply reply;
        int r;

        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        pop3_capabilities_clear(&pop3->capabilities);
        r = dialogue_say(&pop3->dialogue, NULL, "CAPA");
        if (r == 0)
                r = ask(pop3, PHASE_CAPABILITY, &reply, no);
        if (r == 1 && no->kind == OUTCOME_REPLY) {
                /* RFC 2449 section 5: a server without the command says -ERR. */
                outcome_reset(no);
                return 0;
        }
        if (r)
                return r;
        r = read_capabilities(pop3, &capabilities, no);
        if (r) {
                pop3_capabilities_clear(&capabilities);
                return r;
        }
        capabilities.known = true;
        pop3->capabilities = capabilities;
        return dialogue_end(&pop3->dialogue, 0);
}

const Pop3Capabilities *pop3_capabilities(const Pop3 *pop3)
{
        return &pop3->capabilities;
}

int pop3_start_tls(Pop3 *pop3, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no)
{
        Pop3Reply reply;
        int r;

        if (stream_is_tls(pop3->dialogue.stream))
                return -EALREADY;
        if (pop3->capabilities.known && !pop3->capabilities.stls)
                return dialogue_not_offered(no, PHASE_STARTTLS, "STLS");
        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&pop3->dialogue, NULL, "STLS");
        if (r == 0)
                r = ask(pop3, PHASE_STARTTLS, &reply, no);
        if (r)
                return r;

        /* RFC 2595 section 4: what was learnt before is forgotten, the greeting with it. */
        pop3_capabilities_clear(&pop3->capabilities);
        free(TAKE(pop3->greeting));
        r = dialogue_start_tls(&pop3->dialogue, tls, request, ret_certificate, no);
        return r ? r : dialogue_end(&pop3->dialogue, 0);
}

/* --- login -------------------------------------------------------------------------------------------------- */

static bool is_user(const char *method)
{
        return text_equal(method, "USER");
}

/* USER and PASS are PLAIN in other words, and older than every mechanism. */
const char *pop3_login_method(const Pop3 *pop3, const Login *login)
{
        const Pop3Capabilities *capabilities = &pop3->capabilities;
        const char *method = login_choose(&pop3->dialogue, capabilities->sasl, login);

        if ((method && !text_equal(method, "CRAM-MD5")) || login->token || is_user(login->after))
                return method;
        return capabilities->user || !capabilities->known ? "USER" : method;
}

/* RFC 5034 section 4: "+ " and a challenge. */
static bool is_challenge(const char *line, size_t len)
{
        return len >= 1 && line[0] == '+' && (len == 1 || line[1] == ' ');
}

/* LoginWire's read, and the answer to PASS. */
static int read_login_answer(void *userdata, const char **ret_challenge, size_t *ret_len,
                             Outcome *no)
{
        Pop3 *pop3 = userdata;
        Pop3Reply reply;
        const char *line;
        size_t len;
        int r;

        r = dialogue_read_line(&pop3->dialogue, PHASE_LOGIN, &line, &len, no);
        if (r)
                return r;
        if (is_challenge(line, len)) {
                *ret_challenge = line + MIN(len, (size_t) 2);
                *ret_len = len - MIN(len, (size_t) 2);
                return 2;
        }
        if (pop3_parse_reply(&reply, line, len) < 0)
                return dialogue_garbage(&pop3->dialogue, no, PHASE_LOGIN, line, len);
        if (reply.ok)
                return dialogue_end(&pop3->dialogue, 0);
        return dialogue_end(&pop3->dialogue, reply_refused(pop3, &reply, PHASE_LOGIN, no));
}

static int login_sasl(Pop3 *pop3, const Login *login, const char *method, Outcome *no)
{
        /* A token never fits into a line of POP3, and some servers hang up on the attempt: two steps, always. */
        const LoginWire wire = {
                .service = "pop",
                .command = "AUTH",
                .line_max = login->token ? 0 : COMMAND_LINE_MAX,
                .read = read_login_answer,
                .userdata = pop3,
        };

        return login_exchange(&pop3->dialogue, &wire, login, method, no);
}

static int login_user(Pop3 *pop3, const char *user, const Secret *secret, Outcome *no)
{
        Dialogue *dialogue = &pop3->dialogue;
        const char *challenge;
        Pop3Reply reply;
        size_t len;
        int r;

        r = dialogue_hide(dialogue, secret);
        if (r == 0)
                r = dialogue_say(dialogue, NULL, "USER %s", user);
        if (r == 0)
                r = ask(pop3, PHASE_USER, &reply, no);
        if (r)
                return r;
        /* Never sent together with USER: a server that refuses the name need not see the password. */
        r = dialogue_say_secret(dialogue, "PASS ", secret_data(secret));
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(dialogue, PHASE_LOGIN, no);
        if (r == 0)
                r = read_login_answer(pop3, &challenge, &len, no);
        return r == 2 ? dialogue_garbage(&pop3->dialogue, no, PHASE_LOGIN, "+", 1) : r;
}

int pop3_login(Pop3 *pop3, const Login *login, Outcome *no)
{
        const char *method = pop3_login_method(pop3, login);
        int r;

        if (!stream_is_tls(pop3->dialogue.stream) && !login->allow_cleartext)
                return -EPROTO;
        if (!method)
                return dialogue_not_offered(no, PHASE_LOGIN,
                                            login->token ? "AUTH XOAUTH2" : "AUTH PLAIN");
        if (!login_user_is_plain(login->user) ||
            (is_user(method) && !login_secret_is_plain(login->secret)))
                return -EINVAL;
        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        r = is_user(method) ? login_user(pop3, login->user, login->secret, no)
                            : login_sasl(pop3, login, method, no);
        return r == -EINVAL ? dialogue_end(&pop3->dialogue, r) : r;
}

/* --- the maildrop ------------------------------------------------------------------------------------------- */

int pop3_stat(Pop3 *pop3, uint64_t *ret_messages, uint64_t *ret_octets, Outcome *no)
{
        Pop3Reply reply;
        int r;

        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&pop3->dialogue, NULL, "STAT");
        if (r == 0)
                r = ask(pop3, PHASE_STAT, &reply, no);
        if (r)
                return r;
        if (pop3_parse_stat(reply.text, reply.text_len, ret_messages, ret_octets) < 0)
                return dialogue_garbage(&pop3->dialogue, no, PHASE_STAT, reply.text,
                                        reply.text_len);
        return dialogue_end(&pop3->dialogue, 0);
}

typedef struct Listing {
        Phase phase;
        Pop3ListEntry list;
        Pop3UidlEntry uidl;
        void *userdata;
} Listing;

/* Returns 0, 1 for a line that is no entry, negative errno. */
static int listing_entry(const Listing *listing, const char *line, size_t len)
{
        char uidl[LIMIT_UIDL + 1];
        uint64_t octets;
        uint32_t number;
        int r;

        if (listing->uidl) {
                r = pop3_parse_uidl_entry(line, len, &number, uidl);
                if (r < 0)
                        return r == -EBADMSG ? 1 : r;
                r = listing->uidl(listing->userdata, number, uidl);
        } else {
                if (pop3_parse_list_entry(line, len, &number, &octets) < 0)
                        return 1;
                r = listing->list(listing->userdata, number, octets);
        }
        return MIN(r, 0);
}

static int read_listing(Pop3 *pop3, const Listing *listing, Outcome *no)
{
        for (unsigned n = 0;; n++) {
                const char *line;
                size_t len;
                bool last;
                int r;

                r = read_listed(pop3, listing->phase, &line, &len, &last, no);
                if (r)
                        return r;
                if (last) {
                        transcript_note(pop3->dialogue.transcript, pop3->dialogue.label,
                                        "%u entries", n);
                        return dialogue_end(&pop3->dialogue, 0);
                }
                if (n == LIMIT_LIST)
                        return outcome_set(no, OUTCOME_TOO_LONG, listing->phase);
                r = listing_entry(listing, line, len);
                if (r)
                        return r < 0 ? r
                                     : dialogue_garbage(&pop3->dialogue, no, listing->phase, line,
                                                        len);
        }
}

static int list(Pop3 *pop3, const char *command, const Listing *listing, Outcome *no)
{
        Pop3Reply reply;
        int r;

        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&pop3->dialogue, NULL, "%s", command);
        if (r == 0)
                r = ask(pop3, listing->phase, &reply, no);
        return r ? r : read_listing(pop3, listing, no);
}

int pop3_list(Pop3 *pop3, Pop3ListEntry entry, void *userdata, Outcome *no)
{
        const Listing listing = { .phase = PHASE_LIST, .list = entry, .userdata = userdata };

        return list(pop3, "LIST", &listing, no);
}

int pop3_uidl(Pop3 *pop3, Pop3UidlEntry entry, void *userdata, Outcome *no)
{
        const Listing listing = { .phase = PHASE_UIDL, .uidl = entry, .userdata = userdata };

        return list(pop3, "UIDL", &listing, no);
}

static int listing_status(Pop3 *pop3, const Listing *listing, Outcome *no)
{
        Pop3Reply reply;
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = read_status(pop3, listing->phase, &reply, no);
        return r || reply.ok ? r : reply_refused(pop3, &reply, listing->phase, no);
}

static int listings_ask(Pop3 *pop3, Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_say(&pop3->dialogue, NULL, "UIDL");
        if (r == 0)
                r = dialogue_say(&pop3->dialogue, NULL, "LIST");
        return r < 0 ? r : dialogue_flush(&pop3->dialogue, PHASE_UIDL, no);
}

/* After a refused UIDL the answer to LIST is still to come: the dialogue stays busy. */
int pop3_uidl_and_list(Pop3 *pop3, Pop3UidlEntry uidl, Pop3ListEntry entry, void *userdata,
                       Outcome *no)
{
        const Listing listings[] = {
                { .phase = PHASE_UIDL, .uidl = uidl, .userdata = userdata },
                { .phase = PHASE_LIST, .list = entry, .userdata = userdata },
        };
        int r;

        if (!pop3->capabilities.pipelining)
                return dialogue_not_offered(no, PHASE_UIDL, "PIPELINING");
        r = dialogue_begin(&pop3->dialogue, no);
        if (r == 0)
                r = listings_ask(pop3, no);
        for (size_t i = 0; i < ELEMENTS(listings) && r == 0; i++) {
                pop3->dialogue.busy = true;
                r = listing_status(pop3, &listings[i], no);
                if (r == 0)
                        r = read_listing(pop3, &listings[i], no);
        }
        return r;
}

/* --- many commands under way -------------------------------------------------------------------------------- */

typedef struct Pipeline {
        Pop3 *pop3;
        Phase phase;
        const char *verb;
        int lines; /* of TOP; negative for other commands */
        const uint32_t *numbers;
        size_t n_numbers;
        size_t sent, answered; /* indices into @numbers */
        size_t window;
        const Pop3Sink *sink;
        bool *deleted;
        void *userdata;
} Pipeline;

static int pipeline_say(Pipeline *pipeline)
{
        Dialogue *dialogue = &pipeline->pop3->dialogue;
        uint32_t number = pipeline->numbers[pipeline->sent];

        if (pipeline->lines >= 0)
                return dialogue_say(dialogue, NULL, "%s %u %d", pipeline->verb, number,
                                    pipeline->lines);
        return dialogue_say(dialogue, NULL, "%s %u", pipeline->verb, number);
}

/* Fills the window up when half of it is used, in one write. */
static int pipeline_send(Pipeline *pipeline, Outcome *no)
{
        Dialogue *dialogue = &pipeline->pop3->dialogue;
        size_t under_way = pipeline->sent - pipeline->answered;
        int r;

        if (pipeline->sent == pipeline->n_numbers || under_way > pipeline->window / 2)
                return 0;
        while (pipeline->sent < pipeline->n_numbers &&
               pipeline->sent - pipeline->answered < pipeline->window) {
                r = pipeline_say(pipeline);
                if (r < 0)
                        return r;
                pipeline->sent++;
        }
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        return dialogue_flush(dialogue, pipeline->phase, no);
}

/* The content of one message, up to its terminator. */
static int read_content(Pipeline *pipeline, Outcome *no)
{
        Pop3 *pop3 = pipeline->pop3;
        Unstuff unstuff = {};
        int ended = 0;

        while (!ended) {
                size_t len, consumed, out_len;
                const char *data;
                int r;

                {
                        FIBER_DEADLINE(LIMIT_IDLE_USEC);
                        r = stream_read_some(pop3->dialogue.stream, pipeline->phase, &data, &len,
                                             no);
                }
                if (r)
                        return r;
                ended = unstuff_feed(&unstuff, data, MIN(len, (size_t) CONTENT_PIECE), &consumed,
                                     pop3->content, &out_len);
                stream_consume(pop3->dialogue.stream, consumed);
                if (out_len == 0)
                        continue;
                r = pipeline->sink->data(pipeline->userdata, pipeline->answered, pop3->content,
                                         out_len);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int pipeline_message(Pipeline *pipeline, const Pop3Reply *reply, Outcome *no)
{
        const Pop3Sink *sink = pipeline->sink;
        size_t index = pipeline->answered;
        int r;

        if (!reply->ok) {
                reply_refused(pipeline->pop3, reply, pipeline->phase, no);
                r = sink->refused(pipeline->userdata, index, no);
                outcome_reset(no);
                return MIN(r, 0);
        }
        r = sink->begin(pipeline->userdata, index);
        if (r < 0)
                return r;
        r = read_content(pipeline, no);
        if (r)
                return r;
        return MIN(sink->end(pipeline->userdata, index), 0);
}

/* Reads one status line and what belongs to it. Each wait is limited, not the whole. */
static int pipeline_answer(Pipeline *pipeline, Outcome *no)
{
        Pop3Reply reply;
        int r;

        {
                FIBER_DEADLINE(LIMIT_IDLE_USEC);
                r = read_status(pipeline->pop3, pipeline->phase, &reply, no);
        }
        if (r)
                return r;
        if (pipeline->sink)
                r = pipeline_message(pipeline, &reply, no);
        else if (pipeline->deleted)
                pipeline->deleted[pipeline->answered] = reply.ok;
        return r;
}

static size_t pipeline_window(const Pop3 *pop3, size_t replies, size_t command_len)
{
        if (!pop3->capabilities.pipelining)
                return 1;
        return MIN(replies, PIPELINE_OCTETS / command_len);
}

static int pipeline_run(Pipeline *pipeline, Outcome *no)
{
        int r;

        r = dialogue_begin(&pipeline->pop3->dialogue, no);
        if (r < 0)
                return r;
        while (pipeline->answered < pipeline->n_numbers) {
                r = pipeline_send(pipeline, no);
                if (r)
                        return r;
                r = pipeline_answer(pipeline, no);
                if (r)
                        return r;
                pipeline->answered++;
        }
        return dialogue_end(&pipeline->pop3->dialogue, 0);
}

static int pop3_need_content(Pop3 *pop3)
{
        if (!pop3->content)
                pop3->content = malloc(CONTENT_PIECE + 2);
        return pop3->content ? 0 : -ENOMEM;
}

int pop3_retrieve(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, const Pop3Sink *sink,
                  void *userdata, Outcome *no)
{
        Pipeline pipeline = {
                .pop3 = pop3,
                .phase = PHASE_RETRIEVE,
                .verb = "RETR",
                .lines = -1,
                .numbers = numbers,
                .n_numbers = n_numbers,
                .window = pipeline_window(pop3, WINDOW_RETRIEVE, strlen("RETR 4294967295\r\n")),
                .sink = sink,
                .userdata = userdata,
        };

        return pop3_need_content(pop3) < 0 ? -ENOMEM : pipeline_run(&pipeline, no);
}

int pop3_top(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, unsigned lines,
             const Pop3Sink *sink, void *userdata, Outcome *no)
{
        Pipeline pipeline = {
                .pop3 = pop3,
                .phase = PHASE_TOP,
                .verb = "TOP",
                .lines = (int) MIN(lines, (unsigned) INT32_MAX),
                .numbers = numbers,
                .n_numbers = n_numbers,
                .window = pipeline_window(pop3, WINDOW_SMALL,
                                          strlen("TOP 4294967295 2147483647\r\n")),
                .sink = sink,
                .userdata = userdata,
        };

        if (pop3->capabilities.known && !pop3->capabilities.top)
                return dialogue_not_offered(no, PHASE_TOP, "TOP");
        return pop3_need_content(pop3) < 0 ? -ENOMEM : pipeline_run(&pipeline, no);
}

int pop3_delete(Pop3 *pop3, const uint32_t *numbers, size_t n_numbers, bool *ret_deleted,
                Outcome *no)
{
        Pipeline pipeline = {
                .pop3 = pop3,
                .phase = PHASE_DELETE,
                .verb = "DELE",
                .lines = -1,
                .numbers = numbers,
                .n_numbers = n_numbers,
                .window = pipeline_window(pop3, WINDOW_SMALL, strlen("DELE 4294967295\r\n")),
                .deleted = ret_deleted,
        };

        if (ret_deleted)
                memset(ret_deleted, 0, n_numbers * sizeof(*ret_deleted));
        return pipeline_run(&pipeline, no);
}

/* RFC 1939 section 6: -ERR here means that some of the deletions were not made. */
int pop3_quit(Pop3 *pop3, Outcome *no)
{
        Pop3Reply reply;
        int r;

        r = dialogue_begin(&pop3->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&pop3->dialogue, NULL, "QUIT");
        if (r == 0)
                r = ask(pop3, PHASE_QUIT, &reply, no);
        return r ? r : dialogue_end(&pop3->dialogue, 0);
}

uint64_t pop3_bytes(const Pop3 *pop3)
{
        return stream_bytes_in(pop3->dialogue.stream);
}
