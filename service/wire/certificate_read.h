/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between tls and certificate, for nobody else: facts out of OpenSSL's objects. */
#pragma once

#include <openssl/x509.h>

#include "wire/certificate.h"

/* Reads the facts of @leaf: no faults, errors, protocol or chain yet. Returns 0, -ENOMEM, -EIO. */
int certificate_read(Certificate **ret, X509 *leaf);

/* Adds one of OpenSSL's verify errors: its words, and the bit it stands for. Errors that say "the issuer is not
 * known" get their bit from certificate_judge_end(). Returns 0, -ENOMEM. */
int certificate_add_error(Certificate *certificate, int error);

/* Says whether @error means that the chain ended without a trust anchor, but not why. */
bool certificate_error_is_end(int error);

/* The chain of what was sent ended at @end, @depth issuers above the leaf, whose issuer nobody knows. Returns which
 * of INCOMPLETE_CHAIN and UNTRUSTED_CA this can be. Without a network this is not always knowable, then both. */
unsigned certificate_judge_end(X509 *end, int depth);
