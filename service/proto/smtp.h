/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SMTP replies (RFC 5321 section 4.2, 3463, 2034) and EHLO keywords. No I/O. Lines come without their end. */
#pragma once

#include "base/util.h"

typedef struct SmtpLine {
        unsigned status;  /* 200..599 */
        bool last;        /* "250 " or a bare "250"; false for "250-" */
        char code[16];    /* enhanced status "5.7.8", "" none */
        const char *text; /* behind both; points into the line */
        size_t text_len;
} SmtpLine;

/* Returns 0, -EBADMSG. */
int smtp_parse_line(SmtpLine *ret, const char *line, size_t len);

typedef struct SmtpExtensions {
        bool known, starttls, pipelining, eight_bit_mime, smtputf8, has_size, enhanced_codes,
                chunking;
        uint64_t size; /* 0: no fixed limit */
        char **auth;   /* mechanism names, upper case; also from the old "AUTH=" form */
        char **lines;  /* printable, as evidence */
} SmtpExtensions;

void smtp_extensions_clear(SmtpExtensions *extensions);
/* The text of one EHLO line behind the first. Returns 0, -ENOMEM. */
int smtp_parse_extension(SmtpExtensions *extensions, const char *text, size_t len);
