/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See imap.h. One response is read whole into one buffer, its literals in place, except message content, which streams to a sink while the
 * response around it is still being read. Commands under way are few and short, so that they fit into any server's receive buffer:
 * we never wait to write while the server waits to write to us. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config.h"
#include "talk/dialogue.h"
#include "talk/imap.h"

enum {
        CONTENT_PIECE = 32 * 1024,   /* octets given to a sink at once */
        COMMAND_LINE_MAX = 8 * 1024, /* RFC 7162 section 4 */
        SET_MAX = 900, /* octets of a set: RFC 2683 section 3.2.1.5 has 1000 for a line */
        LITERAL_MINUS_MAX = 4096, /* RFC 7888 section 5 */
        COMMAND_UIDS = 128,       /* messages of one command */
        COMMANDS_UNDER_WAY = 3,
        REFUSALS_IN_A_ROW = 10, /* messages that are not given, after which the mailbox is not */
        TAG_SIZE = 16,
};

struct Imap {
        Dialogue dialogue;
        char *greeting, *alert;
        ImapCapabilities capabilities;
        bool preauth, quiet; /* quiet: what comes is not for the transcript */
        unsigned n_tags;
        char tag[TAG_SIZE];      /* of the command under way */
        char idle_tag[TAG_SIZE]; /* of an IDLE whose DONE has not been answered; "" none */
        bool idle_done;          /* DONE was said */
        uint32_t exists;
        bool changed; /* messages came since last looked at */
        Buffer response;
        char *content; /* CONTENT_PIECE, made when first needed */
};

/* Who reads message content. NULL sink: octets that nobody asked for. */
typedef struct Retrieval Retrieval;
static int retrieval_content(Retrieval *retrieval, const ImapFetch *fetch, uint64_t size,
                             Outcome *no);

/* --- one response ------------------------------------------------------------------------------------------- */

static int too_long(Outcome *no, Phase phase)
{
        return outcome_set(no, OUTCOME_TOO_LONG, phase);
}

static int read_line(Imap *imap, Phase phase, const char **ret, size_t *ret_len, Outcome *no)
{
        FIBER_DEADLINE(LIMIT_IDLE_USEC);
        if (imap->quiet)
                return stream_read_line(imap->dialogue.stream, phase, ret, ret_len, no);
        return dialogue_read_line(&imap->dialogue, phase, ret, ret_len, no);
}

/* Octets of a literal into the response, behind the CRLF that stands before them. */
static int read_literal(Imap *imap, Phase phase, uint64_t size, Outcome *no)
{
        int r;

        if (size > LIMIT_RESPONSE - imap->response.len)
                return too_long(no, phase);
        r = buffer_append(&imap->response, "\r\n", 2);
        while (r == 0 && size > 0) {
                const char *data;
                size_t len;

                FIBER_DEADLINE(LIMIT_IDLE_USEC);
                r = stream_read_some(imap->dialogue.stream, phase, &data, &len, no);
                if (r)
                        return r;
                len = (size_t) MIN((uint64_t) len, size);
                r = buffer_append(&imap->response, data, len);
                stream_consume(imap->dialogue.stream, len);
                size -= len;
        }
        return r == -ENOBUFS ? too_long(no, phase) : r;
}

/* Is what stands before the literal at the end the beginning of message content? */
static bool content_follows(const Imap *imap, ImapFetch *ret)
{
        ImapReply reply;

        return imap_parse_reply(&reply, imap->response.data, imap->response.len) == 0 &&
               reply.kind == IMAP_UNTAGGED && reply.numbered && text_equal(reply.name, "FETCH") &&
               imap_parse_fetch(ret, reply.data, reply.data_len) == 1 &&
               ret->body == IMAP_BODY_FOLLOWS;
}

/* A literal, announced by the last @octets of the response so far. What has streamed away leaves an empty one behind. */
static int take_literal(Imap *imap, Phase phase, uint64_t size, size_t octets, Retrieval *retrieval,
                        Outcome *no)
{
        ImapFetch fetch;
        int r;

        if (!retrieval || !content_follows(imap, &fetch))
                return read_literal(imap, phase, size, no);
        r = retrieval_content(retrieval, &fetch, size, no);
        if (r)
                return r;
        imap->response.len -= octets;
        return buffer_append_text(&imap->response, "{0}\r\n");
}

/* The next response, whole; borrowed until the next one. */
static int read_response(Imap *imap, Phase phase, Retrieval *retrieval, ImapReply *ret, Outcome *no)
{
        buffer_clear(&imap->response);
        for (;;) {
                const char *line;
                uint64_t size;
                size_t len, octets;
                int r, literal;

                r = read_line(imap, phase, &line, &len, no);
                if (r)
                        return r;
                literal = imap_literal_at_end(line, len, &size, &octets);
                r = buffer_append(&imap->response, line, len);
                if (r < 0)
                        return r == -ENOBUFS ? too_long(no, phase) : r;
                /* A status line may end in braces, too: those announce nothing. */
                if (literal > 0 && imap->response.len == len &&
                    imap_parse_reply(ret, imap->response.data, imap->response.len) == 0 &&
                    ret->status != IMAP_DATA)
                        literal = 0;
                if (literal == 0)
                        break;
                r = literal < 0 ? too_long(no, phase)
                                : take_literal(imap, phase, size, octets, retrieval, no);
                if (r)
                        return r;
        }
        if (!imap->response.data ||
            imap_parse_reply(ret, imap->response.data, imap->response.len) < 0)
                return dialogue_garbage(&imap->dialogue, no, phase,
                                        imap->response.data ? imap->response.data : "",
                                        imap->response.len);
        return 0;
}

static int reply_refused(const Imap *imap, const ImapReply *reply, Phase phase, Outcome *no)
{
        memcpy(no->code, reply->code, sizeof(no->code));
        dialogue_set_text(&imap->dialogue, no, reply->words, reply->words_len);
        return outcome_set(no, OUTCOME_REPLY, phase);
}

