/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What app passwords of a provider look like, and whether a secret can be one: an account password that was given by mistake is
 * known before it is sent. A shape is written as such a password is shown: "aaaa aaaa aaaa aaaa" with a for a lower-case letter, A for an upper-case
 * one, x for a letter or a digit, 9 for a digit; a blank or a hyphen stands between groups. */
#pragma once

#include "base/secret.h"

typedef enum SecretShape {
        SECRET_SHAPE_FITS, /* or nothing is known against it */
        SECRET_SHAPE_SPACED, /* it fits but for blanks, which are how it was shown and not part of it */
        SECRET_SHAPE_OTHER, /* it is something else */
} SecretShape;

bool secret_shape_is_valid(const char *shape);
/* @shape NULL: not known; then only blanks are remarked. Groups may be joined, and hyphens left away. */
SecretShape secret_shape_judge(const char *shape, const Secret *secret);
