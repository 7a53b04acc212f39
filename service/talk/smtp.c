/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See smtp.h. A refusal inside a mail transaction is followed by RSET, so that the dialogue can go on. */
#include <string.h>

#include "base/text.h"
#include "talk/dialogue.h"
#include "talk/smtp.h"

enum {
        REPLY_OCTETS = LIMIT_LINE, /* of one reply, all lines together */
        INITIAL_LINE_MAX =
                420, /* what is longer goes on a line of its own: old servers cut at 512 */
        MESSAGE_MAX = 64 * 1024 * 1024,
};

#define DATA_USEC (2 * LIMIT_COMMAND_USEC)

typedef struct Reply {
        unsigned status;
        char code[16]; /* the first one of the lines */
        Buffer text;   /* lines joined by " / " */
} Reply;

struct Smtp {
        Dialogue dialogue;
        char *greeting;
        SmtpExtensions extensions;
        Reply reply; /* read last */
        bool lmtp;
};

/* --- replies ------------------------------------------------------------------------------------------------ */

static int reply_add(Reply *reply, const SmtpLine *line, bool first)
{
        int r = 0;

        reply->status = line->status;
        if (!reply->code[0])
                memcpy(reply->code, line->code, sizeof(reply->code));
        if (!first)
                r = buffer_append_text(&reply->text, " / ");
        return r < 0 ? r : buffer_append(&reply->text, line->text, line->text_len);
}

/* The lines of a reply from the one with index @n on. A reply that never ends is TOO_LONG. @extensions (may be NULL) take
 * the lines behind the first. */
static int read_lines(Smtp *smtp, Phase phase, unsigned n, SmtpExtensions *extensions, Outcome *no)
{
        Reply *reply = &smtp->reply;

        for (;; n++) {
                SmtpLine parsed;
                const char *line;
                size_t len;
                int r;

                r = dialogue_read_line(&smtp->dialogue, phase, &line, &len, no);
                if (r)
                        return r;
                if (smtp_parse_line(&parsed, line, len) < 0)
                        return dialogue_garbage(&smtp->dialogue, no, phase, line, len);
                r = reply_add(reply, &parsed, n == 0);
                if (r == -ENOBUFS || n == LIMIT_REPLY_LINES)
                        return outcome_set(no, OUTCOME_TOO_LONG, phase);
                if (r == 0 && extensions && n > 0 && parsed.status / 100 == 2)
                        r = smtp_parse_extension(extensions, parsed.text, parsed.text_len);
                if (r < 0)
                        return r;
                if (parsed.last)
                        return 0;
        }
}

static int read_reply(Smtp *smtp, Phase phase, SmtpExtensions *extensions, Outcome *no)
{
        buffer_clear(&smtp->reply.text);
        smtp->reply.code[0] = 0;
        return read_lines(smtp, phase, 0, extensions, no);
}

static const char *reply_text(const Reply *reply)
{
        return reply->text.data ? reply->text.data : "";
}

static int reply_refused(const Smtp *smtp, Phase phase, Outcome *no)
{
        no->status = smtp->reply.status;
        memcpy(no->code, smtp->reply.code, sizeof(smtp->reply.code));
        dialogue_set_text(&smtp->dialogue, no, reply_text(&smtp->reply), smtp->reply.text.len);
        return outcome_set(no, OUTCOME_REPLY, phase);
}

static bool reply_is(const Smtp *smtp, unsigned hundreds)
{
        return smtp->reply.status / 100 == hundreds;
}

/* Sends what was said and reads the reply: 0 for one of the class @hundreds. After REPLY the dialogue can go on. */
static int ask(Smtp *smtp, Phase phase, unsigned hundreds, Outcome *no)
{
        int r;

        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&smtp->dialogue, phase, no);
        if (r == 0)
                r = read_reply(smtp, phase, NULL, no);
        if (r)
                return r;
        return reply_is(smtp, hundreds) ? 0 : reply_refused(smtp, phase, no);
}

/* True when a refusal was told in full and the next command may follow. */
static bool can_go_on(int r, const Outcome *no)
{
        return r == 0 || (r == 1 && no->kind == OUTCOME_REPLY);
}

