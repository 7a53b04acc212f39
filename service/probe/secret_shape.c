/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See secret_shape.h. */
#include <string.h>

#include "base/text.h"
#include "probe/secret_shape.h"

enum { SHAPE_MAX = 80 };

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static bool is_between(char c)
{
        return c == ' ' || c == '-';
}

bool secret_shape_is_valid(const char *shape)
{
        size_t len = strlen(shape);

        return len > 0 && len <= SHAPE_MAX && strspn(shape, "aAx9 -") == len &&
               !is_between(shape[0]) && !is_between(shape[len - 1]);
}

static bool is_lower(char c)
{
        return c >= 'a' && c <= 'z';
}

static bool is_upper(char c)
{
        return c >= 'A' && c <= 'Z';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_of(char class, char c)
{
        switch (class) {
        case 'a':
                return is_lower(c);
        case 'A':
                return is_upper(c);
        case '9':
                return is_digit(c);
        default:
                return is_lower(c) || is_upper(c) || is_digit(c);
        }
}

/* Blanks of the secret are passed over, and what stands between groups where it stands or is missing. */
static bool fits(const char *shape, const char *secret, size_t len)
{
        size_t at = 0;

        for (; *shape; shape++) {
                while (at < len && is_blank(secret[at]))
                        at++;
                if (*shape == '-') {
                        at += at < len && secret[at] == '-';
                        continue;
                }
                if (*shape == ' ')
                        continue;
                if (at == len || !is_of(*shape, secret[at]))
                        return false;
                at++;
        }
        while (at < len && is_blank(secret[at]))
                at++;
        return at == len;
}

SecretShape secret_shape_judge(const char *shape, const Secret *secret)
{
        const char *text = secret_data(secret);
        size_t len = secret_len(secret);
        bool blanks = memchr(text, ' ', len) || memchr(text, '\t', len);

        if (shape && !fits(shape, text, len))
                return SECRET_SHAPE_OTHER;
        return blanks ? SECRET_SHAPE_SPACED : SECRET_SHAPE_FITS;
}
