/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verification mail (RFC 5322, 3834): made, and recognised again among headers. Its token is 32 hex digits, in a header of
 * its own and in the Message-ID, because some servers rewrite the one and some strip the other; the code for people is 6 digits. */
#pragma once

#include "base/util.h"

typedef struct VerificationMail {
        char token[33];
        char code[7];
        char *message; /* complete, lines end in LF, 7bit */
        size_t len;
} VerificationMail;

/* @random: 16 random bytes for the token, @code_random a number that picks the code; @real_usec the time for Date. Returns 0,
 * -ENOMEM; -EINVAL when @address has control characters. */
int verification_format(VerificationMail *ret, const char *address, const uint8_t random[16],
                        uint64_t code_random, uint64_t real_usec);
void verification_deinit(VerificationMail *mail);

typedef enum VerificationMatch {
        VERIFICATION_NO,
        VERIFICATION_OURS, /* our header or Message-ID with the token, and not a bounce */
        VERIFICATION_BOUNCE, /* a delivery report (multipart/report or null sender) that carries the token */
} VerificationMatch;

/* Looks at the beginning of a message (headers and some of the body, LF or CRLF). */
VerificationMatch verification_match(const char *head, size_t len, const char *token);
