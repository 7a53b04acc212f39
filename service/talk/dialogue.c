/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dialogue.h. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "talk/dialogue.h"

enum {
        OUT_MAX = 3 * LIMIT_TOKEN, /* a token in base64 is the longest line that we say */
        SNIFF_ENOUGH = 8,          /* octets by which any protocol that is no text is known */
        SECRET_SHOWN_MAX = 2,      /* secrets up to this length are found in any text */
};

#define SNIFF_USEC USEC_PER_SEC

void dialogue_init(Dialogue *dialogue, Stream *stream_take, Transcript *transcript,
                   const char *label)
{
        *dialogue = (Dialogue){
                .stream = stream_take,
                .transcript = transcript_ref(transcript),
                .label = label,
                .out = BUFFER_SECRET(OUT_MAX),
                .response = BUFFER_SECRET(OUT_MAX),
        };
}

void dialogue_deinit(Dialogue *dialogue)
{
        dialogue->stream = stream_free(dialogue->stream);
        dialogue->transcript = transcript_unref(dialogue->transcript);
        dialogue->secret = secret_unref(dialogue->secret);
        buffer_deinit(&dialogue->response);
        buffer_deinit(&dialogue->out);
}

int dialogue_begin(Dialogue *dialogue, Outcome *no)
{
        outcome_reset(no);
        if (dialogue->busy)
                return -ENOTCONN;
        dialogue->busy = true;
        return 0;
}

int dialogue_end(Dialogue *dialogue, int r)
{
        dialogue->busy = false;
        return r;
}

int dialogue_say(Dialogue *dialogue, const char *shown, const char *format, ...)
{
        size_t before = dialogue->out.len;
        va_list ap;
        char *to;
        int n, r;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0)
                return -EINVAL;
        r = buffer_reserve(&dialogue->out, (size_t) n + 2, &to);
        if (r == 0) {
                va_start(ap, format);
                vsnprintf(to, (size_t) n + 1, format, ap);
                va_end(ap);
                memcpy(to + n, "\r\n", 2);
                buffer_commit(&dialogue->out, (size_t) n + 2);
                transcript_line(dialogue->transcript, dialogue->label, TRANSCRIPT_CLIENT,
                                shown ? shown : dialogue->out.data + before,
                                shown ? strlen(shown) : (size_t) n);
        }
        return r;
}

int dialogue_flush(Dialogue *dialogue, Phase phase, Outcome *no)
{
        int r;

        r = stream_write(dialogue->stream, phase, dialogue->out.data, dialogue->out.len, no);
        buffer_clear(&dialogue->out);
        return r;
}

/* "+ cj1..." or "334 cj1..." */
static bool is_challenge(const char *line, size_t len)
{
        return (len > 2 && memcmp(line, "+ ", 2) == 0) || (len > 4 && memcmp(line, "334 ", 4) == 0);
}

int dialogue_read_line(Dialogue *dialogue, Phase phase, const char **ret, size_t *ret_len,
                       Outcome *no)
{
        int r;

        r = stream_read_line(dialogue->stream, phase, ret, ret_len, no);
        if (r == 0 && dialogue->challenges_hidden && is_challenge(*ret, *ret_len))
                transcript_line(dialogue->transcript, dialogue->label, TRANSCRIPT_SERVER,
                                "+ ******", strlen("+ ******"));
        else if (r == 0)
                transcript_line(dialogue->transcript, dialogue->label, TRANSCRIPT_SERVER, *ret,
                                *ret_len);
        else if (r == 1)
                transcript_note(dialogue->transcript, dialogue->label, "%s (%s)",
                                outcome_kind_name(no->kind), phase_name(phase));
        return r;
}

static void redact(char *text, size_t *len, const char *what, size_t what_len)
{
        static const char stars[] = "******";
        size_t keep = MIN(what_len, sizeof(stars) - 1), at = 0;
        char *hit;

        /* Goes on behind the stars: a secret may consist of them. */
        while (what_len > SECRET_SHOWN_MAX &&
               (hit = memmem(text + at, *len - at, what, what_len))) {
                size_t rest = *len - (size_t) (hit - text) - what_len;

                memcpy(hit, stars, keep);
                memmove(hit + keep, hit + what_len, rest);
                *len -= what_len - keep;
                at = (size_t) (hit - text) + keep;
        }
}

void dialogue_set_text(const Dialogue *dialogue, Outcome *no, const char *text, size_t len)
{
        _cleanup_buffer_ Buffer copy = BUFFER_SECRET(LIMIT_LINE);

        /* Searched before it is cut: half a secret would not be found. */
        no->text[0] = 0;
        if (buffer_append(&copy, text, MIN(len, (size_t) LIMIT_LINE)) < 0)
                return;
        if (dialogue->secret) {
                redact(copy.data, &copy.len, dialogue->response.data, dialogue->response.len);
                secret_redact(dialogue->secret, &copy);
        }
        outcome_set_text(no, copy.data, copy.len);
}