static int end_if_possible(Smtp *smtp, int r, const Outcome *no)
{
        return can_go_on(r, no) ? dialogue_end(&smtp->dialogue, r) : r;
}

/* --- greeting, EHLO, STARTTLS ------------------------------------------------------------------------------- */

Smtp *smtp_free(Smtp *smtp)
{
        if (!smtp)
                return NULL;
        dialogue_deinit(&smtp->dialogue);
        free(smtp->greeting);
        smtp_extensions_clear(&smtp->extensions);
        buffer_deinit(&smtp->reply.text);
        free(smtp);
        return NULL;
}

static int read_greeting(Smtp *smtp, Outcome *no)
{
        Reply *reply = &smtp->reply;
        SmtpLine parsed;
        const char *line;
        size_t len;
        int r;

        FIBER_DEADLINE(LIMIT_GREETING_USEC);
        r = dialogue_read_greeting(&smtp->dialogue, "245", &line, &len, no);
        if (r)
                return r;
        /* RFC 5321 section 3.1: 220, or 554 and 421 from one that will not serve. 200 is the news protocol. */
        if (smtp_parse_line(&parsed, line, len) < 0 ||
            (parsed.status != 220 && parsed.status / 100 == 2))
                return dialogue_garbage(&smtp->dialogue, no, PHASE_GREETING, line, len);
        r = reply_add(reply, &parsed, true);
        if (r == 0 && !parsed.last)
                r = read_lines(smtp, PHASE_GREETING, 1, NULL, no);
        if (r)
                return r;
        if (reply->status != 220)
                return reply_refused(smtp, PHASE_GREETING, no);
        smtp->greeting = text_printable_new(reply_text(reply), reply->text.len, LIMIT_REPLY_TEXT);
        return smtp->greeting ? 0 : -ENOMEM;
}

int smtp_open(Smtp **ret, Stream *stream_take, Transcript *transcript, const char *label,
              Outcome *no)
{
        _cleanup_(stream_freep) Stream *stream = stream_take;
        _cleanup_(smtp_freep) Smtp *smtp = calloc(1, sizeof(*smtp));
        int r;

        if (!smtp)
                return -ENOMEM;
        smtp->reply.text = BUFFER(REPLY_OCTETS);
        dialogue_init(&smtp->dialogue, TAKE(stream), transcript, label);
        r = dialogue_begin(&smtp->dialogue, no);
        if (r == 0)
                r = read_greeting(smtp, no);
        if (r)
                return r;
        dialogue_end(&smtp->dialogue, 0);
        *ret = TAKE(smtp);
        return 0;
}

const char *smtp_greeting(const Smtp *smtp)
{
        return smtp->greeting ? smtp->greeting : "";
}

/* RFC 5321 section 4.1.3: our end of this connection says nothing that the server does not know already. */
static int say_ehlo(Smtp *smtp)
{
        const char *local = stream_local(smtp->dialogue.stream);

        if (smtp->lmtp)
                return dialogue_say(&smtp->dialogue, NULL, "LHLO localhost");
        if (strchr(local, ':'))
                return dialogue_say(&smtp->dialogue, NULL, "EHLO [IPv6:%s]", local);
        return dialogue_say(&smtp->dialogue, NULL, "EHLO [%s]", *local ? local : "127.0.0.1");
}

/* The dialogue is busy already. */
static int ehlo(Smtp *smtp, Outcome *no)
{
        SmtpExtensions extensions = {};
        int r;

        smtp_extensions_clear(&smtp->extensions);
        r = say_ehlo(smtp);
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        r = dialogue_flush(&smtp->dialogue, PHASE_CAPABILITY, no);
        if (r == 0)
                r = read_reply(smtp, PHASE_CAPABILITY, &extensions, no);
        if (r == 0 && !reply_is(smtp, 2))
                r = reply_refused(smtp, PHASE_CAPABILITY, no);
        if (r) {
                smtp_extensions_clear(&extensions);
                return r;
        }
        extensions.known = true;
        smtp->extensions = extensions;
        return 0;
}

int smtp_ehlo(Smtp *smtp, Outcome *no)
{
        int r;

        r = dialogue_begin(&smtp->dialogue, no);
        return r < 0 ? r : end_if_possible(smtp, ehlo(smtp, no), no);
}

