/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Words: a set of literals found in a text in one pass (Aho and Corasick, 1975), whatever their number. Bytes are compared as
 * they are: folding is the caller's. */
#pragma once

#include "base/util.h"

typedef struct Words Words;

/* Called for each occurrence, in order of their ends. @word_end counts the blanks of the text up to and with its last byte. */
typedef void WordsFound(void *userdata, unsigned id, unsigned word_end);

int words_new(Words **ret);
Words *words_free(Words *words);
DEFINE_CLEANUP(Words, words_free);
/* Adds [@literal, @literal+@len), not empty; the same literal may be added under several @id. Not after words_compile().
 * Returns 0, -EINVAL, -ENOMEM. */
int words_add(Words *words, const char *literal, size_t len, unsigned id);
/* Once, after the last words_add(). Returns 0, -ENOMEM. */
int words_compile(Words *words);
/* Time is linear in @len plus the number of occurrences: returns the steps it took, at most 2 * @len + occurrences. */
size_t words_scan(const Words *words, const char *text, size_t len, WordsFound *found,
                  void *userdata);
