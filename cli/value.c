/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of the bus as json-c objects and back. The reader knows no members: it follows the signature that the message
 * carries, at most as deep as MAX_DEPTH. */
#include "cli/value.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "cli/text.h"

enum { MAX_DEPTH = 12 };

static int read_any(sd_bus_message *m, json_object **ret, unsigned depth);

static int read_text(sd_bus_message *m, char type, json_object **ret)
{
        _cleanup_free_ char *printable = NULL;
        const char *text;
        int r;

        r = sd_bus_message_read_basic(m, type, &text);
        if (r < 0)
                return r;
        printable = text_printable(text);
        if (!printable)
                return -ENOMEM;
        *ret = json_object_new_string(printable);
        return *ret ? 0 : -ENOMEM;
}

static int read_number(sd_bus_message *m, char type, json_object **ret)
{
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
        } v = {};
        int r;

        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        switch (type) {
        case 'b':
                *ret = json_object_new_boolean(v.i);
                break;
        case 'y':
                *ret = json_object_new_int(v.y);
                break;
        case 'n':
                *ret = json_object_new_int(v.n);
                break;
        case 'q':
                *ret = json_object_new_int(v.q);
                break;
        case 'i':
                *ret = json_object_new_int64(v.i);
                break;
        case 'u':
                *ret = json_object_new_int64(v.u);
                break;
        case 'x':
                *ret = json_object_new_int64(v.x);
                break;
        case 't':
                *ret = json_object_new_uint64(v.t);
                break;
        case 'd':
                *ret = json_object_new_double(v.d);
                break;
        default:
                return -EINVAL;
        }
        return *ret ? 0 : -ENOMEM;
}

static int read_entry(sd_bus_message *m, json_object *object, unsigned depth)
{
        _cleanup_free_ char *key = NULL;
        const char *contents, *text;
        json_object *value;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (contents[0] != 's' && contents[0] != 'o')
                return -EINVAL;
        r = sd_bus_message_enter_container(m, 'e', contents);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, contents[0], &text);
        if (r < 0)
                return r;
        key = text_printable(text);
        if (!key)
                return -ENOMEM;
        r = read_any(m, &value, depth);
        if (r < 0)
                return r;
        json_object_object_add(object, key, value);
        return sd_bus_message_exit_container(m);
}

/* Everything that has a beginning and an end: arrays, dictionaries, structures. */
static int read_container(sd_bus_message *m, char type, const char *contents, json_object **ret,
                          unsigned depth)
{
        _cleanup_json_ json_object *all = NULL;
        bool dict = type == 'a' && contents[0] == '{';
        int r;

        r = sd_bus_message_enter_container(m, type, contents);
        if (r < 0)
                return r;
        all = dict ? json_object_new_object() : json_object_new_array();
        if (!all)
                return -ENOMEM;
        while ((r = sd_bus_message_at_end(m, false)) == 0) {
                json_object *item;

                r = dict ? read_entry(m, all, depth) : read_any(m, &item, depth);
                if (r < 0)
                        return r;
                if (!dict)
                        json_object_array_add(all, item);
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE(all);
        return 0;
}

static int read_variant(sd_bus_message *m, const char *contents, json_object **ret, unsigned depth)
{
        _cleanup_json_ json_object *value = NULL;
        int r;

        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        r = read_any(m, &value, depth);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;
        *ret = TAKE(value);
        return 0;
}

/* Calls itself by way of the containers; @depth ends that, and the bus bounds it too. */
static int read_any(sd_bus_message *m, json_object **ret, unsigned depth)
{
        const char *contents;
        char type;
        int r;

        if (depth >= MAX_DEPTH)
                return -E2BIG;
        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        if (r == 0)
                return -ENODATA;
        switch (type) {
        case 's':
        case 'o':
        case 'g':
                return read_text(m, type, ret);
        case 'v':
                return read_variant(m, contents, ret, depth + 1);
        case 'a':
        case 'r':
                return read_container(m, type, contents, ret, depth + 1);
        default:
                return read_number(m, type, ret);
        }
}

int value_read(sd_bus_message *m, json_object **ret)
{
        return read_any(m, ret, 0);
}

static int append_list(sd_bus_message *m, json_object *list)
{
        int r;

        r = sd_bus_message_open_container(m, 'v', "as");
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "s");
        if (r < 0)
                return r;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                r = sd_bus_message_append(m, "s", value_item(list, i));
                if (r < 0)
                        return r;
        }
        r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_value(sd_bus_message *m, json_object *value)
{
        int r;

        switch (json_object_get_type(value)) {
        case json_type_boolean:
                return sd_bus_message_append(m, "v", "b", (int) json_object_get_boolean(value));
        case json_type_int:
                return sd_bus_message_append(m, "v", "t", json_object_get_uint64(value));
        case json_type_string:
                return sd_bus_message_append(m, "v", "s", json_object_get_string(value));
        case json_type_array:
                return append_list(m, value);
        case json_type_object:
                r = sd_bus_message_open_container(m, 'v', "a{sv}");
                if (r < 0)
                        return r;
                r = value_append_dict(m, value);
                return r < 0 ? r : sd_bus_message_close_container(m);
        case json_type_null:
        case json_type_double:
                break;
        }
        return -EINVAL;
}

