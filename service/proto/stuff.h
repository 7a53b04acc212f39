/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stored message (LF line ends) as it goes over the wire, in pieces: LF becomes CRLF, and for DATA a dot that begins a line is doubled
 * (RFC 5321 section 4.5.2). All other octets stay as they are, bare CR too. */
#pragma once

#include "base/util.h"

typedef struct Stuff {
        bool dots;     /* for DATA; BDAT counts octets and needs none */
        bool in_line;  /* the last octet was no line end */
        bool after_cr; /* private */
        bool ambiguous; /* a bare CR came before a dot: some servers take that for the beginning of a line */
} Stuff;

/* Puts what @in becomes to @out (room for 2 * @len). Returns how many octets. */
size_t stuff_feed(Stuff *stuff, const char *in, size_t len, char *out);
