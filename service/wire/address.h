/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which addresses may be connected to. Checked on the very address that is given to connect(), so that no name
 * can point elsewhere afterwards. IPv4 inside IPv6 (mapped, 6to4, NAT64) counts as what is inside. */
#pragma once

#include <sys/socket.h>

#include "base/util.h"

typedef enum AddressPolicy {
        ADDRESS_PUBLIC = 0,       /* global unicast only (documentation ranges count as such) */
        ADDRESS_PRIVATE = 1 << 0, /* also RFC 1918, unique local, shared address space */
        ADDRESS_LOCAL = 1 << 1,   /* also loopback and link-local */
} AddressPolicy;

bool address_allowed(const struct sockaddr *address, unsigned policy);
/* "127.0.0.1", "2001:db8::10"; @ret has room for 48. */
void address_text(const struct sockaddr *address, char ret[48]);
