/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See stuff.h. */
#include "proto/stuff.h"

size_t stuff_feed(Stuff *stuff, const char *in, size_t len, char *out)
{
        size_t n = 0;

        for (size_t i = 0; i < len; i++) {
                if (in[i] == '\n') {
                        out[n++] = '\r';
                        out[n++] = '\n';
                        stuff->in_line = stuff->after_cr = false;
                        continue;
                }
                stuff->ambiguous |= stuff->after_cr && in[i] == '.';
                if (in[i] == '.' && !stuff->in_line && stuff->dots)
                        out[n++] = '.';
                out[n++] = in[i];
                stuff->in_line = true;
                stuff->after_cr = in[i] == '\r';
        }
        return n;
}
