/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See reply.h. A line is looked at from the front for what protocols put there (tag, status, codes); what is left is words. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "probe/cause.h"
#include "probe/plain.h"
#include "probe/reply.h"

enum { RULES_FILE_MAX = 1 << 20, RULES_FILES_MAX = 64, CODE_MAX = 32 };

extern const char data_replies[];
extern const unsigned data_replies_len;

static Rules *rules; /* NULL: not read yet */

/* --- the rules ------------------------------------------------------------------------------------------------ */

void replies_unload(void)
{
        rules = rules_free(rules);
}

const char *replies_cause_at(size_t index)
{
        return rules ? rules_cause_at(rules, index) : NULL;
}

static int replies_read(Rules **ret, const char *addition, size_t addition_len, const char *json,
                        size_t len, char **ret_why)
{
        _cleanup_(rules_freep) Rules *read = NULL;
        int r;

        r = rules_new(&read);
        if (r == 0 && addition)
                r = rules_add(read, addition, addition_len, ret_why);
        if (r == 0)
                r = rules_add(read, json, len, ret_why);
        if (r == 0)
                r = rules_compile(read, ret_why);
        if (r == 0)
                *ret = TAKE(read);
        return r;
}

int replies_load_text(const char *json, size_t len, char **ret_why)
{
        Rules *read;
        int r = replies_read(&read, NULL, 0, json, len, ret_why);

        if (r < 0)
                return r;
        replies_unload();
        rules = read;
        return 0;
}

static int file_read(const char *path, char **ret, size_t *ret_len)
{
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        _cleanup_free_ char *text = NULL;
        struct stat st;
        ssize_t n;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if (st.st_size > RULES_FILE_MAX)
                return -EFBIG;
        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;
        n = read(fd, text, (size_t) st.st_size);
        if (n < 0)
                return -errno;
        text[n] = '\0';
        *ret_len = (size_t) n;
        *ret = TAKE(text);
        return 0;
}

/* An administrator's document must be sound by itself and name causes that exist. */
static int addition_check(const char *json, size_t len, char **ret_why)
{
        _cleanup_(rules_freep) Rules *read = NULL;
        const char *cause;
        int r = replies_read(&read, json, len, data_replies, data_replies_len, ret_why);

        for (size_t i = 0; r == 0 && cause_at(0) && (cause = rules_cause_at(read, i)); i++)
                if (!cause_find(cause))
                        r = text_format(ret_why, "unknown cause: %.100s", cause) ?: -EBADMSG;
        return r;
}

static int addition_read(Rules *to, const char *directory, const char *name)
{
        _cleanup_free_ char *path = NULL, *json = NULL, *reason = NULL;
        size_t len = 0;
        int r;

        r = text_format(&path, "%s/%s", directory, name);
        if (r == 0)
                r = file_read(path, &json, &len);
        if (r == 0)
                r = addition_check(json, len, &reason);
        if (r == 0)
                return rules_add(to, json, len, &reason);
        if (r == -ENOMEM)
                return r;
        log_warning("%s: these reply rules are left out: %s", path, reason ?: strerrordesc_np(-r));
        return 0;
}

static int is_document(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && text_ends_nocase(entry->d_name, ".json");
}

static int additions_read(Rules *to, const char *directory)
{
        struct dirent **entries;
        int n = directory ? scandir(directory, &entries, is_document, alphasort) : 0, r = 0;

        if (n <= 0) /* a directory that is not there adds nothing */
                return n < 0 && errno == ENOMEM ? -ENOMEM : 0;
        for (int i = 0; i < n; i++) {
                if (r == 0 && i < RULES_FILES_MAX)
                        r = addition_read(to, directory, entries[i]->d_name);
                free(entries[i]);
        }
        free(entries);
        return r;
}

