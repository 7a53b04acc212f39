/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See smtp.h. */
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "proto/smtp.h"

enum { AUTH_MECHANISMS_MAX = 32, MECHANISM_MAX = 20 };

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static size_t count_digits(const char *p, size_t len)
{
        size_t n = 0;

        while (n < len && is_digit(p[n]))
                n++;
        return n;
}

/* RFC 3463 section 2: class "." subject "." detail, the last two of 1 to 3 digits. Returns its length, 0 for none. */
static size_t enhanced_code_len(const char *p, size_t len)
{
        size_t at = 2, n;

        if (len < 5 || (p[0] != '2' && p[0] != '4' && p[0] != '5') || p[1] != '.')
                return 0;
        n = count_digits(p + at, len - at);
        if (n < 1 || n > 3 || at + n >= len || p[at + n] != '.')
                return 0;
        at += n + 1;
        n = count_digits(p + at, len - at);
        if (n < 1 || n > 3)
                return 0;
        at += n;
        return at == len || p[at] == ' ' ? at : 0;
}

int smtp_parse_line(SmtpLine *ret, const char *line, size_t len)
{
        SmtpLine parsed = {};
        size_t n;

        if (len < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
                return -EBADMSG;
        /* RFC 5321 section 4.2.1: clients should take a bare code without a blank behind it. */
        if (len > 3 && line[3] != ' ' && line[3] != '-')
                return -EBADMSG;
        parsed.status = (unsigned) ((line[0] - '0') * 100 + (line[1] - '0') * 10 + line[2] - '0');
        parsed.last = len == 3 || line[3] == ' ';
        parsed.text = line + MIN(len, (size_t) 4);
        parsed.text_len = len - MIN(len, (size_t) 4);

        n = enhanced_code_len(parsed.text, parsed.text_len);
        if (n > 0 && n < sizeof(parsed.code)) {
                memcpy(parsed.code, parsed.text, n);
                parsed.text += n;
                parsed.text_len -= n;
                while (parsed.text_len > 0 && *parsed.text == ' ') {
                        parsed.text++;
                        parsed.text_len--;
                }
        }
        *ret = parsed;
        return 0;
}

void smtp_extensions_clear(SmtpExtensions *extensions)
{
        list_free(extensions->auth);
        list_free(extensions->lines);
        *extensions = (SmtpExtensions){};
}

static int extension_auth(SmtpExtensions *extensions, const char *p, size_t len)
{
        while (len > 0) {
                char name[MECHANISM_MAX + 1];
                size_t n = 0;
                int r;

                while (n < len && p[n] != ' ' && p[n] != '\t')
                        n++;
                if (n > 0 && n <= MECHANISM_MAX && text_is_clean(p, n)) {
                        for (size_t i = 0; i < n; i++)
                                name[i] = p[i] >= 'a' && p[i] <= 'z' ? (char) (p[i] - 32) : p[i];
                        name[n] = 0;
                        r = list_contains_nocase(extensions->auth, name)
                                    ? 0
                                    : list_append_bounded(&extensions->auth, name,
                                                          AUTH_MECHANISMS_MAX);
                        if (r < 0)
                                return r;
                }
                n += n < len;
                p += n;
                len -= n;
        }
        return 0;
}

/* RFC 1870 section 3: SIZE alone or SIZE 0 promise nothing about a limit. */
static void extension_size(SmtpExtensions *extensions, const char *p, size_t len)
{
        size_t n;

        extensions->has_size = true;
        while (len > 0 && *p == ' ') {
                p++;
                len--;
        }
        if (text_scan_u64(p, len, INT64_MAX, &extensions->size, &n) < 0)
                extensions->size = 0;
}

int smtp_parse_extension(SmtpExtensions *extensions, const char *text, size_t len)
{
        const struct {
                const char *name;
                bool *flag;
        } flags[] = {
                { "STARTTLS", &extensions->starttls },
                { "PIPELINING", &extensions->pipelining },
                { "8BITMIME", &extensions->eight_bit_mime },
                { "SMTPUTF8", &extensions->smtputf8 },
                { "ENHANCEDSTATUSCODES", &extensions->enhanced_codes },
                { "CHUNKING", &extensions->chunking },
        };
        char shown[LIMIT_REPLY_TEXT + 1], keyword[32];
        size_t n = 0;
        int r;

        text_printable(shown, sizeof(shown), text, len);
        r = list_append_bounded(&extensions->lines, shown, LIMIT_REPLY_LINES);
        if (r < 0)
                return r;

        /* "AUTH=LOGIN PLAIN" is what servers said before RFC 2554; many still say both. */
        while (n < len && n < sizeof(keyword) - 1 && text[n] != ' ' && text[n] != '=' && text[n])
                n++;
        if (n > 0)
                memcpy(keyword, text, n);
        keyword[n] = 0;
        for (size_t i = 0; i < ELEMENTS(flags); i++)
                if (text_equal_nocase(keyword, flags[i].name))
                        *flags[i].flag = true;
        n += n < len;
        if (text_equal_nocase(keyword, "AUTH"))
                return extension_auth(extensions, text + n, len - n);
        if (text_equal_nocase(keyword, "SIZE"))
                extension_size(extensions, text + n, len - n);
        return 0;
}
