/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lines of the input as the server's challenges. */
#include <string.h>

#include "base/limits.h"
#include "proto/sasl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_(sasl_freep) Sasl *sasl = NULL;
        const char *p = (const char *) data, *end = p + size;
        static const char *const mechanisms[] = { "PLAIN",    "LOGIN",       "SCRAM-SHA-256",
                                                  "CRAM-MD5", "OAUTHBEARER", "XOAUTH2" };
        const char *mechanism = mechanisms[size > 0 ? data[0] % 6 : 0];
        SaslLogin login = { .user = "user", .service = "pop", .host = "mail.example.org" };

        if (secret_new(&secret, "secret", 6) < 0)
                return 0;
        login.secret = secret;
        if (sasl_new(&sasl, mechanism, &login) < 0)
                return 0;
        while (p < end) {
                _cleanup_buffer_ Buffer response = BUFFER_SECRET(LIMIT_TOKEN);
                const char *lf = memchr(p, '\n', (size_t) (end - p));
                size_t len = (size_t) ((lf ? lf : end) - p);

                if (sasl_step(sasl, p, len, &response) < 0)
                        assert(response.len == 0);
                p += len + (lf != NULL);
        }
        return 0;
}
