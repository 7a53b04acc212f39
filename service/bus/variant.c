/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See variant.h. sd-bus has checked that messages are well-formed; what is checked here is what a caller can make grow and what
 * would look like something else on a terminal. */
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "bus/errors.h"
#include "bus/variant.h"

enum { KEY_LEN_MAX = 64, DEPTH_MAX = 1 };

static int read_dict(sd_bus_message *m, Dict *dict, unsigned depth, sd_bus_error *error);

static int fault(sd_bus_error *error, int r)
{
        return error_fault(error, r, "reading a dictionary");
}

bool variant_text_is_fine(const char *text)
{
        size_t len = strnlen(text, LIMIT_STRING + 1);

        return len <= LIMIT_STRING && text_is_clean(text, len);
}

static int read_text(sd_bus_message *m, Dict *dict, const char *key, sd_bus_error *error)
{
        const char *text;
        int r;

        r = sd_bus_message_read_basic(m, 's', &text);
        if (r < 0)
                return fault(error, r);
        if (!variant_text_is_fine(text))
                return error_argument(error, key, "is too long or has control characters");
        r = dict_set_text(dict, key, text);
        if (r < 0)
                return fault(error, r);
        /* A Dict cuts long text, and half a host name is another host. */
        if (!text_equal(dict_text(dict, key), text))
                return error_argument(error, key, "is too long");
        return 0;
}

static int read_list(sd_bus_message *m, Dict *dict, const char *key, sd_bus_error *error)
{
        _cleanup_list_ char **list = NULL;
        const char *text;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return fault(error, r);
        while ((r = sd_bus_message_read_basic(m, 's', &text)) > 0) {
                if (!variant_text_is_fine(text) || strlen(text) >= LIMIT_REPLY_TEXT)
                        return error_argument(error, key,
                                              "an entry is too long or has control characters");
                r = list_append(&list, text, LIMIT_DICTIONARY);
                if (r == -ENOBUFS)
                        return error_argument(error, key, "has too many entries");
                if (r < 0)
                        return fault(error, r);
        }
        if (r < 0)
                return fault(error, r);
        r = list ? dict_set_list(dict, key, list)
                 : dict_set_list(dict, key, (char *const[]){ NULL });
        if (r < 0)
                return fault(error, r);
        return sd_bus_message_exit_container(m);
}

/* Clients pick whatever integer their language gives them. */
static int read_number(sd_bus_message *m, Dict *dict, const char *key, char type,
                       sd_bus_error *error)
{
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } value;
        int64_t number = 0;
        int r;

        r = sd_bus_message_read_basic(m, type, &value);
        if (r < 0)
                return fault(error, r);
        switch (type) {
        case 'y':
                number = value.y;
                break;
        case 'n':
                number = value.n;
                break;
        case 'q':
                number = value.q;
                break;
        case 'i':
                number = value.i;
                break;
        case 'u':
                number = value.u;
                break;
        case 'x':
                number = value.x;
                break;
        case 't':
                r = dict_set_number(dict, key, value.t);
                return r < 0 ? fault(error, r) : 0;
        }
        if (number < 0)
                return error_argument(error, key, "must not be below zero");
        r = dict_set_number(dict, key, (uint64_t) number);
        return r < 0 ? fault(error, r) : 0;
}

static int read_bool(sd_bus_message *m, Dict *dict, const char *key, sd_bus_error *error)
{
        int flag, r;

        r = sd_bus_message_read_basic(m, 'b', &flag);
        if (r >= 0)
                r = dict_set_bool(dict, key, flag != 0);
        return r < 0 ? fault(error, r) : 0;
}

static int read_inner(sd_bus_message *m, Dict *dict, const char *key, unsigned depth,
                      sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *inner = NULL;
        int r;

        if (depth >= DEPTH_MAX)
                return error_argument(error, key, "a dictionary may not be nested this deep");
        inner = dict_new();
        if (!inner)
                return fault(error, -ENOMEM);
        r = read_dict(m, inner, depth + 1, error);
        if (r < 0)
                return r;
        r = dict_set_dict_take(dict, key, TAKE(inner));
        return r < 0 ? fault(error, r) : 0;
}

