/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See imap.h. One cursor walks over a response; values that nobody asked for are skipped by counting parentheses, never by recursion.
 * The surprising thing: a status line's brackets may hold anything, quotes included, and need not be closed. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "proto/imap.h"

enum {
        TAG_MAX = 32,
        MECHANISM_MAX = 20, /* RFC 4422 section 3.1 */
        MECHANISMS = 32,
        NESTING_MAX = 1000,
};

typedef struct Cursor {
        const char *p, *end;
} Cursor;

/* Conditions of the functions below: 0 done, ENDS_HERE when the response given ends at a literal that is still to come. */
enum { ENDS_HERE = 1 };

static bool is_blank(char c)
{
        return c == ' ' || c == '\t';
}

static bool is_digit(char c)
{
        return c >= '0' && c <= '9';
}

static void skip_blanks(Cursor *c)
{
        while (c->p < c->end && is_blank(*c->p))
                c->p++;
}

/* What comes before a blank, a parenthesis or the end; may be empty. */
static size_t take_atom(Cursor *c, const char **ret)
{
        *ret = c->p;
        while (c->p < c->end && !is_blank(*c->p) && *c->p != '(' && *c->p != ')')
                c->p++;
        return (size_t) (c->p - *ret);
}

static void copy_upper(char *to, size_t size, const char *from, size_t len)
{
        if (len >= size)
                len = 0;
        for (size_t i = 0; i < len; i++)
                to[i] = text_upper(from[i]);
        to[len] = 0;
}

int imap_parse_number(const char *text, size_t len, uint32_t *ret)
{
        uint64_t number;
        size_t n;

        if (text_scan_u64(text, len, UINT32_MAX, &number, &n) < 0 || n != len || number == 0)
                return -EBADMSG;
        *ret = (uint32_t) number;
        return 0;
}

/* --- status lines --------------------------------------------------------------------------------------------- */

static const struct {
        const char *word;
        ImapStatus status;
} status_words[] = {
        { "OK", IMAP_OK },           { "NO", IMAP_NO },   { "BAD", IMAP_BAD },
        { "PREAUTH", IMAP_PREAUTH }, { "BYE", IMAP_BYE },
};

/* The bracket that closes the one at the front: not one in quotes, unless the quotes do not end either. NULL: none. */
static const char *closing_bracket(const char *p, const char *end)
{
        const char *first = memchr(p, ']', (size_t) (end - p));
        bool quoted = false;

        for (; first && p < end; p++) {
                if (quoted && *p == '\\')
                        p++;
                else if (*p == '"')
                        quoted = !quoted;
                else if (*p == ']' && !quoted)
                        return p;
        }
        return first;
}

static bool is_code_character(char c)
{
        return is_digit(c) || (text_upper(c) >= 'A' && text_upper(c) <= 'Z') || c == '-' ||
               c == '.' || c == '/' || c == '_';
}

/* RFC 9051 section 7.1. What is no code, such as Exchange's [Error="UserDisabled" AuthResult=27], stays text. */
static void take_code(ImapReply *reply, Cursor *c)
{
        const char *close, *p = c->p + 1;

        if (c->p == c->end || *c->p != '[')
                return;
        close = closing_bracket(p, c->end);
        if (!close)
                return;
        while (p < close && is_code_character(*p))
                p++;
        if (p == c->p + 1 || (p < close && !is_blank(*p)))
                return;
        copy_upper(reply->code, sizeof(reply->code), c->p + 1, (size_t) (p - c->p - 1));
        if (!reply->code[0])
                return;
        while (p < close && is_blank(*p))
                p++;
        reply->arguments = p;
        reply->arguments_len = (size_t) (close - p);
        c->p = close + 1;
        skip_blanks(c);
}

static bool take_status(ImapReply *reply, Cursor *c)
{
        const char *p = c->p;

        while (p < c->end && text_upper(*p) >= 'A' && text_upper(*p) <= 'Z')
                p++;
        if (p < c->end && !is_blank(*p) && *p != '[')
                return false;
        for (size_t i = 0; i < ELEMENTS(status_words); i++) {
                if (!text_word_is(c->p, (size_t) (p - c->p), status_words[i].word))
                        continue;
                reply->status = status_words[i].status;
                reply->words = c->p;
                reply->words_len = (size_t) (c->end - c->p);
                c->p = p;
                skip_blanks(c);
                take_code(reply, c);
                reply->text = c->p;
                reply->text_len = (size_t) (c->end - c->p);
                return true;
        }
        return false;
}

