/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See buffer.h. */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"

void buffer_deinit(Buffer *buffer)
{
        if (buffer->wipe && buffer->data)
                explicit_bzero(buffer->data, buffer->size);
        free(buffer->data);
        buffer->data = NULL;
        buffer->len = buffer->size = 0;
}

static int buffer_grow(Buffer *buffer, size_t needed)
{
        size_t size = MAX(buffer->size, (size_t) 64);
        char *data;

        while (size < needed)
                size *= 2;
        size = MIN(size, buffer->max + 1);
        data = malloc(size);
        if (!data)
                return -ENOMEM;
        if (buffer->data) {
                memcpy(data, buffer->data, buffer->len + 1);
                if (buffer->wipe)
                        explicit_bzero(buffer->data, buffer->size);
                free(buffer->data);
        } else
                data[0] = 0;
        buffer->data = data;
        buffer->size = size;
        return 0;
}

int buffer_reserve(Buffer *buffer, size_t len, char **ret)
{
        int r;

        if (buffer->max >= SIZE_MAX / 4 || len > buffer->max || buffer->len > buffer->max - len)
                return -ENOBUFS;
        if (!buffer->data || buffer->len + len + 1 > buffer->size) {
                r = buffer_grow(buffer, buffer->len + len + 1);
                if (r < 0)
                        return r;
        }
        *ret = buffer->data + buffer->len;
        return 0;
}

void buffer_commit(Buffer *buffer, size_t len)
{
        assert(buffer->len + len < buffer->size);
        buffer->len += len;
        buffer->data[buffer->len] = 0;
}

int buffer_append(Buffer *buffer, const void *data, size_t len)
{
        char *to;
        int r;

        r = buffer_reserve(buffer, len, &to);
        if (r < 0)
                return r;
        if (len > 0)
                memcpy(to, data, len);
        buffer_commit(buffer, len);
        return 0;
}

int buffer_append_text(Buffer *buffer, const char *text)
{
        return buffer_append(buffer, text, strlen(text));
}

int buffer_printf(Buffer *buffer, const char *format, ...)
{
        va_list ap;
        char *to;
        int n, r;

        va_start(ap, format);
        n = vsnprintf(NULL, 0, format, ap);
        va_end(ap);
        if (n < 0)
                return -EINVAL;
        r = buffer_reserve(buffer, (size_t) n, &to);
        if (r < 0)
                return r;
        va_start(ap, format);
        vsnprintf(to, (size_t) n + 1, format, ap);
        va_end(ap);
        buffer_commit(buffer, (size_t) n);
        return 0;
}

void buffer_consume(Buffer *buffer, size_t len)
{
        assert(len <= buffer->len);
        if (!buffer->data)
                return;
        memmove(buffer->data, buffer->data + len, buffer->len - len + 1);
        if (buffer->wipe)
                explicit_bzero(buffer->data + buffer->len - len + 1, len);
        buffer->len -= len;
}

void buffer_clear(Buffer *buffer)
{
        if (buffer->wipe && buffer->data)
                explicit_bzero(buffer->data, buffer->size);
        buffer->len = 0;
        if (buffer->data)
                buffer->data[0] = 0;
}

int buffer_take(Buffer *buffer, char **ret)
{
        char *unused;
        int r;

        r = buffer_reserve(buffer, 0, &unused);
        if (r < 0)
                return r;
        *ret = TAKE(buffer->data);
        buffer->len = buffer->size = 0;
        return 0;
}