const SmtpExtensions *smtp_extensions(const Smtp *smtp)
{
        return &smtp->extensions;
}

int smtp_start_tls(Smtp *smtp, Tls *tls, const TlsRequest *request, Certificate **ret_certificate,
                   Outcome *no)
{
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        int r;

        if (stream_is_tls(smtp->dialogue.stream))
                return -EALREADY;
        if (smtp->extensions.known && !smtp->extensions.starttls)
                return dialogue_not_offered(no, PHASE_STARTTLS, "STARTTLS");
        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&smtp->dialogue, NULL, "STARTTLS");
        if (r == 0)
                r = ask(smtp, PHASE_STARTTLS, 2, no);
        if (r)
                return end_if_possible(smtp, r, no);

        /* RFC 3207 section 4.2: nothing that was learnt before counts any more. */
        smtp_extensions_clear(&smtp->extensions);
        free(TAKE(smtp->greeting));
        r = dialogue_start_tls(&smtp->dialogue, tls, request, &certificate, no);
        if (r)
                return r;
        r = ehlo(smtp, no);
        if (r == 0 && ret_certificate)
                *ret_certificate = TAKE(certificate);
        return end_if_possible(smtp, r, no);
}

/* --- login -------------------------------------------------------------------------------------------------- */

const char *smtp_login_method(const Smtp *smtp, const Login *login)
{
        return login_choose(&smtp->dialogue, smtp->extensions.auth, login);
}

/* LoginWire's read. */
static int read_login_answer(void *userdata, const char **ret_challenge, size_t *ret_len,
                             Outcome *no)
{
        Smtp *smtp = userdata;
        int r;

        r = read_reply(smtp, PHASE_LOGIN, NULL, no);
        if (r)
                return r;
        if (smtp->reply.status == 334) {
                *ret_challenge = reply_text(&smtp->reply);
                *ret_len = smtp->reply.text.len;
                return 2;
        }
        return reply_is(smtp, 2) ? 0 : reply_refused(smtp, PHASE_LOGIN, no);
}

int smtp_login(Smtp *smtp, const Login *login, Outcome *no)
{
        const char *method = smtp_login_method(smtp, login);
        const LoginWire wire = {
                .service = "smtp",
                .command = "AUTH",
                .line_max = INITIAL_LINE_MAX,
                .read = read_login_answer,
                .userdata = smtp,
        };
        int r;

        if (!stream_is_tls(smtp->dialogue.stream) && !login->allow_cleartext)
                return -EPROTO;
        if (!method)
                return dialogue_not_offered(no, PHASE_LOGIN,
                                            login->token ? "AUTH XOAUTH2" : "AUTH PLAIN");
        if (!login_user_is_plain(login->user))
                return -EINVAL;
        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = login_exchange(&smtp->dialogue, &wire, login, method, no);
        return r == -EINVAL ? dialogue_end(&smtp->dialogue, r) : end_if_possible(smtp, r, no);
}

/* --- mail transactions -------------------------------------------------------------------------------------- */

static bool is_ascii(const char *text, size_t len)
{
        for (size_t i = 0; i < len; i++)
                if ((unsigned char) text[i] >= 0x80)
                        return false;
        return true;
}

/* Addresses are the caller's, but a line end in one would be a command of its own. */
static bool address_is_sendable(const char *address)
{
        return *address && text_is_clean(address, strlen(address));
}

/* Returns 0, 1 when the server lacks what the addresses or the message need. */
static int choose_parameters(Smtp *smtp, const char *from, const char *to, bool eight_bit,
                             const char **ret, Outcome *no)
{
        bool utf8 = !is_ascii(from, strlen(from)) || !is_ascii(to, strlen(to));

        /* RFC 6531 section 3.1 item 8: SMTPUTF8 brings 8BITMIME with it. */
        if (utf8 && !smtp->extensions.smtputf8)
                return dialogue_not_offered(no, PHASE_MAIL, "SMTPUTF8");
        if (eight_bit && !smtp->extensions.eight_bit_mime && !smtp->extensions.smtputf8)
                return dialogue_not_offered(no, PHASE_MAIL, "8BITMIME");
        *ret = utf8 && eight_bit ? " BODY=8BITMIME SMTPUTF8"
               : utf8            ? " SMTPUTF8"
               : eight_bit       ? " BODY=8BITMIME"
                                 : "";
        return 0;
}