static int read_value(sd_bus_message *m, Dict *dict, const char *key, unsigned depth,
                      sd_bus_error *error)
{
        const char *type;
        int r;

        r = sd_bus_message_peek_type(m, NULL, &type);
        if (r < 0)
                return fault(error, r);
        r = sd_bus_message_enter_container(m, 'v', type);
        if (r < 0)
                return fault(error, r);
        if (strcmp(type, "s") == 0)
                r = read_text(m, dict, key, error);
        else if (strcmp(type, "b") == 0)
                r = read_bool(m, dict, key, error);
        else if (strcmp(type, "as") == 0)
                r = read_list(m, dict, key, error);
        else if (strcmp(type, "a{sv}") == 0)
                r = read_inner(m, dict, key, depth, error);
        else if (strlen(type) == 1 && strchr("ynqiuxt", *type))
                r = read_number(m, dict, key, *type, error);
        else
                r = error_argument(error, key, "has a type that is not known");
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        return r < 0 ? fault(error, r) : 0;
}

static int read_entry(sd_bus_message *m, Dict *dict, unsigned depth, sd_bus_error *error)
{
        const char *key;
        int r;

        r = sd_bus_message_read_basic(m, 's', &key);
        if (r < 0)
                return fault(error, r);
        if (strlen(key) > KEY_LEN_MAX || !text_is_clean(key, strlen(key)))
                return error_set(error, TROUBLE_ARGUMENT,
                                 "A key is too long or has control characters");
        if (dict_find(dict, key))
                return error_argument(error, key, "comes twice");
        if (dict->n_entries >= LIMIT_DICTIONARY)
                return error_argument(error, key, "is one key too many");
        return read_value(m, dict, key, depth, error);
}

static int read_dict(sd_bus_message *m, Dict *dict, unsigned depth, sd_bus_error *error)
{
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return fault(error, r);
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, dict, depth, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return fault(error, r);
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? fault(error, r) : 0;
}

int variant_read(sd_bus_message *m, Dict **ret, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        int r;

        if (!dict)
                return fault(error, -ENOMEM);
        r = read_dict(m, dict, 0, error);
        if (r < 0)
                return r;
        *ret = TAKE(dict);
        return 0;
}

int variant_read_text(sd_bus_message *m, const char *name, const char **ret, sd_bus_error *error)
{
        const char *text;
        int r;

        r = sd_bus_message_read_basic(m, 's', &text);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        if (!variant_text_is_fine(text))
                return error_argument(error, name, "is too long or has control characters");
        *ret = text;
        return 0;
}

int variant_check(const Dict *dict, const DictKey *keys, size_t n_keys, sd_bus_error *error)
{
        const char *what;
        const DictEntry *entry = dict_misfit(dict, keys, n_keys, &what);

        return entry ? error_argument(error, entry->key, what) : 0;
}

static int append_list(sd_bus_message *m, char *const *list)
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (; r >= 0 && list && *list; list++)
                r = sd_bus_message_append_basic(m, 's', *list);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, const DictEntry *entry)
{
        switch (entry->type) {
        case DICT_TEXT:
                return sd_bus_message_append(m, "v", "s", entry->text);
        case DICT_BOOL:
                return sd_bus_message_append(m, "v", "b", (int) entry->flag);
        case DICT_NUMBER:
                return sd_bus_message_append(m, "v", "t", entry->number);
        case DICT_LIST:
        case DICT_DICT:
                break;
        }
        return -EINVAL;
}

/* Recursion is over our own data, which the readers and core/ build two levels deep. */
static int append_container(sd_bus_message *m, const DictEntry *entry)
{
        bool list = entry->type == DICT_LIST;
        int r;

        r = sd_bus_message_open_container(m, 'v', list ? "as" : "a{sv}");
        if (r < 0)
                return r;
        r = list ? append_list(m, entry->list) : variant_append(m, entry->dict);
        if (r < 0)
                return r;
        return sd_bus_message_close_container(m);
}

static int append_entry(sd_bus_message *m, const DictEntry *entry)
{
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', entry->key);
        if (r < 0)
                return r;
        if (entry->type == DICT_LIST || entry->type == DICT_DICT)
                r = append_container(m, entry);
        else
                r = append_value(m, entry);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

int variant_append(sd_bus_message *m, const Dict *dict)
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (size_t i = 0; r >= 0 && dict && i < dict->n_entries; i++)
                r = append_entry(m, &dict->entries[i]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}
