/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See transcript.h. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "base/transcript.h"

enum { SECRETS_MAX = 8, LINE_MAX = 600, SECRET_MIN = 3 };

struct Transcript {
        unsigned n_ref;
        Secret *secrets[SECRETS_MAX];
        unsigned n_secrets;
        uint64_t begun_usec;
        Buffer text;
};

int transcript_new(Transcript **ret)
{
        Transcript *transcript = calloc(1, sizeof(*transcript));

        if (!transcript)
                return -ENOMEM;
        transcript->n_ref = 1;
        transcript->begun_usec = clock_now();
        transcript->text = BUFFER(LIMIT_TRANSCRIPT);
        *ret = transcript;
        return 0;
}

Transcript *transcript_ref(Transcript *transcript)
{
        if (transcript)
                transcript->n_ref++;
        return transcript;
}

Transcript *transcript_unref(Transcript *transcript)
{
        if (!transcript || --transcript->n_ref > 0)
                return NULL;
        for (unsigned i = 0; i < transcript->n_secrets; i++)
                secret_unref(transcript->secrets[i]);
        buffer_deinit(&transcript->text);
        free(transcript);
        return NULL;
}

int transcript_hide(Transcript *transcript, Secret *secret)
{
        unsigned i;

        if (!secret)
                return 0;
        for (i = 0; i < transcript->n_secrets; i++)
                if (secret_equal(transcript->secrets[i], secret))
                        return 0;
        if (transcript->n_secrets == SECRETS_MAX)
                return -ENOBUFS;
        /* Longest first: "secret" must not be starred out of "secret2". */
        for (i = transcript->n_secrets++; i > 0; i--) {
                if (secret_len(transcript->secrets[i - 1]) >= secret_len(secret))
                        break;
                transcript->secrets[i] = transcript->secrets[i - 1];
        }
        transcript->secrets[i] = secret_ref(secret);
        return 0;
}

/* Stars out each @what, and @before and @behind octets around it as far as there are any. */
static void redact_bytes(Buffer *line, const char *what, size_t what_len, size_t before,
                         size_t behind)
{
        static const char stars[] = "******";
        size_t at = 0;
        char *hit;

        /* Searching goes on behind the stars: the secret may be made of stars itself. */
        while (what_len >= SECRET_MIN &&
               (hit = memmem(line->data + at, line->len - at, what, what_len))) {
                size_t from = (size_t) (hit - line->data), to = from + what_len, keep;

                from -= MIN(before, from - at);
                to += MIN(behind, line->len - to);
                keep = MIN(to - from, sizeof(stars) - 1);
                memcpy(line->data + from, stars, keep);
                memmove(line->data + from + keep, line->data + to, line->len - to);
                line->len -= to - from - keep;
                at = from + keep;
        }
}

/* The base64 of a text that contains the secret differs with the secret's position modulo 3. Searched are the
 * digits that are made of the secret alone; the one before and the one behind are made of it in part. */
static void redact_base64(Buffer *line, const Secret *secret)
{
        static const size_t first[] = { 0, 2, 3 };

        for (unsigned shift = 0; shift < 3; shift++) {
                _cleanup_buffer_ Buffer padded = BUFFER_SECRET(LIMIT_TOKEN + 8);
                _cleanup_buffer_ Buffer encoded = BUFFER_SECRET(2 * LIMIT_TOKEN + 16);
                size_t bits = 8 * (shift + secret_len(secret));

                if (buffer_append(&padded, "\0\0", shift) < 0 ||
                    buffer_append(&padded, secret_data(secret), secret_len(secret)) < 0 ||
                    base64_encode(&encoded, padded.data, padded.len) < 0)
                        continue;
                if (bits / 6 > first[shift])
                        redact_bytes(line, encoded.data + first[shift], bits / 6 - first[shift],
                                     shift > 0, bits % 6 > 0);
        }
}

void secret_redact(const Secret *secret, Buffer *line)
{
        redact_bytes(line, secret_data(secret), secret_len(secret), 0, 0);
        redact_base64(line, secret);
}

/* Stars out all secrets. When @line was cut before, the beginning of a secret may be left at its end: so much goes. */
static void transcript_redact(const Transcript *transcript, Buffer *line, bool cut)
{
        for (unsigned i = 0; i < transcript->n_secrets; i++)
                secret_redact(transcript->secrets[i], line);
        if (cut && transcript->n_secrets > 0)
                line->len -= MIN(line->len, secret_len(transcript->secrets[0]) / 3 * 4 + 8);
}

static void transcript_make_room(Transcript *transcript, size_t len)
{
        static const char note[] = "-- (older lines left out)\n";
        const char *middle;
        _cleanup_free_ char *rest = NULL;

        if (transcript->text.len + len < LIMIT_TRANSCRIPT)
                return;
        middle = memchr(transcript->text.data + transcript->text.len / 2, '\n',
                        transcript->text.len - transcript->text.len / 2);
        rest = strdup(middle ? middle + 1 : "");
        buffer_clear(&transcript->text);
        if (rest && buffer_append_text(&transcript->text, note) == 0)
                (void) buffer_append_text(&transcript->text, rest);
}

void transcript_line(Transcript *transcript, const char *label, TranscriptSide side,
                     const void *text, size_t len)
{
        static const char *const prefixes[] = { "C: ", "S: ", "-- " };
        _cleanup_buffer_ Buffer line = BUFFER_SECRET(LIMIT_LINE);
        char shown[LINE_MAX];
        uint64_t usec;

        /* A secret cut at the end of what is shown would escape the search: search before cutting. */
        if (!transcript || buffer_append(&line, text, MIN(len, (size_t) LIMIT_LINE)) < 0)
                return;
        transcript_redact(transcript, &line, len > LIMIT_LINE);
        text_printable(shown, sizeof(shown), line.data, line.len);

        usec = clock_now() - transcript->begun_usec;
        transcript_make_room(transcript, strlen(shown) + 64);
        (void) buffer_printf(&transcript->text, "%4" PRIu64 ".%03u %s%s%s%s%s\n",
                             usec / USEC_PER_SEC, (unsigned) (usec % USEC_PER_SEC / 1000),
                             label ? label : "", label ? " " : "", prefixes[side], shown,
                             line.len >= LINE_MAX || len > LIMIT_LINE ? " [...]" : "");
}

void transcript_note(Transcript *transcript, const char *label, const char *format, ...)
{
        char *line;
        va_list ap;
        int n;

        if (!transcript)
                return;
        va_start(ap, format);
        n = vasprintf(&line, format, ap);
        va_end(ap);
        if (n < 0)
                return;
        transcript_line(transcript, label, TRANSCRIPT_NOTE, line, (size_t) n);
        explicit_bzero(line, (size_t) n);
        free(line);
}

const char *transcript_text(const Transcript *transcript)
{
        return transcript->text.data ? transcript->text.data : "";
}
