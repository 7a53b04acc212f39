/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See unstuff.h. The way of all fetched mail, so whole lines are found by memchr() and copied by memcpy(); the states
 * matter only for the few octets around the end of a piece. Only LF is searched for: a CR anywhere else is content. */
#include <string.h>

#include "proto/unstuff.h"

enum {
        AT_START = 0, /* at the beginning of a line; also of the message */
        INSIDE,       /* in the middle of a line */
        AFTER_CR,     /* the last octet was a CR, which is not yet written: LF may follow */
        AFTER_DOT, /* a dot at the beginning of a line, not written: stuffed, or the terminator */
        AFTER_DOT_CR, /* the same and a CR, neither written */
        ENDED,
};

/* Copies what is sure to be content, from the middle of a line to the next point where a state matters: the beginning
 * of a line with a dot, a CR at the end of the piece, the end. Returns the octets read. */
static size_t copy_lines(unsigned *state, const char *in, size_t len, char **out)
{
        const char *p = in, *end = in + len;

        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t n = (size_t) ((lf ? lf : end) - p);

                if (!lf) {
                        *state = end[-1] == '\r' ? AFTER_CR : INSIDE;
                        n -= *state == AFTER_CR;
                        memcpy(*out, p, n);
                        *out += n;
                        return len;
                }
                *state = n > 0 && lf[-1] == '\r' ? AT_START : INSIDE;
                n -= *state == AT_START;
                memcpy(*out, p, n);
                (*out)[n] = '\n';
                *out += n + 1;
                p = lf + 1;
                if (*state == AT_START && p < end && *p == '.')
                        break;
        }
        return (size_t) (p - in);
}

/* One octet where the state matters. Returns false when it has to be looked at again in the new state. */
static bool feed_octet(unsigned *state, char c, char **out)
{
        switch (*state) {
        case AT_START:
                *state = c == '.' ? AFTER_DOT : INSIDE;
                return c == '.';
        case AFTER_CR:
                if (c == '\n') {
                        *(*out)++ = '\n';
                        *state = AT_START;
                        return true;
                }
                *(*out)++ = '\r';
                *state = INSIDE;
                return false;
        case AFTER_DOT:
                /* RFC 1939 section 3: the dot goes, whatever follows it, unless that is CRLF. */
                *state = c == '\r' ? AFTER_DOT_CR : INSIDE;
                return c == '\r';
        case AFTER_DOT_CR:
                *state = c == '\n' ? ENDED : AFTER_CR;
                return c == '\n';
        default:
                return true;
        }
}

int unstuff_feed(Unstuff *unstuff, const char *in, size_t len, size_t *ret_consumed, char *out,
                 size_t *ret_out)
{
        unsigned state = unstuff->state;
        char *to = out;
        size_t i = 0;

        while (i < len && state != ENDED) {
                if (state == INSIDE || (state == AT_START && in[i] != '.'))
                        i += copy_lines(&state, in + i, len - i, &to);
                else if (feed_octet(&state, in[i], &to))
                        i++;
        }
        unstuff->state = state;
        *ret_consumed = i;
        *ret_out = (size_t) (to - out);
        return state == ENDED;
}
