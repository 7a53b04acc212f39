/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for people: printable strings, durations, sizes, times. Pure functions; results are the caller's to free, buffers are his own. */
#pragma once

#include <stdio.h>

#include "cli/util.h"

/* A copy of @text that cannot steer a terminal or pretend to be another line: control characters, direction marks and
 * bytes that are no UTF-8 become '?'. NULL when there is no memory. */
char *text_printable(const char *text);
/* Every byte belongs to a well-formed character (RFC 3629). */
bool text_is_utf8(const char *text);
/* As text_printable(), and everything outside ASCII becomes '?', for a locale without UTF-8. In place. */
void text_to_ascii(char *text);
/* Columns that printable text takes on a terminal; colours take none. */
int text_width(const char *text);
/* The length of the character, or of the colour, that @text begins with, and its columns. */
size_t text_character(const char *text, unsigned *ret_columns);

enum { TEXT_SHORT = 48 };
/* "<1 ms", "43 ms", "1.24 s", "2 min 3 s". */
const char *text_duration(char buffer[TEXT_SHORT], uint64_t usec);
/* "512 B", "31.2 MB": powers of 1000. */
const char *text_size(char buffer[TEXT_SHORT], uint64_t bytes);
/* "3 min ago", "in 2 h", "never" for 0; @now and @when since 1970. */
const char *text_when(char buffer[TEXT_SHORT], uint64_t when, uint64_t now);
/* "2031-05-06 07:08:09" in local time. */
const char *text_time(char buffer[TEXT_SHORT], uint64_t when);
/* "7 s", "3 min", "2 h": the largest unit alone. */
const char *text_span(char buffer[TEXT_SHORT], uint64_t usec);
/* "1 message", "5 messages". */
const char *text_count(char buffer[TEXT_SHORT], uint64_t n, const char *noun);
uint64_t text_now(void);

/* 0 and the number if all of @text is one between @min and @max; -ERANGE, -EINVAL. */
int text_to_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret);
/* How many letters must change to make one of the other, for "did you mean"; more than 3 is 4. */
unsigned text_distance(const char *a, const char *b);
