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
        for (unsigned i = 0; i < transcript->n_secrets; i++)
                if (secret_equal(transcript->secrets[i], secret))
                        return 0;
        if (transcript->n_secrets == SECRETS_MAX)
                return -ENOBUFS;
        transcript->secrets[transcript->n_secrets++] = secret_ref(secret);
        return 0;
}

static void redact_bytes(char *line, size_t *len, const char *what, size_t what_len)
{
        static const char stars[] = "******";
        char *hit;

        while (what_len >= SECRET_MIN && (hit = memmem(line, *len, what, what_len))) {
                size_t rest = *len - (size_t) (hit - line) - what_len;
                size_t keep = MIN(what_len, sizeof(stars) - 1);

                memcpy(hit, stars, keep);
                memmove(hit + keep, hit + what_len, rest);
                *len -= what_len - keep;
        }
}

/* The base64 of a text that contains the secret differs with its position modulo 3: the three middles are searched. */
static void redact_base64(char *line, size_t *len, const Secret *secret)
{
        for (unsigned shift = 0; shift < 3; shift++) {
                _cleanup_buffer_
                Buffer padded = BUFFER_SECRET(LIMIT_TOKEN + 8);
                _cleanup_buffer_
                Buffer encoded = BUFFER_SECRET(2 * LIMIT_TOKEN + 16);
                size_t first = shift == 0 ? 0 : shift == 1 ? 2 : 3, whole;

                if (buffer_append(&padded, "\0\0", shift) < 0 ||
                    buffer_append(&padded, secret_data(secret), secret_len(secret)) < 0 ||
                    base64_encode(&encoded, padded.data, padded.len) < 0)
                        continue;
                whole = padded.len / 3 * 4; /* complete quanta only */
                if (whole > first + 4)
                        redact_bytes(line, len, encoded.data + first, whole - first);
        }
}

static void transcript_make_room(Transcript *transcript, size_t len)
{
        static const char note[] = "-- (older lines left out)\n";
        const char *middle;
        _cleanup_free_
        char *rest = NULL;

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
        char line[LINE_MAX], shown[LINE_MAX];
        size_t n = MIN(len, sizeof(line));
        uint64_t usec;

        if (!transcript)
                return;
        /* A secret cut at the line's end would escape the search: search before cutting. */
        _cleanup_buffer_
        Buffer whole = BUFFER_SECRET(LIMIT_LINE + 1);
        if (buffer_append(&whole, text, MIN(len, (size_t) LIMIT_LINE)) < 0)
                return;
        for (unsigned i = 0; i < transcript->n_secrets; i++) {
                const Secret *secret = transcript->secrets[i];

                redact_bytes(whole.data, &whole.len, secret_data(secret), secret_len(secret));
                redact_base64(whole.data, &whole.len, secret);
        }
        n = MIN(whole.len, sizeof(line));
        memcpy(line, whole.data, n);
        text_printable(shown, sizeof(shown), line, n);
        explicit_bzero(line, sizeof(line));

        usec = clock_now() - transcript->begun_usec;
        transcript_make_room(transcript, strlen(shown) + 64);
        (void) buffer_printf(&transcript->text, "%4" PRIu64 ".%03u %s%s%s%s%s\n",
                             usec / USEC_PER_SEC, (unsigned) (usec % USEC_PER_SEC / 1000),
                             label ? label : "", label ? " " : "", prefixes[side], shown,
                             len > sizeof(line) ? " [...]" : "");
}

void transcript_note(Transcript *transcript, const char *label, const char *format, ...)
{
        char line[LINE_MAX];
        va_list ap;
        int n;

        if (!transcript)
                return;
        va_start(ap, format);
        n = vsnprintf(line, sizeof(line), format, ap);
        va_end(ap);
        if (n > 0)
                transcript_line(transcript, label, TRANSCRIPT_NOTE, line,
                                MIN((size_t) n, sizeof(line) - 1));
}

const char *transcript_text(const Transcript *transcript)
{
        return transcript->text.data ? transcript->text.data : "";
}
