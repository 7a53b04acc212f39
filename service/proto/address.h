/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mail addresses and host names as people type them. IDN by libidn2, public suffixes by libpsl. */
#pragma once

#include "base/limits.h"
#include "base/util.h"

typedef struct MailAddress {
        char *address; /* as it goes on the wire: local part as typed, domain as A-labels in lower case */
        char *local;
        char *domain;         /* A-labels, lower case */
        char *domain_unicode; /* as to be shown; the A-labels again where scripts mix */
} MailAddress;

/* Blanks around and a "Name <address>" wrapping are tolerated. Returns 0; -EINVAL: not an address, @ret_why (may be NULL) says
 * in a few words what is wrong (static text); -ENOMEM. */
int mail_address_parse(MailAddress **ret, const char *text, const char **ret_why);
MailAddress *mail_address_free(MailAddress *address);
DEFINE_CLEANUP(MailAddress, mail_address_free);

/* A host name (or IP literal) as A-labels in lower case, without a final dot. Returns 0, -EINVAL, -ENOMEM. */
int host_normalize(char **ret, const char *host);
bool host_is_literal(const char *host);
/* The registrable domain ("example.co.uk"); the host itself when it has none (IP literals, single labels). 0, -ENOMEM. */
int host_registrable(char **ret, const char *host);
/* True when both have the same registrable domain. */
bool host_same_organisation(const char *a, const char *b);