int replies_load(const char *directory)
{
        _cleanup_(rules_freep) Rules *read = NULL;
        _cleanup_free_ char *reason = NULL;
        int r;

        r = rules_new(&read);
        if (r == 0)
                r = additions_read(read, directory);
        if (r == 0)
                r = rules_add(read, data_replies, data_replies_len, &reason);
        if (r == 0)
                r = rules_compile(read, &reason);
        if (r < 0) {
                if (reason)
                        log_error("The reply rules cannot be read: %s", reason);
                return r;
        }
        replies_unload();
        rules = TAKE(read);
        return 0;
}

/* --- the place ------------------------------------------------------------------------------------------------ */

static unsigned place_of(Phase phase)
{
        switch (phase) {
        case PHASE_RESOLVE:
                return PLACE_DNS;
        case PHASE_CONNECT:
                return PLACE_CONNECT;
        case PHASE_HANDSHAKE:
                return PLACE_TLS | PLACE_HANDSHAKE;
        case PHASE_GREETING:
                return PLACE_GREETING;
        case PHASE_CAPABILITY:
                return PLACE_CAPABILITY;
        case PHASE_STARTTLS:
                return PLACE_STARTTLS;
        case PHASE_USER:
        case PHASE_LOGIN:
                return PLACE_LOGIN;
        case PHASE_UIDL:
                return PLACE_MAILBOX | PLACE_UIDL;
        case PHASE_STAT:
        case PHASE_LIST:
        case PHASE_ID:
        case PHASE_SELECT:
        case PHASE_SEARCH:
        case PHASE_IDLE:
        case PHASE_TOP:
        case PHASE_RETRIEVE:
        case PHASE_DELETE:
        case PHASE_QUIT:
                return PLACE_MAILBOX;
        case PHASE_MAIL:
        case PHASE_RESET:
                return PLACE_MAIL;
        case PHASE_RCPT:
                return PLACE_RCPT;
        case PHASE_DATA:
        case PHASE_DATA_END:
                return PLACE_DATA;
        case PHASE_NONE:
        case PHASE_HTTP:
                return PLACE_ANY;
        case PHASE_METADATA:
        case PHASE_REGISTER:
        case PHASE_AUTHORIZE:
        case PHASE_TOKEN:
        case PHASE_DEVICE:
        case PHASE_REVOKE:
                return PLACE_OAUTH;
        }
        return PLACE_ANY;
}

/* What people, logs and other programs call the places. */
static unsigned place_from_name(const char *name)
{
        static const struct {
                const char *names;
                unsigned place;
        } table[] = {
                { " resolve dns mx srv lookup ", PLACE_DNS },
                { " connect connection tcp port ", PLACE_CONNECT | PLACE_GREETING },
                { " handshake tls ssl ", PLACE_TLS | PLACE_HANDSHAKE },
                { " verify certificate ", PLACE_TLS },
                { " close ", PLACE_TLS | PLACE_MAILBOX },
                { " greeting banner welcome ", PLACE_GREETING },
                { " service ", PLACE_GREETING | PLACE_CAPABILITY },
                { " capability capa ehlo helo lhlo ", PLACE_CAPABILITY },
                { " starttls stls ", PLACE_STARTTLS },
                { " auth login user pass authenticate apop xoauth2 sasl password logon ",
                  PLACE_LOGIN },
                { " stat list top retr dele quit select examine fetch append idle noop status copy move "
                  "search store expunge lsub uid delete retrieve mailbox close-mailbox rset id namespace getquota ",
                  PLACE_MAILBOX },
                { " uidl ", PLACE_MAILBOX | PLACE_UIDL },
                { " mail mail-from sender from ", PLACE_MAIL },
                { " rcpt rcpt-to recipient to ", PLACE_RCPT },
                { " data bdat data-end message body end-of-data dot eom verification ",
                  PLACE_DATA },
                { " token authorize authorization device refresh consent clock oauth ",
                  PLACE_OAUTH },
        };
        char plain[32] = "";
        size_t len = name ? strlen(name) : 0;

        /* "MAIL FROM" and "mail_from" are "mail-from", "incoming.login" is "login", "UID FETCH" is "fetch" */
        if (len > 0 && strrchr(name, '.'))
                name = strrchr(name, '.') + 1;
        if (len > 0 && text_starts_nocase(name, "uid "))
                name += 4;
        len = len > 0 ? strlen(name) : 0;
        for (size_t i = 0; i < len && i + 1 < sizeof(plain); i++)
                plain[i] = strchr(" _", name[i]) ? '-' : name[i];
        name = plain;
        for (size_t i = 0; len > 0 && len < 32 && i < ELEMENTS(table); i++)
                for (const char *p = table[i].names; (p = strcasestr(p, name)); p++)
                        if (p[-1] == ' ' && p[len] == ' ')
                                return table[i].place;
        return PLACE_ANY;
}

