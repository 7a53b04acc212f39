/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Explains lines that somebody has found in a log: the same rules as for our own dialogues, and the catalogue's words about the cause. */
#pragma once

#include "base/dict.h"
#include "probe/provider.h"

enum { EXPLAIN_LINES = 64 }; /* more are not looked at */

/* The keys that @context may have. */
enum { EXPLAIN_KEYS = 6 };
extern const DictKey explain_keys[EXPLAIN_KEYS];

/* @n lines, at most EXPLAIN_LINES of them and 8 KiB, from the first on. @context: protocol, phase, provider, host, succeeded, locale; NULL is
 * none. @providers, whose pages become links, may be NULL. *@ret gets what cause_describe() says, confidence, and, if a provider's own rule
 * decided, provider. An empty cause means that nothing is wrong or nothing is known. Needs causes_load(). Returns 0, -ENOMEM. */
int explain(const char *const *lines, size_t n, const Dict *context, const Providers *providers,
            Dict **ret);
