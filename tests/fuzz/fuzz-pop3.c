/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each line of the input as every kind of POP3 line. */
#include <string.h>

#include "proto/pop3.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        Pop3Capabilities capabilities = {};
        const char *p = (const char *) data, *end = p + size;

        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t len = (size_t) ((lf ? lf : end) - p);
                char uidl[LIMIT_UIDL + 1] = "";
                uint64_t messages, octets;
                Pop3Reply reply;
                uint32_t number;

                if (pop3_parse_reply(&reply, p, len) == 0)
                        assert(reply.text + reply.text_len == p + len && strlen(reply.code) < 48);
                (void) pop3_parse_stat(p, len, &messages, &octets);
                (void) pop3_parse_list_entry(p, len, &number, &octets);
                if (pop3_parse_uidl_entry(p, len, &number, uidl) == 0)
                        assert(number > 0 && uidl[0] && strlen(uidl) <= LIMIT_UIDL);
                (void) pop3_parse_capability(&capabilities, p, len);
                p += len + (lf != NULL);
        }
        pop3_capabilities_clear(&capabilities);
        return 0;
}
