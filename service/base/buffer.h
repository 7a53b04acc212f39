/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Growing bytes with a ceiling by construction. Always one NUL behind the end, not counted. */
#pragma once

#include <stdarg.h>

#include "base/util.h"

typedef struct Buffer {
        char *data; /* NULL while nothing was appended; then data[len] == 0 */
        size_t len, size, max;
        bool wipe; /* held something secret: cleared before it is freed or moved */
} Buffer;

/* A buffer on the stack or in a struct: Buffer b = BUFFER(4096); */
#define BUFFER(max_len) ((Buffer){ .max = (max_len) })
#define BUFFER_SECRET(max_len) ((Buffer){ .max = (max_len), .wipe = true })

void buffer_deinit(Buffer *buffer);
#define _cleanup_buffer_ _cleanup_(buffer_deinit)

/* Each returns 0, -ENOMEM, or -ENOBUFS when the ceiling would be passed (then nothing was appended). */
int buffer_append(Buffer *buffer, const void *data, size_t len);
int buffer_append_text(Buffer *buffer, const char *text);
int buffer_printf(Buffer *buffer, const char *format, ...) _printf_(2, 3);
/* Makes room for @len more bytes and returns where they go; buffer_commit() says how many came. */
int buffer_reserve(Buffer *buffer, size_t len, char **ret);
void buffer_commit(Buffer *buffer, size_t len);
/* Drops @len bytes from the front. */
void buffer_consume(Buffer *buffer, size_t len);
void buffer_clear(Buffer *buffer);
/* Gives the bytes away as a NUL-terminated string (never NULL unless -ENOMEM) and empties the buffer. */
int buffer_take(Buffer *buffer, char **ret);
