/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See plain.h. A reply that is no UTF-8 comes from an old server and does not say in which character set it is written. Every one that makes
 * sense is tried: a wrong one costs no more than words that no rule knows. */
#include <iconv.h>
#include <string.h>

#include "probe/plain.h"

/* What U+00C0 to U+017F look like without their accents; '*' stands for two letters or none. */
static const char folded[] = "aaaaaa*ceeeeiiiidnooooo ouuuuy**aaaaaa*ceeeeiiiidnooooo ouuuuy*y"
                             "aaaaaaccccccccddddeeeeeeeeeegggggggghhhhiiiiiiiiii**jjkkkllllll*"
                             "*llnnnnnnn**oooooo**rrrrrrssssssssttttttuuuuuuuuuuuuwwyyyzzzzzzs";

typedef struct Plain {
        char *to;
        size_t size, len;
} Plain;

static void plain_byte(Plain *p, char c)
{
        if (p->len + 2 < p->size)
                p->to[p->len++] = c;
}

static void plain_blank(Plain *p)
{
        if (p->len > 0 && p->to[p->len - 1] != ' ')
                plain_byte(p, ' ');
}

/* One character of [p, end) that is known to be well-formed. */
static unsigned utf8_next(const unsigned char **p)
{
        const unsigned char *s = *p;
        unsigned n = s[0] < 0x80 ? 0 : s[0] < 0xe0 ? 1 : s[0] < 0xf0 ? 2 : 3;
        unsigned c = n == 0 ? s[0] : s[0] & (0x3fU >> n);

        for (unsigned i = 1; i <= n; i++)
                c = c << 6 | (s[i] & 0x3fU);
        *p += n + 1;
        return c;
}

static bool utf8_valid(const unsigned char *p, const unsigned char *end)
{
        while (p < end) {
                unsigned n = *p < 0x80   ? 0
                             : *p < 0xc2 ? 9
                             : *p < 0xe0 ? 1
                             : *p < 0xf0 ? 2
                             : *p < 0xf5 ? 3
                                         : 9;

                if (n > (size_t) (end - p) - 1)
                        return false;
                for (unsigned i = 1; i <= n; i++)
                        if ((p[i] & 0xc0) != 0x80)
                                return false;
                p += n + 1;
        }
        return true;
}

static bool is_cjk(unsigned c)
{
        return c >= 0x2e80 && c < 0xfe00;
}

/* A letter beyond ASCII; false for signs and spaces. */
static bool plain_wide(Plain *p, unsigned c, const unsigned char *utf8, size_t len)
{
        if (c == 0xdf) { /* sharp s */
                plain_byte(p, 's');
                plain_byte(p, 's');
                return true;
        }
        if (c >= 0xc0 && c - 0xc0 < sizeof(folded) - 1) {
                if (folded[c - 0xc0] == ' ')
                        return false;
                if (folded[c - 0xc0] != '*')
                        plain_byte(p, folded[c - 0xc0]);
                return true;
        }
        if (c >= 0x400 && c < 0x460) { /* Cyrillic: small letters, io as ie */
                unsigned small = c >= 0x410 && c < 0x430    ? c + 0x20
                                 : c == 0x401 || c == 0x451 ? 0x435
                                                            : c;

                plain_byte(p, (char) (0xc0 | small >> 6));
                plain_byte(p, (char) (0x80 | (small & 0x3f)));
                return true;
        }
        if (!is_cjk(c) && !(c >= 0x370 && c < 0x2000))
                return false;
        for (size_t i = 0; i < len; i++)
                plain_byte(p, (char) utf8[i]);
        return true;
}

