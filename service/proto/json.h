/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Foreign JSON: RFC 8259 to the letter, checked here, because json-c forgives more (NaN, comments, control characters, numbers like 01)
 * and what two readers understand differently is a way in. */
#pragma once

#include <json-c/json.h>

#include "base/limits.h"
#include "base/util.h"

/* One JSON text of at most LIMIT_DOCUMENT octets and LIMIT_DEPTH levels, UTF-8 without a byte order mark; no surrogate stands alone. */
bool json_is_valid(const char *text, size_t len);
/* Parses what json_is_valid(). Put with json_object_put(). Returns 0, -EBADMSG, -ENOMEM. */
int json_read(json_object **ret, const char *text, size_t len);
/* The object, boolean or text under @key; NULL (or -1 for a boolean) when it is missing or something else. Borrowed. */
json_object *json_member(json_object *object, const char *key);
int json_flag(json_object *object, const char *key);
/* A text of at most @max octets without control characters. */
const char *json_text(json_object *object, const char *key, size_t max);
/* Wipes the text under @key: what the library gives out as const is its own heap copy. For secrets, before the object is put. */
void json_wipe(json_object *object, const char *key);
