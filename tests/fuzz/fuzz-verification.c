/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A message's beginning against a fixed token: without the token it is never ours. */
#include <string.h>
#include <strings.h>

#include "proto/verification.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static const char token[] = "000102030405060708090a0b0c0d0e0f";
        VerificationMatch match = verification_match((const char *) data, size, token);
        bool found = false;

        for (size_t i = 0; i + 32 <= size && !found; i++)
                found = strncasecmp((const char *) data + i, token, 32) == 0;
        assert(match == VERIFICATION_NO || found);
        return 0;
}