/* RSET, unless it was @said already. Its reply is let be: what matters is @refused, which was told before. */
static int reset(Smtp *smtp, int refused, bool said)
{
        _cleanup_outcome_ Outcome ignored = {};
        int r;

        r = said ? 0 : dialogue_say(&smtp->dialogue, NULL, "RSET");
        if (r == 0)
                r = ask(smtp, PHASE_RESET, 2, &ignored);
        if (r < 0)
                return r;
        /* Without a reply the dialogue stays busy, and whoever goes on with it will see. */
        return can_go_on(r, &ignored) ? dialogue_end(&smtp->dialogue, refused) : refused;
}

/* MAIL and RCPT (and RSET, for a check), in one write where the server takes that. Then all replies are read in any case; the
 * first refusal is told. */
static int envelope(Smtp *smtp, const char *from, const char *to, const char *parameters,
                    bool check, Outcome *no)
{
        _cleanup_outcome_ Outcome second = {};
        bool pipelined = smtp->extensions.pipelining;
        int mail, rcpt = 0;

        mail = dialogue_say(&smtp->dialogue, NULL, "MAIL FROM:<%s>%s", from, parameters);
        if (mail == 0 && pipelined)
                mail = dialogue_say(&smtp->dialogue, NULL, "RCPT TO:<%s>", to);
        if (mail == 0 && pipelined && check)
                mail = dialogue_say(&smtp->dialogue, NULL, "RSET");
        if (mail == 0)
                mail = ask(smtp, PHASE_MAIL, 2, no);
        if (!can_go_on(mail, no) || (mail && !pipelined))
                return mail;

        if (!pipelined)
                rcpt = dialogue_say(&smtp->dialogue, NULL, "RCPT TO:<%s>", to);
        if (rcpt == 0)
                rcpt = ask(smtp, PHASE_RCPT, 2, mail ? &second : no);
        return mail && rcpt >= 0 ? mail : rcpt;
}

int smtp_check_sender(Smtp *smtp, const char *from, const char *to, Outcome *no)
{
        const char *parameters;
        int r;

        if (!address_is_sendable(from) || !address_is_sendable(to))
                return -EINVAL;
        r = choose_parameters(smtp, from, to, false, &parameters, no);
        if (r)
                return r;
        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = envelope(smtp, from, to, parameters, true, no);
        return can_go_on(r, no) ? reset(smtp, r, smtp->extensions.pipelining) : r;
}

/* Lines that end in LF or CRLF, as RFC 5321 sections 2.3.8 and 4.5.2 want them on the wire: CRLF, leading dots doubled, the
 * last line ended. Returns 0, -EINVAL for a bare CR or NUL. */
static int message_to_wire(Buffer *to, const char *message, size_t len)
{
        const char *p = message, *end = message + len;

        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t n = (size_t) ((lf ? lf : end) - p), content = n;
                int r = 0;

                content -= lf && n > 0 && p[n - 1] == '\r';
                if (memchr(p, '\r', content) || memchr(p, 0, content))
                        return -EINVAL;
                if (content > 0 && *p == '.')
                        r = buffer_append(to, ".", 1);
                if (r == 0)
                        r = buffer_append(to, p, content);
                if (r == 0)
                        r = buffer_append(to, "\r\n", 2);
                if (r < 0)
                        return r;
                p += n + (lf != NULL);
        }
        return 0;
}

/* The reply behind a content. RFC 5321 section 4.5.3.2.6 grants ten minutes; nobody waits that long. What is not answered by then is not
 * known to have failed. */
static int ask_taken(Smtp *smtp, Outcome *no)
{
        int r;

        FIBER_DEADLINE(DATA_USEC);
        r = dialogue_flush(&smtp->dialogue, PHASE_DATA_END, no);
        if (r == 0)
                r = read_reply(smtp, PHASE_DATA_END, NULL, no);
        if (r == 0 && !reply_is(smtp, 2))
                r = reply_refused(smtp, PHASE_DATA_END, no);
        return r;
}

