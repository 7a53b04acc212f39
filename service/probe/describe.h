/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All that is said of a cause, in the reader's language and with what is known of the case: texts with their places filled, and links to the
 * pages of the provider where it is mended. No page is taken from what a server says: it could be anybody's. */
#pragma once

#include "probe/cause.h"
#include "probe/provider.h"

/* Sets cause, class, severity, who, title, explanation, remedies and links in @to. @locale, @evidence and @provider may be NULL.
 * Returns 0, -ENOMEM. */
int cause_describe(const Cause *cause, const char *locale, const Dict *evidence,
                   const Provider *provider, Dict *to);
