/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The body of a multi-line reply as it streams in any pieces: removes the dot that RFC 1939 section 3 stuffed, turns CRLF into
 * LF, finds the terminator. Bare CR and bare LF are content and stay; a bare LF ends a line only in that ".LF" after
 * it is not a terminator: only CRLF "." CRLF is, or "." CRLF at the very start. */
#pragma once

#include "base/util.h"

typedef struct Unstuff {
        unsigned state; /* private; zero-initialise for each message */
} Unstuff;

/* Reads up to @len octets of @in and writes content to @out (room for @len + 2). Returns 1 when the terminator was read (octets
 * behind it are not consumed), 0 when more must come. */
int unstuff_feed(Unstuff *unstuff, const char *in, size_t len, size_t *ret_consumed, char *out,
                 size_t *ret_out);