/* The content under PHASE_DATA, the dot and its reply under PHASE_DATA_END. */
static int send_content(Smtp *smtp, const Buffer *wire, Outcome *no)
{
        Dialogue *dialogue = &smtp->dialogue;
        int r;

        {
                FIBER_DEADLINE(DATA_USEC);
                r = stream_write(dialogue->stream, PHASE_DATA, wire->data, wire->len, no);
        }
        if (r)
                return r;
        transcript_note(dialogue->transcript, dialogue->label, "the message, %zu octets",
                        wire->len);
        r = dialogue_say(dialogue, NULL, ".");
        if (r < 0)
                return r;
        return ask_taken(smtp, no);
}

static int transaction(Smtp *smtp, const char *from, const char *to, const char *parameters,
                       const Buffer *wire, Outcome *no)
{
        int r;

        r = envelope(smtp, from, to, parameters, false, no);
        if (r == 0) {
                r = dialogue_say(&smtp->dialogue, NULL, "DATA");
                if (r == 0)
                        r = ask(smtp, PHASE_DATA, 3, no);
        }
        if (r)
                return can_go_on(r, no) ? reset(smtp, r, false) : r;
        return end_if_possible(smtp, send_content(smtp, wire, no), no);
}

int smtp_send(Smtp *smtp, const char *from, const char *to, const char *message, size_t len,
              char **ret_reply, Outcome *no)
{
        _cleanup_buffer_ Buffer wire = BUFFER(MESSAGE_MAX);
        _cleanup_free_ char *reply = NULL;
        const char *parameters;
        int r;

        if (!address_is_sendable(from) || !address_is_sendable(to))
                return -EINVAL;
        r = message_to_wire(&wire, message, len);
        if (r < 0)
                return r;
        r = choose_parameters(smtp, from, to, !is_ascii(message, len), &parameters, no);
        if (r)
                return r;
        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = transaction(smtp, from, to, parameters, &wire, no);
        if (r || !ret_reply)
                return r;
        reply = text_printable_new(reply_text(&smtp->reply), smtp->reply.text.len,
                                   LIMIT_REPLY_TEXT);
        if (!reply)
                return -ENOMEM;
        *ret_reply = TAKE(reply);
        return 0;
}

int smtp_quit(Smtp *smtp, Outcome *no)
{
        int r;

        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = dialogue_say(&smtp->dialogue, NULL, "QUIT");
        if (r == 0)
                r = ask(smtp, PHASE_QUIT, 2, no);
        return end_if_possible(smtp, r, no);
}

/* --- LMTP ------------------------------------------------------------------------------------------------------ */

int smtp_lhlo(Smtp *smtp, Outcome *no)
{
        smtp->lmtp = true;
        return smtp_ehlo(smtp, no);
}

bool smtp_takes_length(const Smtp *smtp)
{
        return smtp->extensions.chunking;
}

int smtp_deliver_begin(Smtp *smtp, const char *to, uint64_t len, Outcome *no)
{
        int r;

        if (!address_is_sendable(to))
                return -EINVAL;
        r = dialogue_begin(&smtp->dialogue, no);
        if (r < 0)
                return r;
        r = envelope(smtp, "", to, "", false, no);
        /* BDAT has no answer of its own: the content follows at once (RFC 3030 section 2). */
        if (r == 0 && smtp_takes_length(smtp))
                return dialogue_say(&smtp->dialogue, NULL, "BDAT %ju LAST", (uintmax_t) len);
        if (r == 0)
                r = dialogue_say(&smtp->dialogue, NULL, "DATA");
        if (r == 0)
                r = ask(smtp, PHASE_DATA, 3, no);
        return r && can_go_on(r, no) ? reset(smtp, r, false) : r;
}

int smtp_deliver_write(Smtp *smtp, const char *data, size_t len, Outcome *no)
{
        int r;

        FIBER_DEADLINE(DATA_USEC);
        r = dialogue_flush(&smtp->dialogue, PHASE_DATA, no);
        return r ? r : stream_write(smtp->dialogue.stream, PHASE_DATA, data, len, no);
}

int smtp_deliver_end(Smtp *smtp, Outcome *no)
{
        int r = 0;

        if (!smtp_takes_length(smtp))
                r = dialogue_say(&smtp->dialogue, NULL, ".");
        return r < 0 ? r : end_if_possible(smtp, ask_taken(smtp, no), no);
}
