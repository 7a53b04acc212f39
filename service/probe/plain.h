/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plain text: what servers and libraries write, in any of their character sets, as words that can be compared: small ASCII letters
 * and digits between single blanks, accents dropped, Cyrillic folded, Chinese kept. "Can't SIGN-IN." becomes " cant sign in ". */
#pragma once

#include "base/util.h"

enum { PLAIN_MAX = 8192, PLAIN_WAYS = 11 };

/* Folds at most what fits; the result begins and ends with a blank unless it is empty. Bytes that are no UTF-8 are read in the likeliest
 * manner; so are characters that look like such bytes decoded wrongly before. Returns the length. */
size_t plain_text(char *to, size_t size, const char *from, size_t len);
/* The same read in the @way-th of PLAIN_WAYS manners: 0 is as UTF-8, or as it stands; the others are character sets of old servers. Returns 0
 * when it is not written in that one. */
size_t plain_text_as(char *to, size_t size, const char *from, size_t len, unsigned way);
