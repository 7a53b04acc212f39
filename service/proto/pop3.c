/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pop3.h. Tolerant where servers are known to differ (case, blanks, words behind the numbers), strict where a
 * wrong reading would cost mail: message numbers and UIDLs. */
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "proto/pop3.h"

enum {
        SASL_MECHANISMS_MAX = 32,
        UIDL_SEEN_MAX = 255, /* longer than RFC 1939 allows, but served by some */
        EXPIRE_DAYS_MAX = 1000000,
        LOGIN_DELAY_MAX = 31 * 24 * 3600,
};

typedef struct Words {
        const char *p;
        size_t len;
} Words;

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

/* The next word, not terminated. False at the end of the line. */
static bool words_next(Words *words, const char **ret, size_t *ret_len)
{
        size_t n = 0;

        while (words->len > 0 && is_blank(*words->p)) {
                words->p++;
                words->len--;
        }
        while (n < words->len && !is_blank(words->p[n]))
                n++;
        if (n == 0)
                return false;
        *ret = words->p;
        *ret_len = n;
        words->p += n;
        words->len -= n;
        return true;
}

/* A whole word as a number, anything above @max counts as @max: the server's wish is clear. */
static bool word_number(const char *word, size_t len, uint64_t max, uint64_t *ret)
{
        size_t n;

        for (n = 0; n < len; n++)
                if (word[n] < '0' || word[n] > '9')
                        return false;
        if (text_scan_u64(word, len, max, ret, &n) == -ERANGE)
                *ret = max;
        return len > 0;
}

/* RFC 2449 section 8: "[" resp-code "]" directly behind the status. What is longer than any code known is text. */
static void reply_take_code(Pop3Reply *reply)
{
        size_t n = 1;

        if (reply->text_len < 3 || reply->text[0] != '[')
                return;
        while (n < reply->text_len && reply->text[n] != ']') {
                if (reply->text[n] <= ' ' || reply->text[n] > '~' || n >= sizeof(reply->code))
                        return;
                n++;
        }
        if (n == reply->text_len || n == 1)
                return;
        for (size_t i = 1; i < n; i++)
                reply->code[i - 1] = text_upper(reply->text[i]);
        reply->code[n - 1] = 0;
        reply->text += n + 1;
        reply->text_len -= n + 1;
}

static void reply_skip_blanks(Pop3Reply *reply)
{
        while (reply->text_len > 0 && is_blank(*reply->text)) {
                reply->text++;
                reply->text_len--;
        }
}

int pop3_parse_reply(Pop3Reply *ret, const char *line, size_t len)
{
        Pop3Reply reply = {};

        if (len >= 3 && text_word_is(line, 3, "+OK")) {
                reply.ok = true;
                reply.text = line + 3;
                reply.text_len = len - 3;
        } else if (len >= 4 && text_word_is(line, 4, "-ERR")) {
                reply.text = line + 4;
                reply.text_len = len - 4;
        } else
                return -EBADMSG;

        reply_skip_blanks(&reply);
        reply_take_code(&reply);
        reply_skip_blanks(&reply);
        *ret = reply;
        return 0;
}

void pop3_capabilities_clear(Pop3Capabilities *capabilities)
{
        list_free(capabilities->sasl);
        free(capabilities->implementation);
        list_free(capabilities->lines);
        *capabilities = (Pop3Capabilities){};
}

static int capability_keep_line(Pop3Capabilities *capabilities, const char *line, size_t len)
{
        char shown[LIMIT_REPLY_TEXT + 1];

        text_printable(shown, sizeof(shown), line, len);
        return list_append_bounded(&capabilities->lines, shown, LIMIT_REPLY_LINES);
}