static int keep_alert(Imap *imap, const ImapReply *reply)
{
        _cleanup_outcome_ Outcome shown = {};

        /* Through the dialogue's care for secrets. */
        dialogue_set_text(&imap->dialogue, &shown, reply->text, reply->text_len);
        return text_set(&imap->alert, shown.text);
}

/* What any response may bring along. Returns 0; 1 when it was a BYE. */
static int note_response(Imap *imap, const ImapReply *reply, Phase phase, Outcome *no)
{
        if (reply->status == IMAP_BYE && phase != PHASE_QUIT)
                return reply_refused(imap, reply, phase, no);
        /* Some have an [ALERT] to say before that. */
        imap->preauth |= reply->status == IMAP_PREAUTH;
        if (text_equal(reply->code, "CAPABILITY") &&
            (reply->status == IMAP_OK || reply->status == IMAP_PREAUTH))
                return imap_parse_capabilities(&imap->capabilities, reply->arguments,
                                               reply->arguments_len);
        if (text_equal(reply->code, "ALERT"))
                return keep_alert(imap, reply);
        if (reply->status != IMAP_DATA || reply->kind != IMAP_UNTAGGED)
                return 0;
        if (text_equal(reply->name, "CAPABILITY"))
                return imap_parse_capabilities(&imap->capabilities, reply->data, reply->data_len);
        if (reply->numbered && text_equal(reply->name, "EXISTS")) {
                imap->changed |= reply->number > imap->exists;
                imap->exists = reply->number;
        } else if (reply->numbered && text_equal(reply->name, "EXPUNGE")) {
                imap->exists -= imap->exists > 0;
        }
        return 0;
}

static bool has_tag(const ImapReply *reply, const char *tag)
{
        return reply->kind == IMAP_TAGGED && reply->tag_len == strlen(tag) &&
               memcmp(reply->tag, tag, reply->tag_len) == 0;
}

/* The answer to an IDLE that ended by a DONE comes before that to the command which went along with it. */
static bool is_idle_answer(Imap *imap, const ImapReply *reply)
{
        if (!imap->idle_tag[0] || !imap->idle_done || !has_tag(reply, imap->idle_tag))
                return false;
        imap->idle_tag[0] = 0;
        return true;
}

/* The next response that is of this command: untagged, a continuation, or its tagged one. Another command's tag is garbage: what a
 * stale answer says is true of something else. */
static int next_response(Imap *imap, Phase phase, Retrieval *retrieval, ImapReply *ret, Outcome *no)
{
        int r;

        do {
                r = read_response(imap, phase, retrieval, ret, no);
                if (r == 0)
                        r = note_response(imap, ret, phase, no);
                if (r)
                        return r;
        } while (is_idle_answer(imap, ret));
        return 0;
}

/* A response that has no place here. */
static int stray(const Imap *imap, Phase phase, Outcome *no)
{
        return dialogue_garbage(&imap->dialogue, no, phase, imap->response.data,
                                imap->response.len);
}

/* --- one command --------------------------------------------------------------------------------------------- */

typedef int (*Data)(void *userdata, const ImapReply *reply);

static void next_tag(Imap *imap)
{
        snprintf(imap->tag, sizeof(imap->tag), "w%u", ++imap->n_tags);
}

/* RFC 2177: an IDLE ends before anything else is said. */
static int say_done(Imap *imap)
{
        if (!imap->idle_tag[0] || imap->idle_done)
                return 0;
        imap->idle_done = true;
        return dialogue_say(&imap->dialogue, NULL, "DONE");
}

static int begin(Imap *imap, Outcome *no)
{
        int r = dialogue_begin(&imap->dialogue, no);

        if (r == 0)
                r = say_done(imap);
        if (r == 0)
                next_tag(imap);
        return r;
}

/* Reads up to the tagged answer, at most @limit responses. @data (may be NULL) gets what is untagged; when it returns 1 the response makes no sense. Returns 0 for OK; after REPLY by NO or BAD the dialogue is ready for more. */
static int finish_listing(Imap *imap, Phase phase, Data data, void *userdata, unsigned limit,
                          ImapReply *ret, Outcome *no)
{
        for (unsigned n = 0;; n++) {
                int r;

                if (n > limit)
                        return too_long(no, phase);
                r = next_response(imap, phase, NULL, ret, no);
                if (r)
                        return r;
                if (has_tag(ret, imap->tag))
                        break;
                if (ret->kind != IMAP_UNTAGGED)
                        return stray(imap, phase, no);
                r = data ? data(userdata, ret) : 0;
                if (r < 0)
                        return r;
                if (r > 0)
                        return stray(imap, phase, no);
        }
        if (ret->status == IMAP_OK)
                return dialogue_end(&imap->dialogue, 0);
        return dialogue_end(&imap->dialogue, reply_refused(imap, ret, phase, no));
}

static int finish(Imap *imap, Phase phase, Data data, void *userdata, ImapReply *ret, Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&imap->dialogue, phase, no);
        return r ? r : finish_listing(imap, phase, data, userdata, LIMIT_UNTAGGED, ret, no);
}

/* A whole command without strings. */
static int ask(Imap *imap, Phase phase, const char *command, Data data, void *userdata, Outcome *no)
{
        ImapReply reply;
        int r;

        r = begin(imap, no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, NULL, "%s %s", imap->tag, command);
        return r ? r : finish(imap, phase, data, userdata, &reply, no);
}