/* "23 EXISTS", "SEARCH 1 2". */
static int take_data(ImapReply *reply, Cursor *c)
{
        const char *word;
        size_t len = take_atom(c, &word);
        uint64_t number;
        size_t n;

        if (len > 0 && is_digit(*word)) {
                if (text_scan_u64(word, len, UINT32_MAX, &number, &n) < 0 || n != len)
                        return -EBADMSG;
                reply->numbered = true;
                reply->number = (uint32_t) number;
                skip_blanks(c);
                len = take_atom(c, &word);
        }
        if (len == 0)
                return -EBADMSG;
        copy_upper(reply->name, sizeof(reply->name), word, len);
        skip_blanks(c);
        reply->data = c->p;
        reply->data_len = (size_t) (c->end - c->p);
        return 0;
}

static int take_tag(ImapReply *reply, Cursor *c)
{
        size_t len = take_atom(c, &reply->tag);

        reply->tag_len = len;
        if (len == 0 || len > TAG_MAX || c->p == c->end || !is_blank(*c->p))
                return -EBADMSG;
        for (size_t i = 0; i < len; i++)
                if (reply->tag[i] <= ' ' || reply->tag[i] > '~')
                        return -EBADMSG;
        skip_blanks(c);
        return 0;
}

int imap_parse_reply(ImapReply *ret, const char *response, size_t len)
{
        ImapReply reply = {};
        Cursor c = { response, response + len };
        int r;

        if (len == 0)
                return -EBADMSG;
        if (*c.p == '+' && (len == 1 || is_blank(c.p[1]))) {
                reply.kind = IMAP_CONTINUATION;
                c.p++;
                skip_blanks(&c);
                reply.words = reply.text = c.p;
                reply.words_len = reply.text_len = (size_t) (c.end - c.p);
        } else if (*c.p == '*' && len > 1 && is_blank(c.p[1])) {
                reply.kind = IMAP_UNTAGGED;
                c.p++;
                skip_blanks(&c);
                r = take_status(&reply, &c) ? 0 : take_data(&reply, &c);
                if (r < 0)
                        return r;
        } else {
                reply.kind = IMAP_TAGGED;
                if (take_tag(&reply, &c) < 0 || !take_status(&reply, &c) ||
                    reply.status == IMAP_PREAUTH || reply.status == IMAP_BYE)
                        return -EBADMSG;
        }
        *ret = reply;
        return 0;
}

/* --- literals and values --------------------------------------------------------------------------------------- */

int imap_literal_at_end(const char *line, size_t len, uint64_t *ret_size, size_t *ret_octets)
{
        size_t at = len, digits, n;
        uint64_t size;

        if (len < 3 || line[len - 1] != '}')
                return 0;
        at--;
        if (line[at - 1] == '+') /* a client's word (RFC 7888), but some servers say it */
                at--;
        digits = at;
        while (at > 0 && is_digit(line[at - 1]))
                at--;
        if (at == digits || at == 0 || line[at - 1] != '{')
                return 0;
        if (text_scan_u64(line + at, digits - at, INT64_MAX, &size, &n) < 0)
                return -EBADMSG;
        at--;
        if (at > 0 && line[at - 1] == '~') /* RFC 3516 section 4.4 */
                at--;
        *ret_size = size;
        *ret_octets = len - at;
        return 1;
}

/* At '{' or "~{": the octets of the literal, when they are there. */
static int take_literal(Cursor *c, const char **ret, size_t *ret_len)
{
        const char *close = memchr(c->p, '}', (size_t) (c->end - c->p));
        uint64_t size;
        size_t octets;

        if (!close || imap_literal_at_end(c->p, (size_t) (close + 1 - c->p), &size, &octets) != 1 ||
            close + 1 - c->p != (ptrdiff_t) octets)
                return -EBADMSG;
        c->p = close + 1;
        if (c->p == c->end)
                return ENDS_HERE;
        if (c->end - c->p < 2 || memcmp(c->p, "\r\n", 2) != 0)
                return -EBADMSG;
        c->p += 2;
        if (size > (uint64_t) (c->end - c->p))
                return -EBADMSG;
        *ret = c->p;
        *ret_len = (size_t) size;
        c->p += size;
        return 0;
}

