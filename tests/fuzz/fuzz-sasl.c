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
        const char *mechanism = size > 0 && data[0] & 1 ? "PLAIN" : "LOGIN";

        if (secret_new(&secret, "secret", 6) < 0 ||
            sasl_new(&sasl, mechanism, "user", secret, "pop", "mail.example.org") < 0)
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
