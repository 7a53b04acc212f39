/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each line of the input as an SMTP reply and its text as an EHLO keyword. */
#include <string.h>

#include "proto/smtp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        SmtpExtensions extensions = {};
        const char *p = (const char *) data, *end = p + size;

        while (p < end) {
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t len = (size_t) ((lf ? lf : end) - p);
                SmtpLine line;

                if (smtp_parse_line(&line, p, len) == 0) {
                        assert(line.text + line.text_len == p + len && line.status >= 200 &&
                               line.status < 600);
                        (void) smtp_parse_extension(&extensions, line.text, line.text_len);
                }
                (void) smtp_parse_extension(&extensions, p, len);
                p += len + (lf != NULL);
        }
        smtp_extensions_clear(&extensions);
        return 0;
}