static int take_quoted(Cursor *c, const char **ret, size_t *ret_len)
{
        const char *p = c->p + 1;

        while (p < c->end && *p != '"')
                p += *p == '\\' ? 2 : 1;
        if (p >= c->end)
                return -EBADMSG;
        *ret = c->p + 1;
        *ret_len = (size_t) (p - *ret);
        c->p = p + 1;
        return 0;
}

static bool at_literal(const Cursor *c)
{
        return c->p < c->end &&
               (*c->p == '{' || (*c->p == '~' && c->p + 1 < c->end && c->p[1] == '{'));
}

typedef struct Value {
        const char *text;
        size_t len;
        bool string; /* quoted or a literal, else an atom */
        bool quoted;
} Value;

static int take_value(Cursor *c, Value *ret)
{
        *ret = (Value){};
        if (at_literal(c)) {
                ret->string = true;
                return take_literal(c, &ret->text, &ret->len);
        }
        if (c->p < c->end && *c->p == '"') {
                ret->string = ret->quoted = true;
                return take_quoted(c, &ret->text, &ret->len);
        }
        ret->len = take_atom(c, &ret->text);
        return ret->len > 0 ? 0 : -EBADMSG;
}

/* One value, whatever it is. */
static int skip_value(Cursor *c)
{
        unsigned depth = 0;
        Value value;

        do {
                int r;

                skip_blanks(c);
                if (c->p == c->end)
                        return -EBADMSG;
                if (*c->p == '(' || *c->p == ')') {
                        if (*c->p == ')' && depth == 0)
                                return -EBADMSG;
                        depth += *c->p == '(' ? 1 : UINT32_MAX;
                        c->p++;
                        if (depth > NESTING_MAX)
                                return -EBADMSG;
                        continue;
                }
                r = take_value(c, &value);
                if (r != 0)
                        return r;
        } while (depth > 0);
        return 0;
}

static void unquote(const Value *value, char *to, size_t size, size_t *ret_len)
{
        size_t n = 0;

        for (size_t i = 0; i < value->len && n < size; i++) {
                if (value->quoted && value->text[i] == '\\' && i + 1 < value->len)
                        i++;
                to[n++] = value->text[i];
        }
        *ret_len = n;
}

/* --- capabilities ------------------------------------------------------------------------------------------------ */

void imap_capabilities_clear(ImapCapabilities *capabilities)
{
        list_free(capabilities->sasl);
        list_free(capabilities->list);
        *capabilities = (ImapCapabilities){};
}

static int capability_sasl(ImapCapabilities *capabilities, const char *word, size_t len)
{
        char name[MECHANISM_MAX + 1];

        copy_upper(name, sizeof(name), word, len);
        if (!name[0] || !text_is_clean(name, strlen(name)) ||
            list_contains_nocase(capabilities->sasl, name))
                return 0;
        return list_append_bounded(&capabilities->sasl, name, MECHANISMS);
}

static int capability_take(ImapCapabilities *capabilities, const char *word, size_t len)
{
        const struct {
                const char *name;
                bool *flag;
        } flags[] = {
                { "IMAP4REV1", &capabilities->rev1 },
                { "IMAP4REV2", &capabilities->rev2 },
                { "STARTTLS", &capabilities->starttls },
                { "LOGINDISABLED", &capabilities->login_disabled },
                { "SASL-IR", &capabilities->sasl_ir },
                { "ID", &capabilities->id },
                { "IDLE", &capabilities->idle },
                { "LITERAL+", &capabilities->literal_plus },
                { "LITERAL-", &capabilities->literal_minus },
                { "UIDPLUS", &capabilities->uidplus },
                { "SPECIAL-USE", &capabilities->special_use },
                { "ENABLE", &capabilities->enable },
                { "UTF8=ACCEPT", &capabilities->utf8_accept },
        };
        char shown[LIMIT_REPLY_TEXT + 1];

        text_printable(shown, sizeof(shown), word, len);
        for (size_t i = 0; i < ELEMENTS(flags); i++)
                if (text_word_is(word, len, flags[i].name))
                        *flags[i].flag = true;
        if (len > 5 && text_word_is(word, 5, "AUTH=") &&
            capability_sasl(capabilities, word + 5, len - 5) < 0)
                return -ENOMEM;
        return list_append_bounded(&capabilities->list, shown, LIMIT_REPLY_LINES);
}

