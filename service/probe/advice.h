/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where a provider has POP3 and IMAP: which one is better here, and why. */
#pragma once

#include "probe/discovery.h"

/* PROTOCOL_POP3 or PROTOCOL_IMAP in @ret_better and a sentence, in static memory; NULL when only one of them was found. By what is known of the
 * provider, before anybody has signed in. */
const char *advice_protocol(const Ranking *ranking, Protocol *ret_better);
