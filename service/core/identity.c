/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See identity.h. Not a parser of mail: it sees lines, and the names in front of their colons. */
#include "core/identity.h"

#include <string.h>

#include "base/digest.h"
#include "base/text.h"

struct Identity {
        Sha256 *header, *whole;
        enum { LINE_START, LINE_TAKEN, LINE_LEFT_OUT, BODY } at;
        char name
                [IDENTITY_NAME_MAX]; /* what is not hashed yet of a line that may have to be left out */
        size_t name_len;
        bool left_out; /* the field before: a folded line goes with it */
};

static const char *const notes[] = { "Status:",     "X-Status:", "X-UIDL:",
                                     "X-Keywords:", "X-IMAP:",   "X-IMAPbase:" };

int identity_new(Identity **ret)
{
        _cleanup_(identity_freep) Identity *identity = calloc(1, sizeof(*identity));
        int r = identity ? sha256_new(&identity->header) : -ENOMEM;

        if (r == 0)
                r = sha256_new(&identity->whole);
        if (r < 0)
                return r;
        *ret = TAKE(identity);
        return 0;
}

Identity *identity_free(Identity *identity)
{
        if (!identity)
                return NULL;
        sha256_free(identity->header);
        sha256_free(identity->whole);
        free(identity);
        return NULL;
}

static int header_add(Identity *i, const char *data, size_t len)
{
        int r = sha256_add(i->header, data, len);

        return r < 0 ? r : sha256_add(i->whole, data, len);
}

/* Takes octets of the line's beginning until it is known what becomes of the line. Returns how many it took, negative errno. */
static int line_begin(Identity *i, const char *data, size_t len)
{
        size_t n = 0;
        bool decided = false;

        while (n < len && !decided) {
                char c = data[n++];

                i->name[i->name_len++] = c;
                decided = c == ':' || c == '\n' || i->name_len == sizeof(i->name) ||
                          (i->name_len == 1 && (c == ' ' || c == '\t'));
        }
        if (!decided)
                return (int) n;
        if (i->name[0] != ' ' && i->name[0] != '\t') {
                i->left_out = false;
                for (size_t k = 0; k < ELEMENTS(notes); k++)
                        i->left_out |= i->name_len == strlen(notes[k]) &&
                                       strncasecmp(i->name, notes[k], i->name_len) == 0;
        }
        i->at = i->left_out ? LINE_LEFT_OUT : LINE_TAKEN;
        if (i->name[i->name_len - 1] == '\n')
                i->at = i->name_len == 1 ? BODY : LINE_START;
        if (!i->left_out && header_add(i, i->name, i->name_len) < 0)
                return -EIO;
        i->name_len = 0;
        return (int) n;
}

int identity_add(Identity *identity, const char *data, size_t len)
{
        while (len > 0 && identity->at != BODY) {
                const char *end;
                size_t n;

                if (identity->at == LINE_START) {
                        int taken = line_begin(identity, data, len);

                        if (taken < 0)
                                return taken;
                        n = (size_t) taken;
                } else {
                        end = memchr(data, '\n', len);
                        n = end ? (size_t) (end - data) + 1 : len;
                        if (identity->at == LINE_TAKEN && header_add(identity, data, n) < 0)
                                return -EIO;
                        if (end)
                                identity->at = LINE_START;
                }
                data += n;
                len -= n;
        }
        return sha256_add(identity->whole, data, len);
}

int identity_end(Identity *identity, uint8_t ret[DIGEST_LEN])
{
        uint8_t header[SHA256_LEN], whole[SHA256_LEN];
        int r = header_add(identity, identity->name, identity->name_len), again;

        again = sha256_end(identity->header, header);
        r = r < 0 ? r : again;
        again = sha256_end(identity->whole, whole);
        r = r < 0 ? r : again;
        identity->at = LINE_START;
        identity->name_len = 0;
        identity->left_out = false;
        if (r < 0)
                return r;
        memcpy(ret, header, IDENTITY_HALF);
        memcpy(ret + IDENTITY_HALF, whole, IDENTITY_HALF);
        return 0;
}