int imap_parse_capabilities(ImapCapabilities *capabilities, const char *text, size_t len)
{
        Cursor c = { text, text + len };

        imap_capabilities_clear(capabilities);
        for (;;) {
                const char *word = c.p;

                skip_blanks(&c);
                for (word = c.p; c.p < c.end && !is_blank(*c.p);)
                        c.p++;
                if (c.p == word)
                        break;
                if (capability_take(capabilities, word, (size_t) (c.p - word)) < 0) {
                        imap_capabilities_clear(capabilities);
                        return -ENOMEM;
                }
        }
        /* RFC 9051 section 7.2.2: rev2 has these built in. */
        capabilities->sasl_ir |= capabilities->rev2;
        capabilities->uidplus |= capabilities->rev2;
        capabilities->idle |= capabilities->rev2;
        capabilities->enable |= capabilities->rev2;
        capabilities->literal_minus |= capabilities->rev2;
        capabilities->known = true;
        return 0;
}

/* --- FETCH -------------------------------------------------------------------------------------------------------- */

/* "BODY[HEADER.FIELDS (A B)]<0>": brackets hold anything. */
static size_t take_item(Cursor *c, const char **ret)
{
        *ret = c->p;
        while (c->p < c->end && !is_blank(*c->p) && *c->p != '(' && *c->p != ')') {
                if (*c->p == '[') {
                        const char *close = closing_bracket(c->p + 1, c->end);

                        if (!close)
                                return 0;
                        c->p = close;
                }
                c->p++;
        }
        return (size_t) (c->p - *ret);
}

static unsigned flag_bit(const char *word, size_t len)
{
        static const struct {
                const char *name;
                unsigned bit;
        } flags[] = {
                { "\\SEEN", IMAP_SEEN },       { "\\ANSWERED", IMAP_ANSWERED },
                { "\\FLAGGED", IMAP_FLAGGED }, { "\\DELETED", IMAP_DELETED },
                { "\\DRAFT", IMAP_DRAFT },
        };

        for (size_t i = 0; i < ELEMENTS(flags); i++)
                if (text_word_is(word, len, flags[i].name))
                        return flags[i].bit;
        return 0;
}

/* The next word of a list without lists in it, behind its bracket. Returns 1, 0 at its end, -EBADMSG. */
static int next_in_list(Cursor *c, const char **word, size_t *ret_len)
{
        skip_blanks(c);
        if (c->p == c->end || *c->p == '(')
                return -EBADMSG;
        if (*c->p == ')') {
                c->p++;
                return 0;
        }
        *ret_len = take_atom(c, word);
        return 1;
}

static int take_flags(Cursor *c, ImapFetch *fetch)
{
        const char *word;
        size_t len;
        int r;

        if (c->p == c->end || *c->p != '(')
                return skip_value(c);
        c->p++;
        fetch->has_flags = true;
        fetch->flags = 0;
        while ((r = next_in_list(c, &word, &len)) > 0)
                fetch->flags |= flag_bit(word, len);
        return r;
}

static int take_body(Cursor *c, ImapFetch *fetch)
{
        Value value;
        int r;

        r = take_value(c, &value);
        if (r == ENDS_HERE)
                fetch->body = IMAP_BODY_FOLLOWS;
        if (r != 0)
                return r;
        if (!value.string)
                fetch->body = IMAP_BODY_NIL;
        else {
                fetch->body = IMAP_BODY_HERE;
                fetch->data = value.text;
                fetch->data_len = value.len;
                fetch->quoted = value.quoted;
        }
        return 0;
}

