/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See address.h. What is accepted is RFC 5321's Mailbox with the UTF-8 of RFC 6531; what is refused although the grammar
 * has it: address literals and domains of one label, which are nobody's mail provider. */
#include <arpa/inet.h>
#include <idn2.h>
#include <libpsl.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "proto/address.h"

enum { LOCAL_MAX = 64, LABEL_MAX = 63, TYPED_MAX = 2 * LIMIT_STRING };

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_ascii(const char *text)
{
        for (; *text; text++)
                if ((unsigned char) *text >= 0x80)
                        return false;
        return true;
}

/* --- host names ------------------------------------------------------------------------------------------- */

static bool label_is_valid(const char *label, size_t len)
{
        if (len == 0 || len > LABEL_MAX || label[0] == '-' || label[len - 1] == '-')
                return false;
        for (size_t i = 0; i < len; i++)
                if (!is_letter(label[i]) && !is_digit(label[i]) && label[i] != '-' &&
                    label[i] != '_')
                        return false;
        return true;
}

/* "1.2.3" and "0x7f.1" are addresses to some resolvers: a name never ends in a number. */
static bool label_is_number(const char *label, size_t len)
{
        if (len >= 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
                return strspn(label + 2, "0123456789abcdefABCDEF") == len - 2;
        return strspn(label, "0123456789") == len;
}

/* @host in A-labels, without a final dot. */
static bool host_is_valid(const char *host)
{
        const char *label = host;

        if (!*host || strlen(host) > LIMIT_HOST)
                return false;
        for (;;) {
                size_t len = strcspn(label, ".");

                if (!label_is_valid(label, len))
                        return false;
                if (!label[len])
                        return !label_is_number(label, len);
                label += len + 1;
        }
}

/* The canonical text of an IP literal, brackets taken off. */
static bool literal_normalize(const char *host, char ret[INET6_ADDRSTRLEN])
{
        char bare[INET6_ADDRSTRLEN + 1];
        size_t len = strlen(host);
        struct in6_addr in6;
        struct in_addr in;
        bool brackets = len >= 2 && host[0] == '[' && host[len - 1] == ']';

        len -= brackets ? 2 : 0;
        if (len >= sizeof(bare))
                return false;
        memcpy(bare, host + brackets, len);
        bare[len] = 0;
        if (!brackets && inet_pton(AF_INET, bare, &in) == 1)
                return inet_ntop(AF_INET, &in, ret, INET6_ADDRSTRLEN);
        return inet_pton(AF_INET6, bare, &in6) == 1 &&
               inet_ntop(AF_INET6, &in6, ret, INET6_ADDRSTRLEN);
}

bool host_is_literal(const char *host)
{
        char unused[INET6_ADDRSTRLEN];

        return literal_normalize(host, unused);
}

static int copy_text(char **ret, const char *text)
{
        char *copy = strdup(text);

        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

/* A-labels of @host. Plain ASCII needs no IDN library, which is stricter than the names in use. */
static int host_to_ascii(char **ret, const char *host)
{
        char *encoded = NULL;
        int r;

        if (is_ascii(host))
                return copy_text(ret, host);
        if (!text_is_clean(host, strlen(host)))
                return -EINVAL;
        r = idn2_to_ascii_8z(host, &encoded, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
        if (r != IDN2_OK)
                return r == IDN2_MALLOC ? -ENOMEM : -EINVAL;
        r = copy_text(ret, encoded);
        idn2_free(encoded);
        return r;
}

int host_normalize(char **ret, const char *host)
{
        _cleanup_free_ char *ascii = NULL;
        char literal[INET6_ADDRSTRLEN];
        size_t len = strlen(host);
        int r;

        if (len == 0 || len > LIMIT_STRING)
                return -EINVAL;
        if (literal_normalize(host, literal))
                return copy_text(ret, literal);
        r = host_to_ascii(&ascii, host);
        if (r < 0)
                return r;
        len = strlen(ascii);
        if (len > 0 && ascii[len - 1] == '.')
                ascii[len - 1] = 0;
        text_lower(ascii);
        if (!host_is_valid(ascii))
                return -EINVAL;
        *ret = TAKE(ascii);
        return 0;
}

int host_registrable(char **ret, const char *host)
{
        /* The built-in list: constant data, so nothing is loaded and nothing changes under us. */
        const psl_ctx_t *list = psl_builtin();
        const char *found = NULL;

        if (list && !host_is_literal(host))
                found = psl_registrable_domain(list, host);
        return copy_text(ret, found ? found : host);
}

bool host_same_organisation(const char *a, const char *b)
{
        _cleanup_free_ char *domain_a = NULL;
        _cleanup_free_ char *domain_b = NULL;

        /* No memory: not the same, which only asks the user once more. */
        if (host_registrable(&domain_a, a) < 0 || host_registrable(&domain_b, b) < 0)
                return false;
        return text_equal_nocase(domain_a, domain_b);
}

/* --- names to be shown -------------------------------------------------------------------------------------- */

typedef enum Script {
        SCRIPT_COMMON, /* fits to any */
        SCRIPT_LATIN,
        SCRIPT_GREEK,
        SCRIPT_CYRILLIC,
        SCRIPT_ARMENIAN,
        SCRIPT_HEBREW,
        SCRIPT_ARABIC,
        SCRIPT_DEVANAGARI,
        SCRIPT_BENGALI,
        SCRIPT_TAMIL,
        SCRIPT_THAI,
        SCRIPT_GEORGIAN,
        SCRIPT_KOREAN,
        SCRIPT_EAST_ASIAN, /* Han with the kana and Bopomofo, which are written together */
        SCRIPT_OTHER,      /* not in the table: never shown */
} Script;

static Script script_of(uint32_t c)
{
        static const struct {
                uint32_t first, last;
                Script script;
        } ranges[] = {
                { '-', '-', SCRIPT_COMMON },
                { '0', '9', SCRIPT_COMMON },
                { 'a', 'z', SCRIPT_LATIN },
                { 0xdf, 0x24f, SCRIPT_LATIN },
                { 0x300, 0x36f, SCRIPT_COMMON },
                { 0x370, 0x3ff, SCRIPT_GREEK },
                { 0x400, 0x52f, SCRIPT_CYRILLIC },
                { 0x531, 0x58f, SCRIPT_ARMENIAN },
                { 0x591, 0x5f4, SCRIPT_HEBREW },
                { 0x610, 0x6ff, SCRIPT_ARABIC },
                { 0x750, 0x77f, SCRIPT_ARABIC },
                { 0x900, 0x97f, SCRIPT_DEVANAGARI },
                { 0x980, 0x9ff, SCRIPT_BENGALI },
                { 0xb80, 0xbff, SCRIPT_TAMIL },
                { 0xe01, 0xe5b, SCRIPT_THAI },
                { 0x10d0, 0x10ff, SCRIPT_GEORGIAN },
                { 0x1e00, 0x1eff, SCRIPT_LATIN },
                { 0x1f00, 0x1fff, SCRIPT_GREEK },
                { 0x3005, 0x3007, SCRIPT_EAST_ASIAN },
                { 0x3041, 0x30ff, SCRIPT_EAST_ASIAN },
                { 0x3105, 0x312f, SCRIPT_EAST_ASIAN },
                { 0x3400, 0x4dbf, SCRIPT_EAST_ASIAN },
                { 0x4e00, 0x9fff, SCRIPT_EAST_ASIAN },
                { 0xac00, 0xd7a3, SCRIPT_KOREAN },
                { 0x20000, 0x2fa1f, SCRIPT_EAST_ASIAN },
        };

        for (size_t i = 0; i < ELEMENTS(ranges); i++)
                if (c >= ranges[i].first && c <= ranges[i].last)
                        return ranges[i].script;
        return SCRIPT_OTHER;
}

/* Cyrillic letters that look like Latin ones: a label of these alone could be any brand's. */
static bool looks_latin(uint32_t c)
{
        static const uint16_t letters[] = {
                0x430, 0x435, 0x43e, 0x440, 0x441, 0x443, 0x445, 0x455,
                0x456, 0x458, 0x475, 0x4bb, 0x4cf, 0x501, 0x51b, 0x51d
        };

        for (size_t i = 0; i < ELEMENTS(letters); i++)
                if (letters[i] == c)
                        return true;
        return script_of(c) == SCRIPT_COMMON;
}

/* One script in each label, and no label that only imitates another script. @name ends in 0. */
static bool name_is_showable(const uint32_t *name)
{
        Script script = SCRIPT_COMMON;
        bool imitates = true;

        for (;; name++) {
                Script s;

                if (*name == 0 || *name == '.') {
                        if (script == SCRIPT_CYRILLIC && imitates)
                                return false;
                        if (*name == 0)
                                return true;
                        script = SCRIPT_COMMON;
                        imitates = true;
                        continue;
                }
                s = script_of(*name);
                if (s == SCRIPT_OTHER ||
                    (s != SCRIPT_COMMON && script != SCRIPT_COMMON && s != script))
                        return false;
                script = s == SCRIPT_COMMON ? script : s;
                imitates = imitates && looks_latin(*name);
        }
}

static int domain_to_unicode(char **ret, const char *domain)
{
        uint32_t *points = NULL;
        char *text = NULL;
        bool showable = false;
        int r;

        if (idn2_to_unicode_8z4z(domain, &points, 0) == IDN2_OK)
                showable = name_is_showable(points);
        if (showable && idn2_to_unicode_8z8z(domain, &text, 0) != IDN2_OK)
                text = NULL;
        if (text && !text_is_clean(text, strlen(text)))
                showable = false;
        r = text_set(ret, text && showable ? text : domain);
        idn2_free(points);
        idn2_free(text);
        return r;
}

/* --- addresses ---------------------------------------------------------------------------------------------- */

/* RFC 5321 section 4.1.2 atext, and any UTF-8 by RFC 6531 section 3.3 (checked for the whole before). */
static bool is_atext(char c)
{
        return is_letter(c) || is_digit(c) || (unsigned char) c >= 0x80 ||
               (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static size_t dot_string_len(const char *text)
{
        size_t n = 0;

        for (;;) {
                size_t atom = n;

                while (is_atext(text[n]))
                        n++;
                if (n == atom)
                        return 0;
                if (text[n] != '.')
                        return n;
                n++;
        }
}

static size_t quoted_string_len(const char *text)
{
        for (size_t n = 1; text[n]; n++) {
                if (text[n] == '"')
                        return n + 1;
                if (text[n] == '\\' && !text[++n])
                        return 0;
        }
        return 0;
}

static const char *check_local(const char *text, size_t *ret_len)
{
        size_t n = *text == '"' ? quoted_string_len(text) : dot_string_len(text);

        if (*text == '@' || !*text)
                return "nothing stands before the @";
        if (n == 0)
                return *text == '"' ? "the quoted part does not end"
                                    : "a dot or a character is out of place before the @";
        if (!strchr(text + n, '@'))
                return "the @ is missing";
        if (text[n] != '@')
                return "a character before the @ needs quoting";
        if (n > LOCAL_MAX)
                return "the part before the @ is too long";
        *ret_len = n;
        return NULL;
}

static const char *check_domain(const char *text)
{
        if (!*text)
                return "nothing stands behind the @";
        if (*text == '[' || host_is_literal(text))
                return "an IP address is no mail domain";
        if (strchr(text, '_') || strchr(text, '@'))
                return "the domain has a character that names do not have";
        return NULL;
}

static char *trim(char *text)
{
        size_t len;

        text += strspn(text, " \t\r\n");
        len = strlen(text);
        while (len > 0 && strchr(" \t\r\n", text[len - 1]))
                text[--len] = 0;
        return text;
}

/* "Name <address>": what stands between the angle brackets. @text is changed. */
static const char *unwrap(char *text)
{
        size_t len = strlen(text);

        if (len == 0 || text[len - 1] != '>')
                return text;
        for (char *p = text; *p; p++) {
                size_t quoted = *p == '"' ? quoted_string_len(p) : 0;

                if (quoted > 0)
                        p += quoted - 1;
                else if (*p == '<') {
                        text[len - 1] = 0;
                        return p + 1;
                }
        }
        return text;
}

static int address_fill(MailAddress *address, const char *text, size_t local_len, const char **why)
{
        int r;

        r = host_normalize(&address->domain, text + local_len + 1);
        if (r == -EINVAL)
                *why = "the domain is not a valid name";
        if (r < 0)
                return r;
        if (!strchr(address->domain, '.')) {
                *why = "the domain lacks its ending";
                return -EINVAL;
        }
        r = text_set_n(&address->local, text, local_len);
        if (r < 0)
                return r;
        r = text_format(&address->address, "%s@%s", address->local, address->domain);
        if (r < 0)
                return r;
        if (strlen(address->address) > LIMIT_ADDRESS) {
                *why = "the address is too long";
                return -EINVAL;
        }
        return domain_to_unicode(&address->domain_unicode, address->domain);
}

int mail_address_parse(MailAddress **ret, const char *text, const char **ret_why)
{
        _cleanup_(mail_address_freep) MailAddress *address = NULL;
        _cleanup_free_ char *copy = NULL;
        const char *typed = NULL, *why = NULL;
        char *trimmed;
        size_t local_len = 0;
        int r = -EINVAL;

        if (strnlen(text, TYPED_MAX + 1) > TYPED_MAX) {
                why = "the address is too long";
                goto finish;
        }
        copy = strdup(text);
        address = calloc(1, sizeof(*address));
        if (!copy || !address)
                return -ENOMEM;
        trimmed = trim(copy);
        if (!text_is_clean(trimmed, strlen(trimmed)))
                why = "it contains invisible or control characters";
        if (!why) {
                typed = unwrap(trimmed);
                why = check_local(typed, &local_len);
        }
        if (!why)
                why = check_domain(typed + local_len + 1);
        if (!why)
                r = address_fill(address, typed, local_len, &why);
        if (r == 0)
                *ret = TAKE(address);
finish:
        if (r == -EINVAL && ret_why)
                *ret_why = why;
        return r;
}

MailAddress *mail_address_free(MailAddress *address)
{
        if (!address)
                return NULL;
        free(address->address);
        free(address->local);
        free(address->domain);
        free(address->domain_unicode);
        free(address);
        return NULL;
}