int dialogue_garbage(const Dialogue *dialogue, Outcome *no, Phase phase, const char *line,
                     size_t len)
{
        dialogue_set_text(dialogue, no, line, len);
        if (dialogue->secret) {
                line = no->text;
                len = strlen(no->text);
        }
        no->first_len = MIN(len, sizeof(no->first));
        if (no->first_len > 0)
                memcpy(no->first, line, no->first_len);
        return outcome_set(no, OUTCOME_GARBAGE, phase);
}

int dialogue_not_offered(Outcome *no, Phase phase, const char *what)
{
        outcome_reset(no);
        outcome_set_text(no, what, strlen(what));
        return outcome_set(no, OUTCOME_NOT_OFFERED, phase);
}

/* Octets that are no text, such as a TLS record: no line end need come, so the first few are taken as they are. What
 * follows them within a moment belongs to the proof; that nothing does is no fault. */
static int dialogue_sniff(Dialogue *dialogue, Outcome *no)
{
        char first[sizeof(no->first)];
        size_t n = 0;

        FIBER_DEADLINE(SNIFF_USEC);
        while (n < SNIFF_ENOUGH) {
                const char *data;
                size_t len;
                int r;

                r = stream_read_some(dialogue->stream, PHASE_GREETING, &data, &len, no);
                if (r < 0)
                        return r;
                if (r == 1)
                        break;
                len = MIN(len, sizeof(first) - n);
                memcpy(first + n, data, len);
                stream_consume(dialogue->stream, len);
                n += len;
        }
        outcome_reset(no);
        transcript_note(dialogue->transcript, dialogue->label,
                        "the server's first octets are no text");
        return dialogue_garbage(dialogue, no, PHASE_GREETING, first, n);
}

int dialogue_read_greeting(Dialogue *dialogue, const char *expected, const char **ret,
                           size_t *ret_len, Outcome *no)
{
        const char *line;
        size_t len;
        char first;
        int r;

        r = stream_read_some(dialogue->stream, PHASE_GREETING, &line, &len, no);
        if (r)
                return r;
        first = *line;
        if ((first < ' ' && first != '\r' && first != '\n') || first > '~')
                return dialogue_sniff(dialogue, no);

        r = dialogue_read_line(dialogue, PHASE_GREETING, &line, &len, no);
        /* The connection ended, or time did, within a line that is not of our protocol. */
        if (r == 1 && no->first_len > 0 && !strchr(expected, (char) no->first[0])) {
                outcome_set_text(no, no->first, no->first_len);
                return outcome_set(no, OUTCOME_GARBAGE, PHASE_GREETING);
        }
        if (r)
                return r;
        if (len == 0 || !strchr(expected, *line) || *line == 0)
                return dialogue_garbage(dialogue, no, PHASE_GREETING, line, len);
        *ret = line;
        *ret_len = len;
        return 0;
}

int dialogue_start_tls(Dialogue *dialogue, Tls *tls, const TlsRequest *request,
                       Certificate **ret_certificate, Outcome *no)
{
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        int r;

        r = stream_start_tls(dialogue->stream, tls, request, &certificate, no);
        if (r == 0)
                transcript_note(dialogue->transcript, dialogue->label, "TLS stands: %s %s",
                                certificate->protocol ? certificate->protocol : "?",
                                certificate->cipher ? certificate->cipher : "?");
        else if (r == 1)
                transcript_note(dialogue->transcript, dialogue->label, "no TLS: %s",
                                outcome_kind_name(no->kind));
        if (r == 0 && ret_certificate)
                *ret_certificate = TAKE(certificate);
        return r;
}

/* --- logins ------------------------------------------------------------------------------------------------- */

int dialogue_hide(Dialogue *dialogue, const Secret *secret)
{
        _cleanup_(secret_unrefp) Secret *copy = NULL;
        int r;

        r = secret_new(&copy, secret_data(secret), secret_len(secret));
        if (r < 0)
                return r;
        r = dialogue->transcript ? transcript_hide(dialogue->transcript, copy) : 0;
        /* So many secrets in one setup: what we say ourselves shows stars in any case. */
        if (r < 0 && r != -ENOBUFS)
                return r;
        secret_unref(dialogue->secret);
        dialogue->secret = TAKE(copy);
        return 0;
}

int dialogue_say_secret(Dialogue *dialogue, const char *before, const char *response)
{
        _cleanup_free_ char *shown = NULL;
        int r;

        r = text_format(&shown, "%s******", before);
        if (r < 0)
                return r;
        buffer_clear(&dialogue->response);
        r = buffer_append_text(&dialogue->response, response);
        if (r < 0)
                return r;
        return dialogue_say(dialogue, shown, "%s%s", before, response);
}

bool login_user_is_plain(const char *user)
{
        return *user && text_is_clean(user, strlen(user));
}

bool login_secret_is_plain(const Secret *secret)
{
        const unsigned char *p = (const unsigned char *) secret_data(secret);

        for (size_t i = 0; i < secret_len(secret); i++)
                if (p[i] < ' ' || p[i] == 0x7f)
                        return false;
        return true;
}
