/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Strings: comparing, reading numbers with range, lists, and making foreign bytes fit to be shown. */
#pragma once

#include "base/util.h"

/* NULL equals only NULL. */
bool text_equal(const char *a, const char *b);
/* From here on the case of ASCII alone is folded, whatever the locale. */
char text_upper(char c);
/* Is this word, of @len octets, @name (which is in capitals), in whatever case? */
bool text_word_is(const char *word, size_t len, const char *name);
bool text_equal_nocase(const char *a, const char *b);
bool text_starts_nocase(const char *text, const char *prefix);
bool text_ends_nocase(const char *text, const char *suffix);

/* strdup() into *@to, freeing what was there; NULL clears. Returns 0, -ENOMEM. */
int text_set(char **to, const char *text);
int text_set_n(char **to, const char *text, size_t len);
/* Formats into a new string. Returns 0, -ENOMEM. */
int text_format(char **ret, const char *format, ...) _printf_(2, 3);
/* Folds ASCII letters in place. */
void text_lower(char *text);

/* Reads a whole decimal number, digits only. Returns 0, -EINVAL, -ERANGE (over @max). */
int text_to_u64(const char *text, uint64_t max, uint64_t *ret);
/* Reads digits at the front of [@text, @text+@len) and stores how many were read (0 is -EINVAL). */
int text_scan_u64(const char *text, size_t len, uint64_t max, uint64_t *ret, size_t *ret_read);

/* Copies foreign bytes so that they can be shown, logged and sent as a D-Bus string: valid UTF-8; control,
 * bidirectional and invisible format characters and invalid bytes become U+FFFD or '?', tabs a space; cut at a character when
 * @size (terminating NUL included) is reached. Returns the length written. */
size_t text_printable(char *to, size_t size, const void *from, size_t len);
/* The same as a new string of at most @max bytes. NULL when there is no memory. */
char *text_printable_new(const void *from, size_t len, size_t max);
/* True when @text is valid UTF-8 without control or bidirectional characters. */
bool text_is_clean(const char *text, size_t len);

/* NULL-terminated lists of strings. NULL is the empty list. */
char **list_free(char **list);
static inline void list_freep(char ***list)
{
        *list = list_free(*list);
}
#define _cleanup_list_ _cleanup_(list_freep)
size_t list_len(char *const *list);
/* Appends a copy, at most @max entries. Returns 0, -ENOMEM, -ENOBUFS. */
int list_append(char ***list, const char *text, size_t max);
/* The same, but what does not fit is left out: a list from a server that is too long is no fault of ours. Returns 0, -ENOMEM. */
int list_append_bounded(char ***list, const char *text, size_t max);
int list_copy(char ***ret, char *const *list);
bool list_contains_nocase(char *const *list, const char *text);
/* Joined by @separator into a new string. Returns 0, -ENOMEM. */
int list_join(char **ret, char *const *list, const char *separator);