static unsigned speaks_from_name(const char *name)
{
        static const char *const names[] = { "pop3", "imap", "smtp", "oauth", "tls", "dns", "tcp" };

        for (unsigned i = 0; i < ELEMENTS(names); i++)
                if (name && text_starts_nocase(name, names[i]))
                        return 1U << i;
        if (text_equal_nocase(name, "pop") || text_equal_nocase(name, "pops"))
                return SPEAKS_POP3;
        if (text_equal_nocase(name, "submission") || text_equal_nocase(name, "lmtp"))
                return SPEAKS_SMTP;
        return SPEAKS_ANY;
}

/* --- one line ------------------------------------------------------------------------------------------------- */

typedef struct Reading {
        Signs signs;
        unsigned told; /* the protocol that the question names */
        bool status;   /* a status has been seen */
        bool words;    /* there was something behind it */
} Reading;

static bool is_alnum(char c)
{
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static void see_protocol(Reading *reading, unsigned speaks)
{
        if (reading->told == SPEAKS_ANY)
                reading->signs.speaks = reading->told = speaks;
        else if (!(reading->told & speaks) &&
                 (reading->told & (SPEAKS_POP3 | SPEAKS_IMAP | SPEAKS_SMTP)))
                rules_set_fact(&reading->signs, FACT_OTHER_MAIL);
}

static void see_class(Reading *reading, char digit)
{
        if (digit == '4')
                rules_set_fact(&reading->signs, FACT_4XX);
        if (digit == '5')
                rules_set_fact(&reading->signs, FACT_5XX);
}

static void see_status(Reading *reading, const char digits[3])
{
        if (reading->status)
                return;
        reading->status = true;
        rules_see_code(rules, &reading->signs, digits, 3);
        see_class(reading, digits[0]);
        if (digits[0] == '2' || digits[0] == '3')
                rules_set_fact(&reading->signs, FACT_POSITIVE);
}

/* "5.7.8" at @p: its length, or 0. */
static size_t enhanced_len(const char *p, const char *end)
{
        const char *s = p + 1;

        if (end - p < 5 || (*p != '2' && *p != '4' && *p != '5'))
                return 0;
        for (int part = 0; part < 2; part++) {
                const char *digits = s + 1;

                if (s >= end || *s != '.')
                        return 0;
                for (s = digits; s < end && is_digit(*s) && s - digits < 4; s++)
                        ;
                if (s == digits || s - digits > 3)
                        return 0;
        }
        if (s < end && *s == '.' && s + 1 < end && is_digit(s[1])) /* an address or a version */
                return 0;
        return s < end && is_alnum(*s) ? 0 : (size_t) (s - p);
}

static void see_enhanced(Reading *reading, const char *code, size_t len)
{
        char general[16] = "x";

        rules_see_code(rules, &reading->signs, code, len);
        memcpy(general + 1, code + 1, len - 1); /* "x.7.8": whatever its class */
        rules_see_code(rules, &reading->signs, general, len);
        see_class(reading, code[0]);
}

/* "[AUTH]", "[SYS/TEMP]", "[OVERQUOTA] ", "[Error=..." : the first word in brackets. */
static void see_bracket(Reading *reading, const char *p, const char *end)
{
        const char *s = p;

        while (s < end && s - p < CODE_MAX && (is_alnum(*s) || *s == '/' || *s == '-'))
                s++;
        if (s > p && s < end && (*s == ']' || *s == ' ' || *s == '='))
                rules_see_code(rules, &reading->signs, p, (size_t) (s - p));
}

/* Codes wherever they stand: "(#5.7.1)", "[IN-USE]", "SMTPAuthenticationError: (535, b'5.7.8 ...". */
static void see_codes(Reading *reading, const char *p, const char *end)
{
        char before = ' ';

        for (; p < end; before = *p++) {
                size_t n;

                if (*p == '[')
                        see_bracket(reading, p + 1, end);
                if (is_alnum(before) || before == '.' || before == '-' || before == '_' ||
                    !is_digit(*p))
                        continue;
                n = enhanced_len(p, end);
                if (n > 0)
                        see_enhanced(reading, p, n);
                else if (end - p > 3 && is_digit(p[1]) && is_digit(p[2]) && strchr(" ,-", p[3]) &&
                         (before == '(' || (end - p > 8 && enhanced_len(p + 4, end))) &&
                         *p >= '4' && *p <= '5')
                        see_status(reading, p);
        }
}

static int base64_value(char c)
{
        static const char digits[] =
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = c ? strchr(digits, c) : NULL;

        return at ? (int) (at - digits) : -1;
}

static size_t base64_decode(char *to, size_t size, const char *from, size_t len)
{
        unsigned bits = 0, n_bits = 0;
        size_t n = 0;

        for (size_t i = 0; i < len && n < size; i++) {
                int value = base64_value(from[i]);

                if (value < 0)
                        break;
                bits = bits << 6 | (unsigned) value;
                n_bits += 6;
                if (n_bits >= 8) {
                        n_bits -= 8;
                        to[n++] = (char) (bits >> n_bits & 0xff);
                }
        }
        return n;
}

/* A response code at the front ("[IN-USE]") has been seen as a code; as words it would say too much. */
static size_t code_len(const char *text, size_t len)
{
        size_t i = 0, n;

        while (i < len && text[i] == ' ')
                i++;
        if (i == len || text[i] != '[')
                return 0;
        for (n = i + 1;
             n < len && ((text[n] >= 'A' && text[n] <= 'Z') || text[n] == '/' || text[n] == '-');
             n++)
                ;
        return n < len && n > i + 1 && text[n] == ']' ? n + 1 : 0;
}

static void see_words(Reading *reading, const char *text, size_t len)
{
        size_t skip = code_len(text, len);

        for (unsigned way = 0; way < PLAIN_WAYS; way++) {
                char plain[PLAIN_MAX];
                size_t n = plain_text_as(plain, sizeof(plain), text + skip, len - skip, way);

                reading->words |= n > 2;
                rules_see_text(rules, &reading->signs, plain, n);
        }
}

/* The JSON that XOAUTH2 hides in a challenge begins with {" and so with eyJ. */
static void see_hidden(Reading *reading, const char *text, size_t len)
{
        const char *at = memmem(text, len, "eyJ", 3);
        char json[1024];

        if (at)
                see_words(reading, json,
                          base64_decode(json, sizeof(json), at, len - (size_t) (at - text)));
}

static bool word_is(const char *p, const char *end, const char *word)
{
        size_t n = strlen(word);

        return (size_t) (end - p) >= n && memcmp(p, word, n) == 0 &&
               ((size_t) (end - p) == n || !is_alnum(p[n]));
}

static const char *see_imap(Reading *reading, const char *p, const char *end)
{
        static const struct {
                const char *word;
                Fact fact;
        } table[] = { { "OK", FACT_POSITIVE },
                      { "PREAUTH", FACT_POSITIVE },
                      { "NO", FACT_NO },
                      { "BAD", FACT_BAD },
                      { "BYE", FACT_BYE } };
        const char *s = p;

        while (s < end && s - p < 16 && (is_alnum(*s) || *s == '*' || *s == '.'))
                s++;
        s = s > p && s < end && *s == ' ' ? s + 1 : p; /* behind the tag */
        for (const char *at = p;; at = s) {
                for (size_t i = 0; i < ELEMENTS(table); i++)
                        if (word_is(at, end, table[i].word)) {
                                rules_set_fact(&reading->signs, FACT_WIRE);
                                rules_set_fact(&reading->signs, table[i].fact);
                                see_protocol(reading, SPEAKS_IMAP);
                                return at + strlen(table[i].word);
                        }
                if (at == s)
                        return p;
        }
}

/* Takes the status off the front. */
static const char *see_front(Reading *reading, const char *p, const char *end)
{
        if (end - p >= 3 && is_digit(p[0]) && is_digit(p[1]) && is_digit(p[2]) && p[0] >= '2' &&
            p[0] <= '5' && (end - p == 3 || !(is_alnum(p[3]) || p[3] == '.'))) {
                rules_set_fact(&reading->signs, FACT_WIRE);
                if (!word_is(p + 4 < end ? p + 4 : end, end, "NO") &&
                    !word_is(p + 4 < end ? p + 4 : end, end, "BAD")) { /* or else a tag */
                        see_status(reading, p);
                        see_protocol(reading, SPEAKS_SMTP);
                        return p + 3;
                }
        }
        if (word_is(p, end, "+OK") || word_is(p, end, "-ERR")) {
                rules_set_fact(&reading->signs, FACT_WIRE);
                rules_set_fact(&reading->signs, *p == '+' ? FACT_POSITIVE : FACT_ERR);
                see_protocol(reading, SPEAKS_POP3);
                return p + (*p == '+' ? 3 : 4);
        }
        return see_imap(reading, p, end);
}

/* Where the first of the words that only a reply begins with stands inside [p, end), as a word. */
static const char *find_reply(const char *p, const char *end, const char *word)
{
        size_t n = strlen(word);

        for (const char *at = p + 1;
             at < end && (at = memmem(at, (size_t) (end - at), word, n)) != NULL; at++)
                if (!is_alnum(at[-1]))
                        return at;
        return NULL;
}

/* A program's log has the reply somewhere in its own words: "server message: -ERR invalid password". Then the reply alone counts, up to
 * the quotation mark if there is one. Returns where its words begin; *@end may become less. */
static const char *see_quoted(Reading *reading, const char *p, const char **end)
{
        static const struct {
                const char *word;
                Fact fact;
                unsigned speaks;
        } table[] = { { "-ERR ", FACT_ERR, SPEAKS_POP3 },
                      { "NO [", FACT_NO, SPEAKS_IMAP },
                      { "BAD [", FACT_BAD, SPEAKS_IMAP } };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                const char *at = find_reply(p, *end, table[i].word), *close;

                if (!at)
                        continue;
                rules_set_fact(&reading->signs, FACT_WIRE);
                rules_set_fact(&reading->signs, table[i].fact);
                see_protocol(reading, table[i].speaks);
                close = strchr("'\"", at[-1]) ? memchr(at, at[-1], (size_t) (*end - at)) : NULL;
                if (close)
                        *end = close;
                return at + strcspn(table[i].word, " ");
        }
        return p;
}

