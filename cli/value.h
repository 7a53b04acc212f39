/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of the bus as json-c objects and back: a{sv} is an object, as an array, a structure an array. Strings are made
 * printable as they are read, so whatever a server said can go to a terminal from everywhere in the client. */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "cli/util.h"

static inline void json_putp(json_object **p)
{
        json_object_put(*p);
}
#define _cleanup_json_ _cleanup_(json_putp)
#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)

/* Reads the next value of @m. The caller owns it. Returns 0, negative errno. */
int value_read(sd_bus_message *m, json_object **ret);
/* Appends an object as a{sv}: string s, boolean b, integer t, array as, object a{sv}. Returns 0, negative errno. */
int value_append_dict(sd_bus_message *m, json_object *dict);
/* Property names as JSON writes them: LastSuccess is last-success. A new object with the same values. */
json_object *value_kebab(json_object *properties);

/* These borrow; NULL (or @fallback) when the key is missing or of another type, and empty text counts as missing. @object may be NULL. */
const char *value_text(json_object *object, const char *key);
const char *value_text_or(json_object *object, const char *key, const char *fallback);
uint64_t value_number(json_object *object, const char *key, uint64_t fallback);
bool value_flag(json_object *object, const char *key);
json_object *value_object(json_object *object, const char *key);
json_object *value_list(json_object *object, const char *key);
bool value_has(json_object *object, const char *key);
size_t value_length(json_object *list);
/* The text at @index of a list, "" for none. */
const char *value_item(json_object *list, size_t index);

/* Sets a text, null when it is NULL or empty. */
void value_set_text(json_object *object, const char *key, const char *text);
/* Nothing is said by null: an empty text, and the path "/" that stands for no object, become it. */
void value_nothing_is_null(json_object *object, const char *key);
/* Sets what @from has under @key, null when it has nothing. */
void value_set_from(json_object *object, const char *key, json_object *from);
