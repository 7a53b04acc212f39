/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The same octets at once and in pieces, whose sizes the first octet chooses, must give the same content. */
#include <string.h>

#include "proto/unstuff.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const char *in = (const char *) data + 1;
        size_t len = size > 0 ? size - 1 : 0, step = size > 0 ? data[0] % 9 + 1 : 1;
        char *whole = malloc(len + 2), *pieces = malloc(len + 2);
        size_t whole_len = 0, consumed = 0, pieces_len = 0, at = 0;
        Unstuff once = {}, often = {};
        int r = 0, ended;

        if (!whole || !pieces || size == 0)
                goto finish;
        ended = unstuff_feed(&once, in, len, &consumed, whole, &whole_len);
        while (r == 0 && at < len) {
                size_t n = MIN(step, len - at), used, out_len;

                r = unstuff_feed(&often, in + at, n, &used, pieces + pieces_len, &out_len);
                pieces_len += out_len;
                at += used;
        }
        assert(r == ended && at == consumed && pieces_len == whole_len);
        assert(memcmp(whole, pieces, whole_len) == 0);
finish:
        free(whole);
        free(pieces);
        return 0;
}