static void see_line(Reading *reading, const char *line, size_t len)
{
        const char *p = line, *end = line + len;

        while (p < end && (*p == ' ' || *p == '\t'))
                p++;
        if (text_starts_nocase(p, "HTTP/") || text_starts_nocase(p, "<html") ||
            text_starts_nocase(p, "<!doctype") || text_starts_nocase(p, "SSH-"))
                rules_set_fact(&reading->signs, FACT_NOT_MAIL);
        if (memmem(p, (size_t) (end - p), "********", 8))
                rules_set_fact(&reading->signs, FACT_ASTERISKS);
        p = see_front(reading, p, end);
        if (!rules_fact_seen(&reading->signs, FACT_WIRE))
                p = see_quoted(reading, p, &end);
        see_codes(reading, p, end);
        see_words(reading, p, (size_t) (end - p));
        see_hidden(reading, p, (size_t) (end - p));
}

/* --- judging -------------------------------------------------------------------------------------------------- */

static bool rules_ready(void)
{
        return rules || replies_load(NULL) == 0;
}

static void judge(Reading *reading, ReplyVerdict *ret)
{
        static const struct {
                unsigned speaks;
                Fact fact;
        } table[] = { { SPEAKS_POP3, FACT_POP3 },
                      { SPEAKS_IMAP, FACT_IMAP },
                      { SPEAKS_SMTP, FACT_SMTP } };
        RulesVerdict verdict;

        for (size_t i = 0; i < ELEMENTS(table); i++)
                if (reading->signs.speaks == table[i].speaks)
                        rules_set_fact(&reading->signs, table[i].fact);
        if (!reading->words)
                rules_set_fact(&reading->signs, FACT_BARE);
        if (reading->signs.place == PLACE_ANY)
                rules_set_fact(&reading->signs, FACT_ANYWHERE);
        *ret = (ReplyVerdict){ .cause = "", .rule = UINT_MAX };
        if (rules_judge(rules, &reading->signs, &verdict))
                *ret = (ReplyVerdict){ .cause = verdict.cause,
                                       .provider = verdict.provider,
                                       .confidence = verdict.confidence,
                                       .rule = verdict.rule };
}