/* Waits for the "+" before a literal. Returns 2 when it came, else as finish(): a tagged OK there is garbage. */
static int await_continuation(Imap *imap, Phase phase, Outcome *no)
{
        ImapReply reply;
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&imap->dialogue, phase, no);
        for (unsigned n = 0; r == 0 && n <= LIMIT_UNTAGGED; n++) {
                r = next_response(imap, phase, NULL, &reply, no);
                if (r)
                        return r;
                if (reply.kind == IMAP_CONTINUATION)
                        return 2;
                if (reply.kind == IMAP_UNTAGGED)
                        continue;
                if (!has_tag(&reply, imap->tag) || reply.status == IMAP_OK)
                        return stray(imap, phase, no);
                return dialogue_end(&imap->dialogue, reply_refused(imap, &reply, phase, no));
        }
        return r ? r : too_long(no, phase);
}

static bool literal_at_once(const Imap *imap, size_t len)
{
        return imap->capabilities.literal_plus ||
               (imap->capabilities.literal_minus && len <= LITERAL_MINUS_MAX);
}

/* A string goes in quotes where it can, else as a literal: in one piece where the server allows that, else after its "+". */
static int say_string(Imap *imap, Phase phase, Buffer *line, const char *shown, const char *text,
                      size_t len, Outcome *no)
{
        bool at_once = literal_at_once(imap, len);
        int r;

        r = buffer_append(line, " ", 1);
        if (r == 0)
                r = imap_quote(line, text, len);
        if (r <= 0)
                return r;
        r = buffer_printf(line, at_once ? "{%zu+}" : "{%zu}", len);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, shown, "%s", line->data);
        if (r < 0)
                return r;
        r = at_once ? 2 : await_continuation(imap, phase, no);
        if (r != 2)
                return r;
        buffer_clear(line);
        return buffer_append(line, text, len);
}

/* --- greeting and capabilities ------------------------------------------------------------------------------ */

Imap *imap_free(Imap *imap)
{
        if (!imap)
                return NULL;
        dialogue_deinit(&imap->dialogue);
        imap_capabilities_clear(&imap->capabilities);
        buffer_deinit(&imap->response);
        free(imap->greeting);
        free(imap->alert);
        free(imap->content);
        free(imap);
        return NULL;
}

static int read_greeting(Imap *imap, Outcome *no)
{
        ImapReply reply;
        const char *line;
        size_t len;
        int r;

        FIBER_DEADLINE(LIMIT_GREETING_USEC);
        r = dialogue_read_greeting(&imap->dialogue, "*", &line, &len, no);
        if (r)
                return r;
        if (imap_parse_reply(&reply, line, len) < 0 || reply.kind != IMAP_UNTAGGED)
                return dialogue_garbage(&imap->dialogue, no, PHASE_GREETING, line, len);
        r = note_response(imap, &reply, PHASE_GREETING, no);
        if (r)
                return r;
        if (reply.status == IMAP_NO || reply.status == IMAP_BAD)
                return reply_refused(imap, &reply, PHASE_GREETING, no);
        if (reply.status != IMAP_OK && reply.status != IMAP_PREAUTH)
                return dialogue_garbage(&imap->dialogue, no, PHASE_GREETING, line, len);
        imap->greeting = text_printable_new(reply.text, reply.text_len, LIMIT_REPLY_TEXT);
        return imap->greeting ? 0 : -ENOMEM;
}

int imap_open(Imap **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no)
{
        _cleanup_(stream_freep) Stream *stream = stream_take;
        _cleanup_(imap_freep) Imap *imap = calloc(1, sizeof(*imap));
        int r;

        if (!imap)
                return -ENOMEM;
        imap->response = BUFFER(LIMIT_RESPONSE);
        dialogue_init(&imap->dialogue, TAKE(stream), transcript, label);
        r = dialogue_begin(&imap->dialogue, no);
        if (r == 0)
                r = read_greeting(imap, no);
        if (r)
                return r;
        dialogue_end(&imap->dialogue, 0);
        *ret = TAKE(imap);
        return 0;
}

const char *imap_greeting(const Imap *imap)
{
        return imap->greeting ? imap->greeting : "";
}

bool imap_signed_in(const Imap *imap)
{
        return imap->preauth && stream_is_tls(imap->dialogue.stream);
}

const char *imap_alert(const Imap *imap)
{
        return imap->alert;
}

const ImapCapabilities *imap_capabilities(const Imap *imap)
{
        return &imap->capabilities;
}

int imap_ask_capabilities(Imap *imap, Outcome *no)
{
        if (imap->capabilities.known) {
                outcome_reset(no);
                return 0;
        }
        return ask(imap, PHASE_CAPABILITY, "CAPABILITY", NULL, NULL, no);
}

int imap_start_tls(Imap *imap, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no)
{
        int r;

        if (stream_is_tls(imap->dialogue.stream))
                return -EALREADY;
        /* RFC 9051 section 11.1: whoever can write PREAUTH into a clear connection keeps it clear. */
        if (imap->preauth || (imap->capabilities.known && !imap->capabilities.starttls))
                return dialogue_not_offered(no, PHASE_STARTTLS, "STARTTLS");
        r = ask(imap, PHASE_STARTTLS, "STARTTLS", NULL, NULL, no);
        if (r == 0)
                r = dialogue_begin(&imap->dialogue, no);
        if (r)
                return r;

        /* RFC 9051 section 6.2.1: what was learnt before is forgotten, the greeting with it. */
        imap_capabilities_clear(&imap->capabilities);
        free(TAKE(imap->greeting));
        free(TAKE(imap->alert));
        r = dialogue_start_tls(&imap->dialogue, tls, request, ret_certificate, no);
        return r ? r : dialogue_end(&imap->dialogue, 0);
}

/* --- login -------------------------------------------------------------------------------------------------- */

#define LOGIN_COMMAND "LOGIN-COMMAND"

const char *imap_login_method(const Imap *imap, const Login *login)
{
        const ImapCapabilities *capabilities = &imap->capabilities;
        const char *method = login_choose(&imap->dialogue, capabilities->sasl, login);

        if ((method && !text_equal(method, "CRAM-MD5")) || login->token ||
            text_equal(login->after, LOGIN_COMMAND))
                return method;
        return capabilities->login_disabled ? method : LOGIN_COMMAND;
}

