/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords and tokens: counted, kept in OpenSSL's secure heap (locked, not dumped, guard pages), wiped when the
 * last reference goes. Opaque, so that no printf can take one by mistake. */
#pragma once

#include "base/util.h"

typedef struct Secret Secret;

/* Prepares the secure heap and forbids core dumps; once at start, before threads. Returns 0, -ENOMEM. */
int secret_setup(void);

/* Copies @len bytes (1..LIMIT_TOKEN). Returns 0, -ENOMEM, -EINVAL (empty or too long). */
int secret_new(Secret **ret, const void *data, size_t len);
Secret *secret_ref(Secret *secret);
Secret *secret_unref(Secret *secret);
DEFINE_CLEANUP(Secret, secret_unref);

/* NUL-terminated for convenience; the bytes may contain NUL. Borrowed. */
const char *secret_data(const Secret *secret);
size_t secret_len(const Secret *secret);
/* In constant time for equal lengths. NULL equals only NULL. */
bool secret_equal(const Secret *a, const Secret *b);