static int capability_sasl(Pop3Capabilities *capabilities, Words *words)
{
        const char *word;
        size_t len;

        while (words_next(words, &word, &len)) {
                char name[21]; /* RFC 4422 section 3.1: 1 to 20 characters */
                size_t n;
                int r;

                for (n = 0; n < len && n < sizeof(name) - 1; n++)
                        name[n] = text_upper(word[n]);
                name[n] = 0;
                if (len >= sizeof(name) || !text_is_clean(name, n) ||
                    list_contains_nocase(capabilities->sasl, name))
                        continue;
                r = list_append_bounded(&capabilities->sasl, name, SASL_MECHANISMS_MAX);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* RFC 2449 section 6.5: "LOGIN-DELAY 900", with " USER" when it may differ after the login. */
static void capability_login_delay(Pop3Capabilities *capabilities, Words *words)
{
        const char *word;
        size_t len;

        if (!words_next(words, &word, &len) ||
            !word_number(word, len, LOGIN_DELAY_MAX, &capabilities->login_delay_sec))
                return;
        capabilities->has_login_delay = true;
        capabilities->login_delay_by_user = words_next(words, &word, &len) &&
                                            text_word_is(word, len, "USER");
}

/* RFC 2449 section 6.7: "EXPIRE NEVER", "EXPIRE 30 USER", "EXPIRE 0". */
static void capability_expire(Pop3Capabilities *capabilities, Words *words)
{
        const char *word;
        size_t len;

        if (!words_next(words, &word, &len))
                return;
        if (text_word_is(word, len, "NEVER"))
                capabilities->expire = POP3_EXPIRE_NEVER;
        else if (word_number(word, len, EXPIRE_DAYS_MAX, &capabilities->expire_days))
                capabilities->expire = POP3_EXPIRE_DAYS;
        else
                return;
        capabilities->expire_by_user = words_next(words, &word, &len) &&
                                       text_word_is(word, len, "USER");
}

static int capability_implementation(Pop3Capabilities *capabilities, Words *words)
{
        char *text;

        while (words->len > 0 && is_blank(*words->p)) {
                words->p++;
                words->len--;
        }
        text = text_printable_new(words->p, words->len, LIMIT_REPLY_TEXT);
        if (!text)
                return -ENOMEM;
        free(capabilities->implementation);
        capabilities->implementation = text;
        return 0;
}

int pop3_parse_capability(Pop3Capabilities *capabilities, const char *line, size_t len)
{
        const struct {
                const char *name;
                bool *flag;
        } flags[] = {
                { "TOP", &capabilities->top },
                { "USER", &capabilities->user },
                { "UIDL", &capabilities->uidl },
                { "STLS", &capabilities->stls },
                { "PIPELINING", &capabilities->pipelining },
                { "RESP-CODES", &capabilities->resp_codes },
                { "AUTH-RESP-CODE", &capabilities->auth_resp_code },
                { "UTF8", &capabilities->utf8 },
        };
        Words words = { line, len };
        const char *word;
        size_t word_len;
        int r;

        r = capability_keep_line(capabilities, line, len);
        if (r < 0 || !words_next(&words, &word, &word_len))
                return r;
        for (size_t i = 0; i < ELEMENTS(flags); i++)
                if (text_word_is(word, word_len, flags[i].name))
                        *flags[i].flag = true;
        if (text_word_is(word, word_len, "SASL"))
                return capability_sasl(capabilities, &words);
        if (text_word_is(word, word_len, "IMPLEMENTATION"))
                return capability_implementation(capabilities, &words);
        if (text_word_is(word, word_len, "LOGIN-DELAY"))
                capability_login_delay(capabilities, &words);
        else if (text_word_is(word, word_len, "EXPIRE"))
                capability_expire(capabilities, &words);
        return 0;
}

/* Two numbers, the rest of the line ignored: RFC 1939 section 5 lets servers say more behind them. */
static int parse_pair(const char *line, size_t len, uint64_t first_max, uint64_t *ret_first,
                      uint64_t *ret_second)
{
        Words words = { line, len };
        uint64_t first, second;
        const char *a, *b;
        size_t a_len, b_len, n;

        if (!words_next(&words, &a, &a_len) || !words_next(&words, &b, &b_len))
                return -EBADMSG;
        if (text_scan_u64(a, a_len, first_max, &first, &n) < 0 || n != a_len)
                return -EBADMSG;
        if (text_scan_u64(b, b_len, INT64_MAX, &second, &n) < 0 || n != b_len)
                return -EBADMSG;
        *ret_first = first;
        *ret_second = second;
        return 0;
}

int pop3_parse_stat(const char *text, size_t len, uint64_t *ret_messages, uint64_t *ret_octets)
{
        return parse_pair(text, len, UINT32_MAX, ret_messages, ret_octets);
}

int pop3_parse_list_entry(const char *line, size_t len, uint32_t *ret_number, uint64_t *ret_octets)
{
        uint64_t number, octets;

        if (parse_pair(line, len, UINT32_MAX, &number, &octets) < 0 || number == 0)
                return -EBADMSG;
        *ret_number = (uint32_t) number;
        *ret_octets = octets;
        return 0;
}

int pop3_parse_uidl_entry(const char *line, size_t len, uint32_t *ret_number,
                          char ret_uidl[LIMIT_UIDL + 1])
{
        static const char prefix[] = "sha256:";
        Words words = { line, len };
        const char *a, *id, *more;
        size_t a_len, id_len, more_len, n;
        char digest[SHA256_HEX];
        uint64_t number;

        if (!words_next(&words, &a, &a_len) || !words_next(&words, &id, &id_len) ||
            words_next(&words, &more, &more_len))
                return -EBADMSG;
        if (text_scan_u64(a, a_len, UINT32_MAX, &number, &n) < 0 || n != a_len || number == 0)
                return -EBADMSG;
        for (size_t i = 0; i < id_len; i++)
                if (id[i] < 0x21 || id[i] > 0x7e)
                        return -EBADMSG;
        if (id_len > UIDL_SEEN_MAX)
                return -EBADMSG;
        if (id_len <= LIMIT_UIDL) {
                memcpy(ret_uidl, id, id_len);
                ret_uidl[id_len] = 0;
        } else {
                if (sha256_text(id, id_len, digest) < 0)
                        return -EIO;
                memcpy(ret_uidl, prefix, sizeof(prefix) - 1);
                memcpy(ret_uidl + sizeof(prefix) - 1, digest, LIMIT_UIDL - (sizeof(prefix) - 1));
                ret_uidl[LIMIT_UIDL] = 0;
        }
        *ret_number = (uint32_t) number;
        return 0;
}