/* Exchange says OK to a login that it then does not stand by: [Error="UserDisabled" AuthResult=27] AUTHENTICATE completed. */
static bool has_error_inside(const ImapReply *reply)
{
        static const char mark[] = "[Error=";

        return reply->status == IMAP_OK && reply->text_len >= sizeof(mark) - 1 &&
               memcmp(reply->text, mark, sizeof(mark) - 1) == 0;
}

static int login_answer(Imap *imap, const ImapReply *reply, Outcome *no)
{
        if (reply->status != IMAP_OK || has_error_inside(reply))
                return dialogue_end(&imap->dialogue, reply_refused(imap, reply, PHASE_LOGIN, no));
        /* RFC 9051 section 6.2.3: what was offered before the login counts no more, unless this answer said it. */
        if (!text_equal(reply->code, "CAPABILITY"))
                imap_capabilities_clear(&imap->capabilities);
        return dialogue_end(&imap->dialogue, 0);
}

/* LoginWire's read. */
static int read_login_answer(void *userdata, const char **ret_challenge, size_t *ret_len,
                             Outcome *no)
{
        Imap *imap = userdata;
        ImapReply reply;

        for (unsigned n = 0; n <= LIMIT_UNTAGGED; n++) {
                int r = next_response(imap, PHASE_LOGIN, NULL, &reply, no);

                if (r)
                        return r;
                if (reply.kind == IMAP_CONTINUATION) {
                        *ret_challenge = reply.words;
                        *ret_len = reply.words_len;
                        return 2;
                }
                if (reply.kind == IMAP_UNTAGGED)
                        continue;
                if (!has_tag(&reply, imap->tag))
                        return stray(imap, PHASE_LOGIN, no);
                return login_answer(imap, &reply, no);
        }
        return too_long(no, PHASE_LOGIN);
}

static int login_sasl(Imap *imap, const Login *login, const char *method, Outcome *no)
{
        char command[TAG_SIZE + sizeof(" AUTHENTICATE")];
        const LoginWire wire = {
                .service = "imap",
                .command = command,
                .line_max = imap->capabilities.sasl_ir ? COMMAND_LINE_MAX : 0,
                .read = read_login_answer,
                .userdata = imap,
        };

        snprintf(command, sizeof(command), "%s AUTHENTICATE", imap->tag);
        return login_exchange(&imap->dialogue, &wire, login, method, no);
}

static int login_command(Imap *imap, const Login *login, Outcome *no)
{
        _cleanup_buffer_ Buffer line = BUFFER_SECRET(2 * LIMIT_TOKEN);
        const char *challenge;
        char shown[TAG_SIZE + sizeof(" LOGIN ******")];
        size_t len;
        int r;

        snprintf(shown, sizeof(shown), "%s LOGIN ******", imap->tag);
        r = dialogue_hide(&imap->dialogue, login->secret);
        if (r == 0)
                r = buffer_printf(&line, "%s LOGIN", imap->tag);
        if (r == 0)
                r = say_string(imap, PHASE_LOGIN, &line, NULL, login->user, strlen(login->user),
                               no);
        if (r == 0)
                r = say_string(imap, PHASE_LOGIN, &line, shown, secret_data(login->secret),
                               secret_len(login->secret), no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, shown, "%s", line.data);
        if (r)
                return r;
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&imap->dialogue, PHASE_LOGIN, no);
        if (r == 0)
                r = read_login_answer(imap, &challenge, &len, no);
        return r == 2 ? dialogue_garbage(&imap->dialogue, no, PHASE_LOGIN, "+", 1) : r;
}

int imap_login(Imap *imap, const Login *login, Outcome *no)
{
        const char *method = imap_login_method(imap, login);
        bool by_command = text_equal(method, LOGIN_COMMAND);
        int r;

        if (!stream_is_tls(imap->dialogue.stream) && !login->allow_cleartext)
                return -EPROTO;
        if (!method)
                return dialogue_not_offered(no, PHASE_LOGIN,
                                            login->token ? "AUTH XOAUTH2" : "AUTH PLAIN");
        if (!login_user_is_plain(login->user) ||
            (by_command && !login_secret_is_plain(login->secret)))
                return -EINVAL;
        r = begin(imap, no);
        if (r == 0)
                r = by_command ? login_command(imap, login, no)
                               : login_sasl(imap, login, method, no);
        if (r == -EINVAL)
                return dialogue_end(&imap->dialogue, r);
        if (r == 0)
                r = imap_ask_capabilities(imap, no);
        /* Whatever it says to that: the login stands. */
        if (r == 1 && no->kind == OUTCOME_REPLY && no->phase == PHASE_CAPABILITY &&
            !imap->dialogue.busy) {
                outcome_reset(no);
                return 0;
        }
        return r;
}

/* RFC 2971. Nothing personal; the one form that every server has been seen to take. */
int imap_identify(Imap *imap, Outcome *no)
{
        int r;

        outcome_reset(no);
        if (!imap->capabilities.id)
                return 0;
        r = ask(imap, PHASE_ID, "ID (\"name\" \"waypost\" \"version\" \"" PACKAGE_VERSION "\")",
                NULL, NULL, no);
        if (r == 1 && no->kind == OUTCOME_REPLY && !imap->dialogue.busy) {
                outcome_reset(no);
                return 0;
        }
        return r;
}

/* --- folders ------------------------------------------------------------------------------------------------ */

typedef struct Listing {
        ImapEachFolder each;
        void *userdata;
        unsigned n;
} Listing;

static int on_folder(void *userdata, const ImapReply *reply)
{
        Listing *listing = userdata;
        ImapFolder folder;

        if (!text_equal(reply->name, "LIST"))
                return 0;
        /* A name that nobody can say is no name that was chosen. */
        if (imap_parse_list(&folder, reply->data, reply->data_len) < 0 ||
            listing->n >= LIMIT_FOLDERS)
                return 0;
        listing->n++;
        return MIN(listing->each(listing->userdata, &folder), 0);
}