static bool is_lower(unsigned c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_upper(unsigned c)
{
        return c >= 'A' && c <= 'Z';
}

static bool is_digit(unsigned c)
{
        return c >= '0' && c <= '9';
}

/* "can't", "hasn't": the tail belongs to the word; "l'accès" are two. */
static bool is_tail(const unsigned char *p, const unsigned char *end)
{
        return p < end && (*p == 't' || *p == 's') &&
               (end - p == 1 || (!is_lower(p[1]) && !is_upper(p[1])));
}

static bool lower_follows(const unsigned char *p, const unsigned char *end)
{
        return end - p >= 3 && is_lower(p[0]) && is_lower(p[1]) && is_lower(p[2]);
}

/* Session identifiers and the like: long, of both cases and with digits. */
static size_t noise_len(const unsigned char *p, const unsigned char *end)
{
        bool lower = false, upper = false, digit = false;
        const unsigned char *s = p;

        for (; s < end && (is_lower(*s) || is_upper(*s) || is_digit(*s) || *s == '+' || *s == '=');
             s++) {
                lower |= is_lower(*s);
                upper |= is_upper(*s);
                digit |= is_digit(*s);
        }
        return lower && upper && digit && s - p >= 16 ? (size_t) (s - p) : 0;
}

/* An address, of mail or of the network, says nothing about the fault, and its words mislead. */
static size_t address_len(const unsigned char *p, const unsigned char *end)
{
        const unsigned char *s = p;
        bool at = false, number = true;
        unsigned dots = 0;

        for (; s < end && *s &&
               (is_lower(*s) || is_upper(*s) || is_digit(*s) || strchr("@.-_+%*", *s));
             s++) {
                at |= *s == '@' && s > p;
                dots += *s == '.';
                number = number && (is_digit(*s) || *s == '.');
        }
        return at || (number && dots >= 3) ? (size_t) (s - p) : 0;
}

static void plain_utf8(Plain *p, const unsigned char *s, const unsigned char *end)
{
        unsigned before = ' ', c;
        bool wide = false; /* the last one was Chinese */
        unsigned uppers = 0;

        for (; s < end; before = c) {
                const unsigned char *at = s;
                size_t skip = before < 0x80 && !is_lower(before) && !is_upper(before) &&
                                              !is_digit(before)
                                      ? noise_len(s, end) ?: address_len(s, end)
                                      : 0;

                if (skip) {
                        s += skip;
                        plain_blank(p);
                        c = ' ';
                        continue;
                }
                c = utf8_next(&s);
                if (!is_upper(c))
                        uppers = 0;
                if (is_cjk(c) != wide) {
                        plain_blank(p);
                        wide = is_cjk(c);
                }
                if (is_upper(c)) {
                        uppers++;
                        if (is_lower(before) || (uppers > 2 && lower_follows(s, end)))
                                plain_blank(p); /* UserDisabled, SSLUnknown; not TLSv1, FETCHed */
                        plain_byte(p, (char) (c + ('a' - 'A')));
                } else if (is_lower(c) || is_digit(c)) {
                        plain_byte(p, (char) c);
                } else if ((c == '\'' || c == 0x2019) && is_tail(s, end)) {
                        continue;
                } else if (c < 0x80 || !plain_wide(p, c, at, (size_t) (s - at))) {
                        plain_blank(p);
                        wide = false;
                }
        }
}

/* Converts to UTF-8; 0 when a byte makes no sense. */
static size_t convert(const char *charset, char *to, size_t size, const char *from, size_t len)
{
        iconv_t cd = iconv_open("UTF-8", charset);
        union {
                const char *given;
                char *taken; /* iconv() does not change it, but its type says so */
        } in = { .given = from };
        char *out = to;
        size_t left = size, r;

        if (cd == (iconv_t) -1)
                return 0;
        r = iconv(cd, &in.taken, &len, &out, &left);
        iconv_close(cd);
        return r == (size_t) -1 ? 0 : size - left;
}

/* GBK text has pairs of high bytes; a lone one is an accent of Latin-1. */
static bool looks_like_gbk(const unsigned char *p, size_t len)
{
        size_t pairs = 0;

        for (size_t i = 0; i < len; i++) {
                if (p[i] < 0x80)
                        continue;
                if (i + 1 >= len || p[i] < 0xa1 || p[i] > 0xf7 || p[i + 1] < 0xa1)
                        return false;
                pairs++;
                i++;
        }
        return pairs >= 2;
}

/* Characters of U+0080 to U+00FF only: perhaps bytes that somebody has read as Latin-1. Gives them back as bytes. */
static size_t bytes_again(unsigned char *to, const unsigned char *from, size_t len)
{
        const unsigned char *p = from, *end = from + len;
        size_t n = 0, high = 0;

        while (p < end) {
                unsigned c = utf8_next(&p);

                if (c > 0xff)
                        return 0;
                high += c >= 0x80;
                to[n++] = (unsigned char) c;
        }
        return high ? n : 0;
}

/* In order of likelihood; Latin-1 takes everything. */
static const char *const charsets[PLAIN_WAYS] = { NULL,           "GBK",        "ISO-8859-1",
                                                  "WINDOWS-1251", "KOI8-R",     "SHIFT_JIS",
                                                  "EUC-JP",       "EUC-KR",     "WINDOWS-1250",
                                                  "BIG5",         "ISO-2022-JP" };

enum { WAY_GBK = 1, WAY_ISO_2022 = PLAIN_WAYS - 1, INPUT_MAX = PLAIN_MAX / 3 };

/* What stands there, cut between characters if it has to be cut. */
static size_t input_len(const unsigned char *text, size_t len)
{
        if (len < INPUT_MAX)
                return len;
        for (len = INPUT_MAX; len > 0 && (text[len - 1] & 0xc0) == 0x80;)
                len--;
        return len > 0 && text[len - 1] >= 0xc0 ? len - 1 : len;
}

/* @bytes read in the @way-th manner, as UTF-8; 0 when they are not written so. */
static size_t bytes_read(char *to, const unsigned char *bytes, size_t n, unsigned way)
{
        bool utf8 = utf8_valid(bytes, bytes + n), escapes = memmem(bytes, n, "\x1b$", 2);

        if (way == 0 ? !utf8 : way == WAY_ISO_2022 ? !escapes : utf8)
                return 0;
        if (way == WAY_GBK && !looks_like_gbk(bytes, n))
                return 0;
        if (way != 0)
                return convert(charsets[way], to, PLAIN_MAX, (const char *) bytes, n);
        memcpy(to, bytes, n);
        return n;
}

size_t plain_text_as(char *to, size_t size, const char *from, size_t len, unsigned way)
{
        char read[PLAIN_MAX];
        unsigned char again[INPUT_MAX];
        const unsigned char *text = (const unsigned char *) from;
        Plain plain = { .to = to, .size = size };
        size_t n;

        len = input_len(text, len);
        n = utf8_valid(text, text + len) ? bytes_again(again, text, len) : 0;
        /* "Ã©" has been decoded once too little or once too much; "é" was right as it stands */
        n = n ? bytes_read(read, again, n, way) : bytes_read(read, text, len, way);
        if (way > 0 && n == 0)
                return 0;
        plain_byte(&plain, ' ');
        plain_utf8(&plain, (const unsigned char *) read, (const unsigned char *) read + n);
        plain_blank(&plain);
        if (size > 0)
                to[plain.len] = '\0';
        return plain.len;
}

size_t plain_text(char *to, size_t size, const char *from, size_t len)
{
        for (unsigned way = 0; way < PLAIN_WAYS; way++) {
                size_t n = plain_text_as(to, size, from, len, way);

                if (n > 1 || (n == 1 && way > 0))
                        return n;
        }
        return plain_text_as(to, size, "", 0, 0);
}