int value_append_dict(sd_bus_message *m, json_object *dict)
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        json_object_object_foreach(dict, key, value)
        {
                r = sd_bus_message_open_container(m, 'e', "sv");
                if (r < 0)
                        return r;
                r = sd_bus_message_append(m, "s", key);
                if (r < 0)
                        return r;
                r = append_value(m, value);
                if (r < 0)
                        return r;
                r = sd_bus_message_close_container(m);
                if (r < 0)
                        return r;
        }
        return sd_bus_message_close_container(m);
}

json_object *value_kebab(json_object *properties)
{
        json_object *to = json_object_new_object();

        json_object_object_foreach(properties, key, value)
        {
                char name[64];
                size_t n = 0;

                for (const char *p = key; *p && n < sizeof(name) - 2; p++) {
                        if (isupper((unsigned char) *p) && p > key)
                                name[n++] = '-';
                        name[n++] = (char) tolower((unsigned char) *p);
                }
                name[n] = '\0';
                json_object_object_add(to, name, json_object_get(value));
        }
        return to;
}

static json_object *find(json_object *object, const char *key, json_type type)
{
        json_object *value;

        if (!json_object_is_type(object, json_type_object) ||
            !json_object_object_get_ex(object, key, &value) || !json_object_is_type(value, type))
                return NULL;
        return value;
}

const char *value_text(json_object *object, const char *key)
{
        json_object *value = find(object, key, json_type_string);

        return value && json_object_get_string_len(value) > 0 ? json_object_get_string(value)
                                                              : NULL;
}

const char *value_text_or(json_object *object, const char *key, const char *fallback)
{
        return value_text(object, key) ?: fallback;
}

uint64_t value_number(json_object *object, const char *key, uint64_t fallback)
{
        json_object *value = find(object, key, json_type_int);

        return value ? json_object_get_uint64(value) : fallback;
}

bool value_flag(json_object *object, const char *key)
{
        json_object *value = find(object, key, json_type_boolean);

        return value && json_object_get_boolean(value);
}

json_object *value_object(json_object *object, const char *key)
{
        return find(object, key, json_type_object);
}

json_object *value_list(json_object *object, const char *key)
{
        return find(object, key, json_type_array);
}

bool value_has(json_object *object, const char *key)
{
        json_object *value;

        return json_object_is_type(object, json_type_object) &&
               json_object_object_get_ex(object, key, &value) && value;
}

size_t value_length(json_object *list)
{
        return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

const char *value_item(json_object *list, size_t index)
{
        json_object *item = index < value_length(list) ? json_object_array_get_idx(list, index)
                                                       : NULL;

        return json_object_is_type(item, json_type_string) ? json_object_get_string(item) : "";
}

void value_set_text(json_object *object, const char *key, const char *text)
{
        json_object_object_add(object, key, text && *text ? json_object_new_string(text) : NULL);
}

void value_nothing_is_null(json_object *object, const char *key)
{
        json_object *value = find(object, key, json_type_string);

        if (value && (json_object_get_string_len(value) == 0 ||
                      strcmp(json_object_get_string(value), "/") == 0))
                json_object_object_add(object, key, NULL);
}

void value_set_from(json_object *object, const char *key, json_object *from)
{
        json_object *value = NULL;

        if (json_object_is_type(from, json_type_object))
                json_object_object_get_ex(from, key, &value);
        json_object_object_add(object, key, json_object_get(value));
}