int imap_list(Imap *imap, ImapEachFolder each, void *userdata, Outcome *no)
{
        Listing listing = { .each = each, .userdata = userdata };

        return ask(imap, PHASE_LIST,
                   imap->capabilities.special_use && imap->capabilities.list &&
                                   list_contains_nocase(imap->capabilities.list, "LIST-EXTENDED")
                           ? "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
                           : "LIST \"\" \"*\"",
                   on_folder, &listing, no);
}

static int on_mailbox(void *userdata, const ImapReply *reply)
{
        ImapMailbox *mailbox = userdata;

        if (reply->numbered && text_equal(reply->name, "EXISTS"))
                mailbox->exists = reply->number;
        if (reply->status != IMAP_OK)
                return 0;
        if (text_equal(reply->code, "UIDVALIDITY"))
                (void) imap_parse_number(reply->arguments, reply->arguments_len,
                                         &mailbox->uid_validity);
        else if (text_equal(reply->code, "UIDNEXT"))
                (void) imap_parse_number(reply->arguments, reply->arguments_len,
                                         &mailbox->uid_next);
        else if (text_equal(reply->code, "UIDNOTSTICKY"))
                mailbox->uids_not_sticky = true;
        return 0;
}

int imap_select(Imap *imap, const char *name, bool read_only, ImapMailbox *ret, Outcome *no)
{
        _cleanup_buffer_ Buffer line = BUFFER(COMMAND_LINE_MAX);
        ImapMailbox mailbox = {};
        ImapReply reply;
        int r;

        r = begin(imap, no);
        if (r == 0)
                r = buffer_printf(&line, "%s %s", imap->tag, read_only ? "EXAMINE" : "SELECT");
        if (r == 0)
                r = say_string(imap, PHASE_SELECT, &line, NULL, name, strlen(name), no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, NULL, "%s", line.data);
        if (r == 0) {
                imap->exists = 0;
                r = finish(imap, PHASE_SELECT, on_mailbox, &mailbox, &reply, no);
        }
        if (r)
                return r;
        mailbox.read_only = text_equal(reply.code, "READ-ONLY");
        mailbox.exists = imap->exists;
        imap->changed = false;
        *ret = mailbox;
        return 0;
}

uint32_t imap_exists(const Imap *imap)
{
        return imap->exists;
}

bool imap_take_news(Imap *imap)
{
        bool news = imap->changed;

        imap->changed = false;
        return news;
}

typedef struct Uids {
        uint32_t from;
        ImapEachUid each;
        void *userdata;
} Uids;

static int on_uid(void *userdata, const ImapReply *reply)
{
        Uids *uids = userdata;
        ImapFetch fetch;

        if (!reply->numbered || !text_equal(reply->name, "FETCH"))
                return 0;
        if (imap_parse_fetch(&fetch, reply->data, reply->data_len) != 0)
                return 1;
        /* RFC 9051 section 6.4.8: "n:*" has the last message also when that is before n. */
        if (fetch.uid < uids->from)
                return 0;
        return MIN(uids->each(uids->userdata, fetch.uid), 0);
}

int imap_list_uids(Imap *imap, uint32_t from, ImapEachUid each, void *userdata, Outcome *no)
{
        Uids uids = { .from = MAX(from, 1U), .each = each, .userdata = userdata };
        ImapReply reply;
        int r;

        r = begin(imap, no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, NULL, "%s UID FETCH %u:* (UID)", imap->tag,
                                 uids.from);
        if (r == 0)
                r = dialogue_flush(&imap->dialogue, PHASE_SEARCH, no);
        if (r)
                return r;
        imap->quiet = true;
        r = finish_listing(imap, PHASE_SEARCH, on_uid, &uids, LIMIT_LIST, &reply, no);
        imap->quiet = false;
        /* Some say NO or BAD where there is no message. */
        if (r == 1 && no->kind == OUTCOME_REPLY && !imap->dialogue.busy && imap->exists == 0) {
                outcome_reset(no);
                return 0;
        }
        return r;
}

/* --- message content ------------------------------------------------------------------------------------------ */

typedef struct Command {
        char tag[TAG_SIZE];
        size_t from, to; /* indices into the UIDs; of a retry both are of @again */
        bool single;
} Command;

struct Retrieval {
        Imap *imap;
        const uint32_t *uids; /* NULL: whatever comes, at most n */
        size_t n, n_seen;
        bool *over; /* of each: its turn has come and gone */
        const ImapSink *sink;
        void *userdata;
        Command commands[COMMANDS_UNDER_WAY];
        size_t n_commands, n_sent;
        size_t *again; /* indices that are asked for one by one */
        size_t n_again, n_again_sent;
        unsigned refusals, strays;
        /* the response that is being read */
        bool begun, finished, unknown; /* unknown: content whose UID comes behind it */
        size_t index;
};

/* Which message is it? Returns false when nobody asked for it, or its turn is over. */
static bool retrieval_find(Retrieval *rt, uint32_t uid, size_t *ret)
{
        size_t low = 0, high = rt->n;

        if (!rt->uids) {
                *ret = rt->n_seen;
                return rt->n_seen < rt->n;
        }
        while (low < high) {
                size_t middle = (low + high) / 2;

                if (rt->uids[middle] == uid) {
                        *ret = middle;
                        return middle < rt->n_sent && !rt->over[middle];
                }
                if (rt->uids[middle] < uid)
                        low = middle + 1;
                else
                        high = middle;
        }
        return false;
}

/* The only message that can be meant when a response does not say so before its content. */
static bool retrieval_single(const Retrieval *rt, size_t *ret)
{
        if (!rt->uids || rt->n_commands != 1 || !rt->commands[0].single)
                return false;
        *ret = rt->again[rt->commands[0].from];
        return !rt->over[*ret];
}

