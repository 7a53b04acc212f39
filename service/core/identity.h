/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a message is known by when its UIDL cannot be trusted: 16 octets of the SHA-256 of its header, then 16 of the whole. Header fields
 * in which some servers keep their own notes (Status, X-UIDL ...) and so change from session to session are left out of both. Line ends
 * are as in the file (LF). */
#pragma once

#include "core/record.h"

enum { IDENTITY_HALF = DIGEST_LEN / 2, IDENTITY_NAME_MAX = 16 };

typedef struct Identity Identity;

int identity_new(Identity **ret);
Identity *identity_free(Identity *identity);
DEFINE_CLEANUP(Identity, identity_free);
/* The octets of one message, piece by piece. Returns 0, -EIO. */
int identity_add(Identity *identity, const char *data, size_t len);
/* After the last piece; the next message may begin. */
int identity_end(Identity *identity, uint8_t ret[DIGEST_LEN]);
/* The header's half alone, which TOP shows as well. */
static inline const uint8_t *identity_of_whole(const uint8_t digest[DIGEST_LEN])
{
        return digest + IDENTITY_HALF;
}
