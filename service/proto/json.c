/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See json.h. The checker walks the text once with a stack of a bit for each level: no recursion over input. */
#include <string.h>

#include "base/text.h"
#include "proto/json.h"

typedef struct Walk {
        const char *p, *end;
} Walk;

static int peek(const Walk *w)
{
        return w->p < w->end ? (unsigned char) *w->p : -1;
}

static void skip_blanks(Walk *w)
{
        while (w->p < w->end && (*w->p == ' ' || *w->p == '\t' || *w->p == '\n' || *w->p == '\r'))
                w->p++;
}

static bool take(Walk *w, char c)
{
        if (w->p == w->end || *w->p != c)
                return false;
        w->p++;
        return true;
}

static bool digit(int c)
{
        return c >= '0' && c <= '9';
}

static bool digits(Walk *w)
{
        const char *from = w->p;

        while (digit(peek(w)))
                w->p++;
        return w->p > from;
}

/* RFC 8259 section 6. */
static bool walk_number(Walk *w)
{
        (void) take(w, '-');
        if (!take(w, '0') && !digits(w))
                return false;
        if (take(w, '.') && !digits(w))
                return false;
        if (take(w, 'e') || take(w, 'E')) {
                if (!take(w, '+'))
                        (void) take(w, '-');
                return digits(w);
        }
        return !digit(peek(w)); /* 01 */
}

static bool hex4(Walk *w, unsigned *ret)
{
        *ret = 0;
        for (int i = 0; i < 4; i++) {
                int c = peek(w);

                if (!digit(c) && !((c | 32) >= 'a' && (c | 32) <= 'f'))
                        return false;
                *ret = *ret * 16 + (unsigned) (digit(c) ? c - '0' : (c | 32) - 'a' + 10);
                w->p++;
        }
        return true;
}

/* A high surrogate is followed by a low one (RFC 8259 section 7). NUL would cut the text for every C string behind. */
static bool walk_unicode(Walk *w)
{
        unsigned unit, low;

        if (!hex4(w, &unit) || unit == 0 || (unit >= 0xdc00 && unit <= 0xdfff))
                return false;
        if (unit < 0xd800 || unit > 0xdbff)
                return true;
        return take(w, '\\') && take(w, 'u') && hex4(w, &low) && low >= 0xdc00 && low <= 0xdfff;
}

static bool walk_string(Walk *w)
{
        if (!take(w, '"'))
                return false;
        for (;;) {
                int c = peek(w);

                if (c < 0x20)
                        return false; /* the end, or a control character */
                w->p++;
                if (c == '"')
                        return true;
                if (c != '\\')
                        continue;
                c = peek(w);
                w->p++;
                if (c < 0 || !strchr("\"\\/bfnrtu", c) || c == 0)
                        return false;
                if (c == 'u' && !walk_unicode(w))
                        return false;
        }
}

static bool walk_word(Walk *w, const char *word)
{
        size_t n = strlen(word);

        if ((size_t) (w->end - w->p) < n || memcmp(w->p, word, n) != 0)
                return false;
        w->p += n;
        return true;
}

static bool walk_scalar(Walk *w)
{
        switch (peek(w)) {
        case '"':
                return walk_string(w);
        case 't':
                return walk_word(w, "true");
        case 'f':
                return walk_word(w, "false");
        case 'n':
                return walk_word(w, "null");
        default:
                return walk_number(w);
        }
}

static bool walk_key(Walk *w)
{
        skip_blanks(w);
        if (!walk_string(w))
                return false;
        skip_blanks(w);
        return take(w, ':');
}

/* Opens what begins here. Returns 1 when a level was opened that has something in it, 0 when a whole value was read, -1. */
static int walk_open(Walk *w, char *stack, unsigned *depth)
{
        char open = (char) peek(w);

        if (open != '{' && open != '[')
                return walk_scalar(w) ? 0 : -1;
        if (*depth == LIMIT_DEPTH)
                return -1;
        w->p++;
        skip_blanks(w);
        if (take(w, open == '{' ? '}' : ']'))
                return 0;
        stack[(*depth)++] = open;
        return open == '{' && !walk_key(w) ? -1 : 1;
}