void reply_explain(const ReplyQuestion *question, const char *const *lines, size_t n,
                   ReplyVerdict *ret)
{
        unsigned speaks = speaks_from_name(question->protocol);
        Reading reading = { .signs = { .place = place_from_name(question->phase),
                                       .speaks = speaks },
                            .told = speaks };
        size_t left = PLAIN_MAX;

        *ret = (ReplyVerdict){ .cause = "", .rule = UINT_MAX };
        if (!rules_ready())
                return;
        if (question->succeeded && strcasestr(question->succeeded, "login"))
                rules_set_fact(&reading.signs, FACT_LOGGED_IN);
        rules_see_provider(rules, &reading.signs, question->provider);
        rules_see_host(rules, &reading.signs, question->host);
        for (size_t i = 0; i < n && left > 0; i++) {
                size_t len = strnlen(lines[i], left);

                see_line(&reading, lines[i], len);
                left -= len;
        }
        judge(&reading, ret);
}

/* When even the rules for bare statuses are silent. */
static const char *by_place(unsigned place)
{
        if (place & PLACE_LOGIN)
                return "auth.bad-credentials";
        if (place & PLACE_STARTTLS)
                return "tls.starttls-failed";
        if (place & PLACE_MAILBOX)
                return "mailbox.unavailable";
        return "server.temporary";
}

