/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first octet chooses place and protocol; the other lines are what a server said. A cause must be a rule's own. */
#include <limits.h>
#include <string.h>

#include "probe/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const protocols[] = {
        NULL, "pop3", "imap", "smtp", "oauth", "tls", "dns", "tcp"
};
static const char *const phases[] = { NULL,   "greeting", "login", "stat",
                                      "uidl", "rcpt",     "data",  "starttls" };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        ReplyQuestion question = {};
        char text[4096];
        const char *lines[16];
        size_t n = 0, len;
        ReplyVerdict verdict;

        if (size == 0)
                return 0;
        question.protocol = protocols[data[0] % ELEMENTS(protocols)];
        question.phase = phases[data[0] / ELEMENTS(protocols) % ELEMENTS(phases)];
        len = MIN(size - 1, sizeof(text) - 1);
        memcpy(text, data + 1, len);
        text[len] = '\0';
        for (char *p = text, *next; p && n < ELEMENTS(lines); p = next) {
                next = strchr(p, '\n');
                if (next)
                        *next++ = '\0';
                lines[n++] = p;
        }
        reply_explain(&question, lines, n, &verdict);
        assert(verdict.cause[0] ? verdict.rule != UINT_MAX : verdict.rule == UINT_MAX);
        return 0;
}