static int take_fetch_number(Cursor *c, uint64_t max, uint64_t *ret)
{
        Value value;
        size_t n;
        int r;

        r = take_value(c, &value);
        if (r != 0)
                return r;
        if (text_scan_u64(value.text, value.len, max, ret, &n) < 0 || n != value.len)
                return -EBADMSG;
        return 0;
}

static int take_fetch_item(Cursor *c, ImapFetch *fetch, const char *item, size_t len)
{
        uint64_t number;
        int r;

        if (text_word_is(item, len, "UID")) {
                r = take_fetch_number(c, UINT32_MAX, &number);
                if (r == 0 && number == 0)
                        return -EBADMSG;
                if (r == 0)
                        fetch->uid = (uint32_t) number;
                return r;
        }
        if (text_word_is(item, len, "RFC822.SIZE")) {
                r = take_fetch_number(c, INT64_MAX, &number);
                if (r == 0) {
                        fetch->has_size = true;
                        fetch->size = number;
                }
                return r;
        }
        if (text_word_is(item, len, "FLAGS"))
                return take_flags(c, fetch);
        if ((len > 5 && text_word_is(item, 5, "BODY[")) || text_word_is(item, len, "RFC822"))
                return take_body(c, fetch);
        return skip_value(c);
}

int imap_parse_fetch(ImapFetch *ret, const char *data, size_t len)
{
        Cursor c = { data, data + len };
        ImapFetch fetch = {};
        int r = 0;

        if (len == 0 || *c.p != '(')
                return -EBADMSG;
        c.p++;
        while (r == 0) {
                const char *item;
                size_t item_len;

                skip_blanks(&c);
                if (c.p == c.end)
                        return -EBADMSG;
                if (*c.p == ')')
                        break;
                item_len = take_item(&c, &item);
                skip_blanks(&c);
                r = item_len == 0 ? -EBADMSG : take_fetch_item(&c, &fetch, item, item_len);
        }
        if (r < 0)
                return r;
        *ret = fetch;
        return r;
}

/* --- LIST ---------------------------------------------------------------------------------------------------------- */

static int take_folder_flags(Cursor *c, ImapFolder *folder)
{
        static const struct {
                const char *name;
                ImapUse use;
        } uses[] = {
                { "\\ALL", IMAP_USE_ALL },       { "\\ARCHIVE", IMAP_USE_ARCHIVE },
                { "\\DRAFTS", IMAP_USE_DRAFTS }, { "\\FLAGGED", IMAP_USE_FLAGGED },
                { "\\JUNK", IMAP_USE_JUNK },     { "\\SENT", IMAP_USE_SENT },
                { "\\TRASH", IMAP_USE_TRASH },   { "\\SPAM", IMAP_USE_JUNK }, /* XLIST */
                { "\\ALLMAIL", IMAP_USE_ALL },
        };
        const char *word;
        size_t len;
        int r;

        if (c->p == c->end || *c->p != '(')
                return -EBADMSG;
        c->p++;
        while ((r = next_in_list(c, &word, &len)) > 0) {
                if (text_word_is(word, len, "\\NOSELECT") ||
                    text_word_is(word, len, "\\NONEXISTENT"))
                        folder->selectable = false;
                for (size_t i = 0; i < ELEMENTS(uses); i++)
                        if (text_word_is(word, len, uses[i].name))
                                folder->use = uses[i].use;
        }
        return r;
}

static int take_delimiter(Cursor *c, ImapFolder *folder)
{
        char text[2];
        size_t len;
        Value value;

        skip_blanks(c);
        if (take_value(c, &value) != 0)
                return -EBADMSG;
        if (!value.string)
                return text_word_is(value.text, value.len, "NIL") ? 0 : -EBADMSG;
        unquote(&value, text, sizeof(text), &len);
        if (len > 1 || (len == 1 && (text[0] <= ' ' || text[0] > '~')))
                return -EBADMSG;
        folder->delimiter = len == 1 ? text[0] : 0;
        return 0;
}