const char *reply_judge(const ReplyContext *context, unsigned status, const char *code,
                        const char *text)
{
        Reading reading = { .signs = { .place = place_of(context->phase) } };
        ReplyVerdict verdict;
        char digits[8];

        reading.told = reading.signs.speaks = speaks_from_name(protocol_name(context->protocol));
        if (!rules_ready())
                return by_place(reading.signs.place);
        rules_set_fact(&reading.signs, FACT_WIRE);
        if (status >= 200 && status <= 599) {
                snprintf(digits, sizeof(digits), "%u", status);
                see_status(&reading, digits);
        } else if (context->protocol == PROTOCOL_POP3) {
                rules_set_fact(&reading.signs, FACT_ERR);
        }
        /* The words begin with the status there. */
        if (context->protocol == PROTOCOL_IMAP)
                text = see_imap(&reading, text, text + strlen(text));
        if (!context->tls)
                rules_set_fact(&reading.signs, FACT_CLEAR);
        if (context->logged_in)
                rules_set_fact(&reading.signs, FACT_LOGGED_IN);
        if (enhanced_len(code, code + strlen(code)))
                see_enhanced(&reading, code, strlen(code));
        else if (code[0])
                rules_see_code(rules, &reading.signs, code, strlen(code));
        rules_see_provider(rules, &reading.signs, context->provider);
        rules_see_host(rules, &reading.signs, context->host);
        see_codes(&reading, text, text + strlen(text));
        see_words(&reading, text, strlen(text));
        see_hidden(&reading, text, strlen(text));
        judge(&reading, &verdict);
        return verdict.cause[0] ? verdict.cause : by_place(reading.signs.place);
}
