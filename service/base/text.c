/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See text.h. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/text.h"

static char ascii_lower(char c)
{
        return c >= 'A' && c <= 'Z' ? (char) (c + 32) : c;
}

bool text_equal(const char *a, const char *b)
{
        return a && b ? strcmp(a, b) == 0 : a == b;
}

char text_upper(char c)
{
        return c >= 'a' && c <= 'z' ? (char) (c - 32) : c;
}

bool text_word_is(const char *word, size_t len, const char *name)
{
        if (strlen(name) != len)
                return false;
        for (size_t i = 0; i < len; i++)
                if (text_upper(word[i]) != name[i])
                        return false;
        return true;
}

bool text_equal_nocase(const char *a, const char *b)
{
        if (!a || !b)
                return a == b;
        while (*a && ascii_lower(*a) == ascii_lower(*b)) {
                a++;
                b++;
        }
        return ascii_lower(*a) == ascii_lower(*b);
}

bool text_starts_nocase(const char *text, const char *prefix)
{
        while (*prefix && ascii_lower(*text) == ascii_lower(*prefix)) {
                text++;
                prefix++;
        }
        return !*prefix;
}

bool text_ends_nocase(const char *text, const char *suffix)
{
        size_t n = strlen(text), m = strlen(suffix);

        return n >= m && text_equal_nocase(text + n - m, suffix);
}

int text_set(char **to, const char *text)
{
        return text_set_n(to, text, text ? strlen(text) : 0);
}

int text_set_n(char **to, const char *text, size_t len)
{
        char *copy = NULL;

        if (text) {
                copy = strndup(text, len);
                if (!copy)
                        return -ENOMEM;
        }
        free(*to);
        *to = copy;
        return 0;
}

int text_format(char **ret, const char *format, ...)
{
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(ret, format, ap);
        va_end(ap);
        return n < 0 ? -ENOMEM : 0;
}

void text_lower(char *text)
{
        for (; *text; text++)
                *text = ascii_lower(*text);
}

int text_scan_u64(const char *text, size_t len, uint64_t max, uint64_t *ret, size_t *ret_read)
{
        uint64_t value = 0;
        size_t i;

        for (i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++) {
                unsigned digit = (unsigned) (text[i] - '0');

                if (value > (max - MIN(max, digit)) / 10 || value * 10 + digit > max)
                        return -ERANGE;
                value = value * 10 + digit;
        }
        if (i == 0)
                return -EINVAL;
        *ret = value;
        *ret_read = i;
        return 0;
}

int text_to_u64(const char *text, uint64_t max, uint64_t *ret)
{
        size_t len = strlen(text), n;
        uint64_t value;
        int r;

        r = text_scan_u64(text, len, max, &value, &n);
        if (r < 0)
                return r;
        if (n != len)
                return -EINVAL;
        *ret = value;
        return 0;
}

/* Decodes one character. Returns its length, or 0 when the bytes are not UTF-8 (RFC 3629 section 4). */
static size_t utf8_decode(const unsigned char *p, size_t len, uint32_t *ret)
{
        static const uint32_t min[] = { 0, 0, 0x80, 0x800, 0x10000 };
        size_t n = p[0] < 0x80                   ? 1
                   : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                   : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                   : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                                 : 0;
        uint32_t c;

        if (n == 0 || n > len)
                return 0;
        c = n == 1 ? p[0] : p[0] & (0xffu >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }
        if (c < min[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
                return 0;
        *ret = c;
        return n;
}

/* Characters that act on the text around them instead of being seen, and the two that D-Bus forbids. */
static bool char_is_hostile(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
               (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
               (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
               (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) ||
               (c >= 0xe0000 && c <= 0xe007f);
}

size_t text_printable(char *to, size_t size, const void *from, size_t len)
{
        const unsigned char *p = from;
        size_t out = 0;

        assert(size > 0);
        while (len > 0) {
                uint32_t c = 0;
                size_t n = utf8_decode(p, len, &c);
                bool bad = n == 0 || char_is_hostile(c);
                const char *piece = n == 1 && c == '\t' ? " "
                                    : n == 1 && bad     ? "?"
                                    : bad               ? "\xef\xbf\xbd"
                                                        : (const char *) p;
                size_t piece_len = bad ? strlen(piece) : n;

                if (out + piece_len >= size)
                        break;
                memcpy(to + out, piece, piece_len);
                out += piece_len;
                n = MAX(n, (size_t) 1);
                p += n;
                len -= n;
        }
        to[out] = 0;
        return out;
}

char *text_printable_new(const void *from, size_t len, size_t max)
{
        /* A byte grows to three at most. */
        size_t size = MIN(max, len > SIZE_MAX / 4 ? max : len * 3) + 1;
        char *to = malloc(size);

        if (to)
                text_printable(to, size, from, len);
        return to;
}

bool text_is_clean(const char *text, size_t len)
{
        const unsigned char *p = (const unsigned char *) text;

        while (len > 0) {
                uint32_t c;
                size_t n = utf8_decode(p, len, &c);

                if (n == 0 || char_is_hostile(c))
                        return false;
                p += n;
                len -= n;
        }
        return true;
}

char **list_free(char **list)
{
        for (char **p = list; p && *p; p++)
                free(*p);
        free(list);
        return NULL;
}

size_t list_len(char *const *list)
{
        size_t n = 0;

        while (list && list[n])
                n++;
        return n;
}

int list_append(char ***list, const char *text, size_t max)
{
        size_t n = list_len(*list);
        char **grown, *copy;

        if (n >= max)
                return -ENOBUFS;
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        grown = reallocarray(*list, n + 2, sizeof(char *));
        if (!grown) {
                free(copy);
                return -ENOMEM;
        }
        grown[n] = copy;
        grown[n + 1] = NULL;
        *list = grown;
        return 0;
}

int list_append_bounded(char ***list, const char *text, size_t max)
{
        int r = list_append(list, text, max);

        return r == -ENOBUFS ? 0 : r;
}

int list_copy(char ***ret, char *const *list)
{
        _cleanup_list_ char **copy = NULL;

        for (char *const *p = list; p && *p; p++) {
                int r = list_append(&copy, *p, SIZE_MAX);

                if (r < 0)
                        return r;
        }
        *ret = TAKE(copy);
        return 0;
}

bool list_contains_nocase(char *const *list, const char *text)
{
        for (; list && *list; list++)
                if (text_equal_nocase(*list, text))
                        return true;
        return false;
}

int list_join(char **ret, char *const *list, const char *separator)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(SIZE_MAX / 8);
        int r = 0;

        for (char *const *p = list; p && *p && r == 0; p++)
                r = buffer_printf(&buffer, "%s%s", p == list ? "" : separator, *p);
        return r < 0 ? r : buffer_take(&buffer, ret);
}