static bool walk_value(Walk *w)
{
        char stack[LIMIT_DEPTH];
        unsigned depth = 0;

        for (;;) {
                int r;

                skip_blanks(w);
                r = walk_open(w, stack, &depth);
                if (r < 0)
                        return false;
                if (r > 0)
                        continue;
                for (;;) {
                        skip_blanks(w);
                        if (depth == 0)
                                return true;
                        if (take(w, ','))
                                break;
                        if (!take(w, stack[depth - 1] == '{' ? '}' : ']'))
                                return false;
                        depth--;
                }
                if (stack[depth - 1] == '{' && !walk_key(w))
                        return false;
        }
}

/* The shape of UTF-8 (RFC 3629 section 4); what characters mean is not asked here. */
static bool utf8_valid(const unsigned char *p, size_t len)
{
        for (size_t i = 0; i < len;) {
                unsigned c = p[i], n = c < 0x80   ? 1
                                       : c < 0xc2 ? 0
                                       : c < 0xe0 ? 2
                                       : c < 0xf0 ? 3
                                       : c < 0xf5 ? 4
                                                  : 0;

                if (n == 0 || n > len - i)
                        return false;
                for (unsigned k = 1; k < n; k++)
                        if ((p[i + k] & 0xc0) != 0x80)
                                return false;
                if ((c == 0xe0 && p[i + 1] < 0xa0) || (c == 0xed && p[i + 1] > 0x9f) ||
                    (c == 0xf0 && p[i + 1] < 0x90) || (c == 0xf4 && p[i + 1] > 0x8f))
                        return false;
                i += n;
        }
        return true;
}

bool json_is_valid(const char *text, size_t len)
{
        Walk w = { text, text + len };

        return len <= LIMIT_DOCUMENT && utf8_valid((const unsigned char *) text, len) &&
               walk_value(&w) && w.p == w.end;
}

int json_read(json_object **ret, const char *text, size_t len)
{
        json_tokener *tokener;
        json_object *root;
        enum json_tokener_error error;

        if (!json_is_valid(text, len))
                return -EBADMSG;
        tokener = json_tokener_new_ex(LIMIT_DEPTH + 1);
        if (!tokener)
                return -ENOMEM;
        root = json_tokener_parse_ex(tokener, text, (int) len);
        error = json_tokener_get_error(tokener);
        /* A number at the very end is complete only when something follows. */
        if (error == json_tokener_continue)
                root = json_tokener_parse_ex(tokener, "\n", 1);
        error = json_tokener_get_error(tokener);
        json_tokener_free(tokener);
        if (error != json_tokener_success) {
                json_object_put(root);
                return -EBADMSG;
        }
        *ret = root;
        return 0;
}

json_object *json_member(json_object *object, const char *key)
{
        json_object *value;

        return json_object_is_type(object, json_type_object) &&
                               json_object_object_get_ex(object, key, &value)
                       ? value
                       : NULL;
}

int json_flag(json_object *object, const char *key)
{
        json_object *value = json_member(object, key);

        return json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value) : -1;
}

const char *json_text(json_object *object, const char *key, size_t max)
{
        json_object *value = json_member(object, key);
        const char *text;
        size_t len;

        if (!json_object_is_type(value, json_type_string))
                return NULL;
        text = json_object_get_string(value);
        len = (size_t) json_object_get_string_len(value);
        return len <= max && len == strlen(text) && text_is_clean(text, len) ? text : NULL;
}

void json_wipe(json_object *object, const char *key)
{
        json_object *value = json_member(object, key);

        if (json_object_is_type(value, json_type_string))
                explicit_bzero((void *) (uintptr_t) json_object_get_string(value),
                               (size_t) json_object_get_string_len(value));
}
