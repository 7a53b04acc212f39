/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's files: small, read whole, in order of name. */
#pragma once

#include "base/util.h"

/* Calls @take for each file in @directory whose name ends in @ending and is no hidden one; an absent directory is empty. A file that is unreadable,
 * too big (LIMIT_DOCUMENT) or none is logged and left out. @text is NUL-terminated behind @len. Returns 0, or what @take or memory say. */
int local_files_read(const char *directory, const char *ending,
                     int (*take)(const char *path, const char *text, size_t len, void *userdata),
                     void *userdata);
