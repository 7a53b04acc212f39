/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Seals secrets for the database with AES-256-GCM. The key comes from the systemd credential "waypost.key"
 * ($CREDENTIALS_DIRECTORY) or, without one, from a 0600 file in the state directory, made at the first start. */
#pragma once

#include <sys/types.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "base/secret.h"

typedef struct Vault Vault;

/* Returns 0; -EPERM (key file readable by others), -EBADMSG (not a key), -errno. */
int vault_open(Vault **ret, const char *state_directory);
Vault *vault_free(Vault *vault);
DEFINE_CLEANUP(Vault, vault_free);
/* The place (account id, field) is bound in: sealed bytes cannot be moved to another row. */
int vault_seal(Vault *vault, const char *account, const char *field, const Secret *secret,
               Buffer *to);
/* Returns 0, -EBADMSG (wrong key, changed, or another place), -ENOMEM. */
int vault_unseal(Vault *vault, const char *account, const char *field, const void *sealed,
                 size_t len, Secret **ret);
/* A key that was changed: what the old one ("waypost.key.old", or "key.old" in the state directory) has sealed opens too, until it is dropped, which removes the
 * file; the credential is the administrator's to take away. */
bool vault_has_old_key(const Vault *vault);
int vault_drop_old_key(Vault *vault);
/* HMAC-SHA-256 under a key derived from the vault's, for the ledger of refused logins. */
int vault_mark(Vault *vault, uid_t uid, const char *host, const char *user, const Secret *secret,
               uint8_t ret[SHA256_LEN]);