static int take_folder_name(Cursor *c, ImapFolder *folder)
{
        Value value;
        size_t len;

        skip_blanks(c);
        if (c->p == c->end || take_value(c, &value) != 0)
                return -EBADMSG;
        /* A name with blanks or parentheses that should have been quoted. */
        if (!value.string && c->p < c->end &&
            memmem(c->p, (size_t) (c->end - c->p), " (", 2) != c->p)
                value.len = (size_t) (c->end - value.text);
        unquote(&value, folder->name, sizeof(folder->name), &len);
        if (len == 0 || len >= sizeof(folder->name))
                return -EBADMSG;
        for (size_t i = 0; i < len; i++)
                if ((unsigned char) folder->name[i] < ' ' || folder->name[i] == 0x7f)
                        return -EBADMSG;
        folder->name[len] = 0;
        if (text_equal_nocase(folder->name, "INBOX"))
                memcpy(folder->name, "INBOX", sizeof("INBOX"));
        return 0;
}

int imap_parse_list(ImapFolder *ret, const char *data, size_t len)
{
        ImapFolder folder = { .selectable = true };
        Cursor c = { data, data + len };

        if (take_folder_flags(&c, &folder) < 0 || take_delimiter(&c, &folder) < 0 ||
            take_folder_name(&c, &folder) < 0)
                return -EBADMSG;
        *ret = folder;
        return 0;
}

/* --- sets ------------------------------------------------------------------------------------------------------------ */

int imap_set_append(Buffer *to, const uint32_t *uids, size_t n, size_t max)
{
        size_t taken = 0;

        while (taken < n) {
                size_t last = taken;
                char range[32];
                int len, r;

                while (last + 1 < n && uids[last + 1] == uids[last] + 1)
                        last++;
                len = snprintf(range, sizeof(range), last > taken ? "%s%u:%u" : "%s%u",
                               taken > 0 ? "," : "", uids[taken], uids[last]);
                if (to->len + (size_t) len > max)
                        break;
                r = buffer_append(to, range, (size_t) len);
                if (r < 0)
                        return r;
                taken = last + 1;
        }
        return (int) taken;
}

/* --- what we say ------------------------------------------------------------------------------------------------------ */

int imap_quote(Buffer *to, const char *text, size_t len)
{
        size_t before = to->len;
        int r;

        for (size_t i = 0; i < len; i++) {
                if (text[i] == 0)
                        return -EINVAL;
                if ((unsigned char) text[i] < ' ' || (unsigned char) text[i] > '~')
                        return 1;
        }
        r = buffer_append(to, "\"", 1);
        for (size_t i = 0; i < len && r == 0; i++) {
                if (text[i] == '"' || text[i] == '\\')
                        r = buffer_append(to, "\\", 1);
                if (r == 0)
                        r = buffer_append(to, text + i, 1);
        }
        if (r == 0)
                r = buffer_append(to, "\"", 1);
        if (r < 0)
                to->len = before;
        return r;
}

/* --- folder names ------------------------------------------------------------------------------------------------------ */

static const char name_digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";

static int append_utf8(Buffer *to, uint32_t c)
{
        char text[4];
        size_t n = 0;

        if (c < 0x80)
                text[n++] = (char) c;
        else if (c < 0x800) {
                text[n++] = (char) (0xc0 | c >> 6);
                text[n++] = (char) (0x80 | (c & 0x3f));
        } else {
                if (c < 0x10000)
                        text[n++] = (char) (0xe0 | c >> 12);
                else {
                        text[n++] = (char) (0xf0 | c >> 18);
                        text[n++] = (char) (0x80 | (c >> 12 & 0x3f));
                }
                text[n++] = (char) (0x80 | (c >> 6 & 0x3f));
                text[n++] = (char) (0x80 | (c & 0x3f));
        }
        return buffer_append(to, text, n);
}

/* UTF-16 units become characters. @high: the first half of a pair, 0 none. */
static int append_unit(Buffer *to, uint32_t unit, uint32_t *high)
{
        bool is_high = unit >= 0xd800 && unit < 0xdc00, is_low = unit >= 0xdc00 && unit < 0xe000;
        uint32_t first = *high;

        if (is_low != (first != 0) || unit < ' ')
                return -EINVAL;
        *high = is_high ? unit : 0;
        if (is_high)
                return 0;
        return append_utf8(to,
                           is_low ? 0x10000 + ((first - 0xd800) << 10) + (unit - 0xdc00) : unit);
}

