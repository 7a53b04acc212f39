/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* a{sv} and the program's Dict, both ways; and the checks that every text of a caller passes. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/dict.h"

/* Reads the next argument of @m, an a{sv}: text, booleans, integers of any width (not below zero), lists of text, and one level of
 * a{sv} inside. Duplicate keys, other types, unclean or too long text and too many entries are refused.
 * Returns 0, or a negative errno with @error filled: it names the key. */
int variant_read(sd_bus_message *m, Dict **ret, sd_bus_error *error);
/* True for what any text of a caller must be: not too long, valid, without control and bidirectional characters. */
bool variant_text_is_fine(const char *text);
/* Reads the next argument of @m, an s called @name in errors. Borrowed from the message. */
int variant_read_text(sd_bus_message *m, const char *name, const char **ret, sd_bus_error *error);
/* Appends @dict as a{sv}; NULL as an empty one. Returns what sd-bus says. */
int variant_append(sd_bus_message *m, const Dict *dict);
/* Refuses the first key of @dict that is not among @keys, or is of another type. */
int variant_check(const Dict *dict, const DictKey *keys, size_t n_keys, sd_bus_error *error);
