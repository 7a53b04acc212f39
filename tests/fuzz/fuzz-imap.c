/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each line of the input as every kind of IMAP response, and the input as one with literals in it. */
#include <string.h>

#include "proto/imap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void each(const char *p, size_t len)
{
        ImapFolder folder;
        ImapFetch fetch;
        ImapReply reply;
        uint64_t literal;
        size_t octets;

        if (imap_literal_at_end(p, len, &literal, &octets) == 1)
                assert(octets <= len && literal <= INT64_MAX);
        if (imap_parse_reply(&reply, p, len) < 0)
                return;
        assert(strlen(reply.code) < sizeof(reply.code) && strlen(reply.name) < sizeof(reply.name));
        if (reply.status != IMAP_DATA)
                assert(reply.text + reply.text_len == p + len);
        if (!reply.data)
                return;
        assert(reply.data + reply.data_len == p + len);
        if (imap_parse_fetch(&fetch, reply.data, reply.data_len) == 0 &&
            fetch.body == IMAP_BODY_HERE)
                assert(fetch.data >= p && fetch.data + fetch.data_len <= p + len);
        if (imap_parse_list(&folder, reply.data, reply.data_len) == 0) {
                Buffer name = BUFFER(4 * LIMIT_FOLDER), wire = BUFFER(16 * LIMIT_FOLDER);

                assert(folder.name[0] && strlen(folder.name) <= LIMIT_FOLDER);
                if (imap_name_to_utf8(&name, folder.name) == 0 && name.data)
                        (void) imap_name_from_utf8(&wire, name.data);
                buffer_deinit(&name);
                buffer_deinit(&wire);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        ImapCapabilities capabilities = {};
        const char *p = (const char *) data, *end = p + size;

        each(p, size);
        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t len = (size_t) ((lf ? lf : end) - p);

                each(p, len);
                (void) imap_parse_capabilities(&capabilities, p, len);
                p += len + (lf != NULL);
        }
        imap_capabilities_clear(&capabilities);
        return 0;
}
