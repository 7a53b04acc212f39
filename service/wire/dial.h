/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Connecting to a host that has several addresses, as RFC 8305 says: families interleaved starting with IPv6, a new
 * attempt every 250 ms or at once when one fails, the first that connects wins. Every attempt is kept. */
#pragma once

#include "wire/address.h"
#include "wire/dns.h"
#include "wire/stream.h"

/* At most LIMIT_CONNECT_USEC. @ret_report (may be NULL) is filled on success. Suspends.
 * Returns 0; 1 with @no: CONNECT (dial has each attempt) or POLICY when no address is allowed; negative errno. */
int dial(Stream **ret, const DnsAddresses *addresses, uint16_t port, unsigned policy,
         DialReport *ret_report, Outcome *no);
/* A server of this machine, by its socket's path. Results as of dial(), at once. */
int dial_unix(Stream **ret, const char *path, Outcome *no);