/* What is between "&" and "-". */
static int append_encoded(Buffer *to, const char *text, size_t len)
{
        uint32_t bits = 0, high = 0;
        unsigned n_bits = 0;

        for (size_t i = 0; i < len; i++) {
                const char *digit = strchr(name_digits, text[i]);
                int r = 0;

                if (!digit)
                        return -EINVAL;
                bits = bits << 6 | (uint32_t) (digit - name_digits);
                n_bits += 6;
                if (n_bits >= 16) {
                        n_bits -= 16;
                        r = append_unit(to, bits >> n_bits & 0xffff, &high);
                }
                if (r < 0)
                        return r;
        }
        return high || n_bits >= 6 || (bits & ((1U << n_bits) - 1)) ? -EINVAL : 0;
}

int imap_name_to_utf8(Buffer *to, const char *name)
{
        size_t before = to->len;
        int r = 0;

        for (const char *p = name; *p && r == 0; p++) {
                const char *end;

                if (*p != '&') {
                        r = (unsigned char) *p > '~' ? -EINVAL : buffer_append(to, p, 1);
                        continue;
                }
                end = strchr(p, '-');
                if (!end)
                        r = -EINVAL;
                else if (end == p + 1)
                        r = buffer_append(to, "&", 1);
                else
                        r = append_encoded(to, p + 1, (size_t) (end - p - 1));
                if (r == 0)
                        p = end;
        }
        if (r < 0)
                to->len = before;
        return r;
}

/* The next character of valid UTF-8. Returns its octets, 0 for what is not. */
static size_t utf8_next(const char *text, uint32_t *ret)
{
        const unsigned char *p = (const unsigned char *) text;
        size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;

        *ret = n == 1 ? p[0] : p[0] & (0xffU >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                *ret = *ret << 6 | (p[i] & 0x3f);
        }
        return n;
}

static int append_base64(Buffer *to, const uint8_t *octets, size_t len)
{
        uint32_t bits = 0;
        unsigned n_bits = 0;
        int r = 0;

        for (size_t i = 0; i < len && r == 0; i++) {
                bits = bits << 8 | octets[i];
                for (n_bits += 8; n_bits >= 6 && r == 0; n_bits -= 6)
                        r = buffer_append(to, &name_digits[bits >> (n_bits - 6) & 0x3f], 1);
        }
        if (r == 0 && n_bits > 0)
                r = buffer_append(to, &name_digits[bits << (6 - n_bits) & 0x3f], 1);
        return r;
}

static int append_run(Buffer *to, const char *text, size_t len)
{
        uint8_t units[4 * LIMIT_FOLDER];
        size_t n = 0;
        int r;

        for (size_t i = 0; i < len;) {
                uint32_t c;

                i += utf8_next(text + i, &c);
                if (n + 4 > sizeof(units))
                        return -ENOBUFS;
                if (c >= 0x10000) {
                        uint32_t high = 0xd800 + ((c - 0x10000) >> 10);

                        units[n++] = (uint8_t) (high >> 8);
                        units[n++] = (uint8_t) high;
                        c = 0xdc00 + ((c - 0x10000) & 0x3ff);
                }
                units[n++] = (uint8_t) (c >> 8);
                units[n++] = (uint8_t) c;
        }
        r = buffer_append(to, "&", 1);
        if (r == 0)
                r = append_base64(to, units, n);
        return r < 0 ? r : buffer_append(to, "-", 1);
}

int imap_name_from_utf8(Buffer *to, const char *name)
{
        size_t len = strlen(name), before = to->len, n;
        int r = 0;

        if (!text_is_clean(name, len))
                return -EINVAL;
        for (size_t i = 0; i < len && r == 0; i += n) {
                for (n = 0; i + n < len && (unsigned char) name[i + n] >= 0x80;)
                        n++;
                if (n > 0) {
                        r = append_run(to, name + i, n);
                        continue;
                }
                n = 1;
                r = buffer_append(to, name + i, 1);
                if (r == 0 && name[i] == '&')
                        r = buffer_append(to, "-", 1);
        }
        if (r < 0)
                to->len = before;
        return r;
}