/* CRLF becomes LF, all else stays. *@held: the last octet was a CR that may be half of a line's end. */
static size_t to_unix(char *to, const char *from, size_t len, bool *held)
{
        size_t n = 0;

        for (size_t i = 0; i < len; i++) {
                if (*held && from[i] != '\n')
                        to[n++] = '\r';
                *held = from[i] == '\r';
                if (!*held)
                        to[n++] = from[i];
        }
        return n;
}

static int retrieval_stream(Retrieval *rt, uint64_t size, bool wanted, Outcome *no)
{
        Imap *imap = rt->imap;
        bool held = false;

        while (size > 0) {
                const char *data;
                size_t len, n;
                int r;

                {
                        FIBER_DEADLINE(LIMIT_IDLE_USEC);
                        r = stream_read_some(imap->dialogue.stream, PHASE_RETRIEVE, &data, &len,
                                             no);
                }
                if (r)
                        return r;
                len = (size_t) MIN(MIN((uint64_t) len, size), (uint64_t) CONTENT_PIECE - 2);
                n = wanted ? to_unix(imap->content, data, len, &held) : 0;
                stream_consume(imap->dialogue.stream, len);
                size -= len;
                if (size == 0 && held && wanted)
                        imap->content[n++] = '\r';
                r = n > 0 ? rt->sink->data(rt->userdata, rt->index, imap->content, n) : 0;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int retrieval_content(Retrieval *rt, const ImapFetch *fetch, uint64_t size, Outcome *no)
{
        bool wanted = !rt->begun &&
                      ((fetch->uid || !rt->uids) ? retrieval_find(rt, fetch->uid, &rt->index)
                                                 : retrieval_single(rt, &rt->index));
        int r;

        rt->unknown |= !fetch->uid && !wanted;
        /* What nobody asked for may be small. */
        if (!wanted && !rt->unknown && size > LIMIT_RESPONSE)
                return too_long(no, PHASE_RETRIEVE);
        r = wanted ? rt->sink->begin(rt->userdata, rt->index, size) : 0;
        if (r < 0)
                return r;
        rt->begun |= wanted;
        r = retrieval_stream(rt, size, wanted, no);
        rt->finished |= wanted && r == 0;
        return r;
}

/* Content in quotes. */
static int retrieval_quoted(Retrieval *rt, const ImapFetch *fetch, Outcome *no)
{
        bool escaped = false;
        int r;

        if (!fetch->quoted || !retrieval_find(rt, fetch->uid, &rt->index))
                return 0;
        r = rt->sink->begin(rt->userdata, rt->index, fetch->data_len);
        for (size_t i = 0; i < fetch->data_len && r >= 0; i++) {
                escaped = !escaped && fetch->data[i] == '\\';
                if (!escaped)
                        r = rt->sink->data(rt->userdata, rt->index, fetch->data + i, 1);
        }
        rt->begun = rt->finished = r >= 0;
        return MIN(r, 0);
}

static int retrieval_over(Retrieval *rt, size_t index)
{
        if (rt->over)
                rt->over[index] = true;
        rt->n_seen++;
        return 0;
}

static int retrieval_refused(Retrieval *rt, size_t index, const Outcome *no)
{
        retrieval_over(rt, index);
        return rt->sink->refused ? MIN(rt->sink->refused(rt->userdata, index, no), 0) : 0;
}

static int retrieval_gone(Retrieval *rt, size_t index)
{
        retrieval_over(rt, index);
        return rt->sink->gone ? MIN(rt->sink->gone(rt->userdata, index), 0) : 0;
}

static int no_content(Outcome *no)
{
        static const char why[] = "the server has no content for this message";

        outcome_set_text(no, why, sizeof(why) - 1);
        return outcome_set(no, OUTCOME_REPLY, PHASE_RETRIEVE);
}

/* A FETCH response, read to its end. */
static int retrieval_on_fetch(Retrieval *rt, const ImapReply *reply, Outcome *no)
{
        ImapFetch fetch;
        int r;

        if (imap_parse_fetch(&fetch, reply->data, reply->data_len) != 0)
                return stray(rt->imap, PHASE_RETRIEVE, no);
        if (!rt->begun && fetch.body == IMAP_BODY_HERE && (fetch.uid || !rt->uids)) {
                r = retrieval_quoted(rt, &fetch, no);
                if (r < 0)
                        return r;
        }
        if (!rt->finished) {
                size_t index;

                rt->strays++;
                if (fetch.body != IMAP_BODY_NIL || !retrieval_find(rt, fetch.uid, &index))
                        return 0;
                no_content(no);
                r = retrieval_refused(rt, index, no);
                outcome_reset(no);
                return r;
        }
        /* It was taken for another one than it says it is. */
        if (rt->uids && fetch.uid && fetch.uid != rt->uids[rt->index])
                return stray(rt->imap, PHASE_RETRIEVE, no);
        retrieval_over(rt, rt->index);
        rt->refusals = 0;
        return MIN(rt->sink->end(rt->userdata, rt->index,
                                 rt->uids ? rt->uids[rt->index] : fetch.uid, fetch.flags),
                   0);
}

/* Refusals that are not about one message, and would be the same for the next. */
static bool refuses_all(const ImapReply *reply)
{
        static const char *const codes[] = {
                "UNAVAILABLE", "OVERQUOTA", "LIMIT",  "INUSE",        "THROTTLED",
                "NOPERM",      "EXPIRED",   "CLOSED", "CONTACTADMIN", "AUTHORIZATIONFAILED",
        };

        for (size_t i = 0; i < ELEMENTS(codes); i++)
                if (text_equal(reply->code, codes[i]))
                        return true;
        return false;
}

static int retrieval_retry(Retrieval *rt, size_t index)
{
        if (!rt->again)
                rt->again = calloc(rt->n, sizeof(*rt->again));
        if (!rt->again)
                return -ENOMEM;
        rt->again[rt->n_again++] = index;
        return 0;
}

/* A tagged answer: what it leaves unanswered is gone, or refused, or asked for again, alone. */
static int retrieval_on_tagged(Retrieval *rt, const ImapReply *reply, Outcome *no)
{
        const Command command = rt->commands[0];
        bool ok = reply->status == IMAP_OK;
        int r = 0;

        if (!has_tag(reply, command.tag))
                return stray(rt->imap, PHASE_RETRIEVE, no);
        memmove(rt->commands, rt->commands + 1, --rt->n_commands * sizeof(*rt->commands));
        if (!ok) {
                reply_refused(rt->imap, reply, PHASE_RETRIEVE, no);
                if (!rt->uids || refuses_all(reply) || ++rt->refusals > REFUSALS_IN_A_ROW)
                        return 1;
        }
        for (size_t i = command.from; i < command.to && r == 0 && rt->uids; i++) {
                size_t index = command.single ? rt->again[i] : i;

                if (rt->over[index])
                        continue;
                if (!command.single && (!ok || rt->unknown))
                        r = retrieval_retry(rt, index);
                else
                        r = ok ? retrieval_gone(rt, index) : retrieval_refused(rt, index, no);
        }
        outcome_reset(no);
        return r;
}

static int retrieval_read(Retrieval *rt, Outcome *no)
{
        ImapReply reply;
        int r;

        rt->begun = rt->finished = false;
        r = next_response(rt->imap, PHASE_RETRIEVE, rt, &reply, no);
        if (r)
                return r;
        if (reply.kind == IMAP_TAGGED)
                return retrieval_on_tagged(rt, &reply, no);
        if (reply.kind != IMAP_UNTAGGED)
                return stray(rt->imap, PHASE_RETRIEVE, no);
        if (reply.numbered && text_equal(reply.name, "FETCH"))
                r = retrieval_on_fetch(rt, &reply, no);
        else
                rt->strays++;
        /* Flags that change elsewhere are told here, too. */
        if (r == 0 && rt->strays > LIMIT_UNTAGGED + 4 * rt->n)
                return too_long(no, PHASE_RETRIEVE);
        return r;
}

static int retrieval_say(Retrieval *rt, const char *set)
{
        Command *command = &rt->commands[rt->n_commands];

        next_tag(rt->imap);
        memcpy(command->tag, rt->imap->tag, sizeof(command->tag));
        rt->n_commands++;
        return dialogue_say(&rt->imap->dialogue, NULL, "%s UID FETCH %s (UID FLAGS BODY.PEEK[])",
                            command->tag, set);
}

static int retrieval_say_next(Retrieval *rt)
{
        _cleanup_buffer_ Buffer set = BUFFER(SET_MAX);
        int n = imap_set_append(&set, rt->uids + rt->n_sent,
                                MIN(rt->n - rt->n_sent, (size_t) COMMAND_UIDS), SET_MAX);

        if (n <= 0)
                return n < 0 ? n : -ENOBUFS;
        rt->commands[rt->n_commands] = (Command){ .from = rt->n_sent,
                                                  .to = rt->n_sent + (size_t) n };
        rt->n_sent += (size_t) n;
        return retrieval_say(rt, set.data);
}

static int retrieval_say_again(Retrieval *rt)
{
        char uid[12];

        snprintf(uid, sizeof(uid), "%u", rt->uids[rt->again[rt->n_again_sent]]);
        rt->commands[0] = (Command){ .from = rt->n_again_sent,
                                     .to = rt->n_again_sent + 1,
                                     .single = true };
        rt->n_again_sent++;
        return retrieval_say(rt, uid);
}

/* Keeps a few commands under way; single ones go alone, behind all others. */
static int retrieval_send(Retrieval *rt, Outcome *no)
{
        bool said = false;
        int r = 0;

        while (r == 0 && rt->n_sent < rt->n && rt->n_commands < COMMANDS_UNDER_WAY) {
                r = retrieval_say_next(rt);
                said = true;
        }
        if (r == 0 && rt->n_commands == 0 && rt->n_again_sent < rt->n_again) {
                r = retrieval_say_again(rt);
                said = true;
        }
        if (r < 0 || !said)
                return r;
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        return dialogue_flush(&rt->imap->dialogue, PHASE_RETRIEVE, no);
}

static int retrieval_run(Retrieval *rt, Outcome *no)
{
        int r = 0;

        if (!rt->imap->content)
                rt->imap->content = malloc(CONTENT_PIECE);
        if (!rt->imap->content)
                return -ENOMEM;
        rt->imap->quiet = true;
        while (r == 0) {
                if (rt->uids)
                        r = retrieval_send(rt, no);
                if (r == 0 && rt->n_commands == 0)
                        break;
                if (r == 0)
                        r = retrieval_read(rt, no);
        }
        rt->imap->quiet = false;
        return r ? r : dialogue_end(&rt->imap->dialogue, 0);
}

int imap_retrieve(Imap *imap, const uint32_t *uids, size_t n_uids, const ImapSink *sink,
                  void *userdata, Outcome *no)
{
        Retrieval rt = {
                .imap = imap, .uids = uids, .n = n_uids, .sink = sink, .userdata = userdata
        };
        int r;

        r = dialogue_begin(&imap->dialogue, no);
        if (r == 0)
                r = say_done(imap);
        if (r < 0)
                return r;
        rt.over = calloc(n_uids + 1, sizeof(*rt.over));
        r = rt.over ? retrieval_run(&rt, no) : -ENOMEM;
        free(rt.over);
        free(rt.again);
        return r;
}

int imap_peek(Imap *imap, uint32_t n, uint32_t octets, const ImapSink *sink, void *userdata,
              Outcome *no)
{
        Retrieval rt = { .imap = imap, .n = n, .sink = sink, .userdata = userdata };
        uint32_t first = imap->exists > n ? imap->exists - n + 1 : 1;
        int r;

        outcome_reset(no);
        if (imap->exists == 0 || n == 0)
                return 0;
        r = begin(imap, no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, NULL,
                                 "%s FETCH %u:* (UID FLAGS BODY.PEEK[]<0.%u>)", imap->tag, first,
                                 octets);
        if (r == 0)
                r = dialogue_flush(&imap->dialogue, PHASE_RETRIEVE, no);
        if (r)
                return r;
        memcpy(rt.commands[0].tag, imap->tag, sizeof(imap->tag));
        rt.n_commands = 1;
        return retrieval_run(&rt, no);
}

/* --- deleting -------------------------------------------------------------------------------------------------- */

typedef struct Marking {
        const uint32_t *uids;
        size_t n;
        bool *marked;
} Marking;

/* The server answers for each message that is there, and only for those. */
static int on_marked(void *userdata, const ImapReply *reply)
{
        Marking *marking = userdata;
        ImapFetch fetch;

        if (!reply->numbered || !text_equal(reply->name, "FETCH"))
                return 0;
        if (imap_parse_fetch(&fetch, reply->data, reply->data_len) != 0)
                return 1;
        for (size_t i = 0; i < marking->n; i++)
                if (marking->uids[i] == fetch.uid && (fetch.flags & IMAP_DELETED))
                        marking->marked[i] = true;
        return 0;
}

static int delete_some(Imap *imap, const uint32_t *uids, size_t n, bool *marked, size_t *ret_n,
                       Outcome *no)
{
        _cleanup_buffer_ Buffer set = BUFFER(SET_MAX), command = BUFFER(SET_MAX + 100);
        Marking marking = { .uids = uids, .marked = marked };
        int taken = imap_set_append(&set, uids, MIN(n, (size_t) COMMAND_UIDS), SET_MAX), r;

        if (taken <= 0)
                return taken < 0 ? taken : -ENOBUFS;
        marking.n = *ret_n = (size_t) taken;
        r = buffer_printf(&command, "UID STORE %s +FLAGS (\\Deleted)", set.data);
        if (r == 0)
                r = ask(imap, PHASE_DELETE, command.data, on_marked, &marking, no);
        buffer_clear(&command);
        if (r == 0)
                r = buffer_printf(&command, "UID EXPUNGE %s", set.data);
        if (r == 0)
                r = ask(imap, PHASE_DELETE, command.data, NULL, NULL, no);
        if (r != 0)
                memset(marked, 0, marking.n * sizeof(*marked));
        return r;
}

int imap_delete(Imap *imap, const uint32_t *uids, size_t n_uids, bool *ret_deleted, Outcome *no)
{
        size_t n = 0, some;
        int r = 0;

        outcome_reset(no);
        memset(ret_deleted, 0, n_uids * sizeof(*ret_deleted));
        if (!imap->capabilities.uidplus)
                return dialogue_not_offered(no, PHASE_DELETE, "UIDPLUS");
        for (; n < n_uids && r == 0; n += some)
                r = delete_some(imap, uids + n, n_uids - n, ret_deleted + n, &some, no);
        return r;
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static int idle_begin(Imap *imap, Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_ALIVE_USEC);
        r = begin(imap, no);
        if (r == 0)
                r = dialogue_say(&imap->dialogue, NULL, "%s IDLE", imap->tag);
        if (r == 0)
                r = await_continuation(imap, PHASE_IDLE, no);
        if (r != 2)
                return r;
        memcpy(imap->idle_tag, imap->tag, sizeof(imap->tag));
        imap->idle_done = false;
        return dialogue_end(&imap->dialogue, 0);
}

/* Between lines nothing is half read: being cancelled here leaves a session that can go on. */
static int idle_wait(Imap *imap, Outcome *no)
{
        for (unsigned n = 0; !imap->changed; n++) {
                const char *data;
                ImapReply reply;
                size_t len;
                int r;

                if (n > LIMIT_UNTAGGED)
                        return too_long(no, PHASE_IDLE);
                r = stream_read_some(imap->dialogue.stream, PHASE_IDLE, &data, &len, no);
                if (r)
                        return r;
                imap->dialogue.busy = true;
                r = next_response(imap, PHASE_IDLE, NULL, &reply, no);
                if (r)
                        return r;
                /* The server may end it as it likes. */
                if (has_tag(&reply, imap->idle_tag)) {
                        imap->idle_tag[0] = 0;
                        return dialogue_end(&imap->dialogue,
                                            reply.status == IMAP_OK
                                                    ? 0
                                                    : reply_refused(imap, &reply, PHASE_IDLE, no));
                }
                if (reply.kind == IMAP_TAGGED)
                        return stray(imap, PHASE_IDLE, no);
                dialogue_end(&imap->dialogue, 0);
        }
        return 0;
}

int imap_idle(Imap *imap, uint64_t usec, bool *ret_news, Outcome *no)
{
        int r;

        outcome_reset(no);
        if (!imap->capabilities.idle)
                return dialogue_not_offered(no, PHASE_IDLE, "IDLE");
        r = imap->changed ? 0 : idle_begin(imap, no);
        if (r)
                return r;
        FIBER_DEADLINE(usec);
        r = idle_wait(imap, no);
        if (r == 1 && no->kind == OUTCOME_TIMEOUT && !imap->dialogue.busy) {
                outcome_reset(no);
                r = 0;
        }
        if (r)
                return r;
        *ret_news = imap_take_news(imap);
        return 0;
}

int imap_noop(Imap *imap, Outcome *no)
{
        return ask(imap, PHASE_IDLE, "NOOP", NULL, NULL, no);
}

int imap_logout(Imap *imap, Outcome *no)
{
        return ask(imap, PHASE_QUIT, "LOGOUT", NULL, NULL, no);
}

uint64_t imap_bytes(const Imap *imap)
{
        return stream_bytes_in(imap->dialogue.stream);
}
