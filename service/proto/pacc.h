/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* PACC (draft-ietf-mailmaint-pacc): the JSON document that a domain publishes about its own mail servers, and the digest of it in DNS, which
 * is its second witness. Read as two implementations of drafts 02 and 03 do; the later name of a key and the earlier one are both understood. */
#pragma once

#include "base/limits.h"
#include "base/util.h"

typedef struct Pacc {
        char *pop3, *imap,
                *submit; /* hosts, normalized; NULL not offered. Implicit TLS on the standard ports */
        bool no_password;    /* authentication.password is false: sign in by OAuth */
        char *oauth_issuer;  /* https only; NULL none */
        char *name;          /* of the provider; NULL */
        char *documentation; /* https only; NULL */
} Pacc;

/* Returns 0 with at least one host, -EBADMSG, -ENOMEM. */
int pacc_parse(Pacc **ret, const char *document, size_t len);
Pacc *pacc_free(Pacc *pacc);
DEFINE_CLEANUP(Pacc, pacc_free);

/* Does one of the TXT records (the strings of each joined) name the SHA-256 of exactly these bytes? Order of tags, blanks, a last semicolon and
 * unknown tags do not matter. */
bool pacc_digest_matches(char *const *records, const char *document, size_t len);
