/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was said in a dialogue, for Report(): bounded, printable, and redacted as it is written. Known secrets are
 * also searched for in what the server says (some echo), plain and in base64, so that nothing has to be cleaned up later. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"
#include "base/util.h"

typedef struct Transcript Transcript;

typedef enum TranscriptSide {
        TRANSCRIPT_CLIENT, /* "C: " */
        TRANSCRIPT_SERVER, /* "S: " */
        TRANSCRIPT_NOTE,   /* "-- ", our own remark */
} TranscriptSide;

/* Shared by the steps of one setup. */
int transcript_new(Transcript **ret);
Transcript *transcript_ref(Transcript *transcript);
Transcript *transcript_unref(Transcript *transcript);
DEFINE_CLEANUP(Transcript, transcript_unref);

/* Stars out @secret in @line, plain and as base64 makes it at any position. For all that a server said and that is kept. */
void secret_redact(const Secret *secret, Buffer *line);

/* From now on @secret never shows. Up to 8 are remembered. Returns 0, -ENOMEM, -ENOBUFS. */
int transcript_hide(Transcript *transcript, Secret *secret);
/* One line, without its end; @label (may be NULL) names the dialogue: "incoming", "outgoing". NULL transcript: nothing.
 * No memory: the line is dropped. Over LIMIT_TRANSCRIPT the oldest half goes and a note says so. */
void transcript_line(Transcript *transcript, const char *label, TranscriptSide side,
                     const void *text, size_t len);
/* Our own remark, formatted. */
void transcript_note(Transcript *transcript, const char *label, const char *format, ...)
        _printf_(3, 4);
/* All lines, each ended by LF; borrowed until the next line. Never NULL. */
const char *transcript_text(const Transcript *transcript);
