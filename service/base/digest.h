/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hashes, random bytes, base64, hex and sealing, over OpenSSL's EVP. */
#pragma once

#include "base/buffer.h"
#include "base/util.h"

enum { SHA256_LEN = 32, SHA256_HEX = 65, KEY_LEN = 32, SEAL_NONCE = 12, SEAL_TAG = 16 };

/* Each returns 0 or -EIO when OpenSSL fails. */
int sha256(const void *data, size_t len, uint8_t ret[SHA256_LEN]);
int sha256_text(const void *data, size_t len, char ret[SHA256_HEX]);
int hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                uint8_t ret[SHA256_LEN]);
/* SHA-256 of what comes piece by piece. One is used for many: _end() makes it ready for the next. */
typedef struct Sha256 Sha256;
int sha256_new(Sha256 **ret);
Sha256 *sha256_free(Sha256 *hash);
DEFINE_CLEANUP(Sha256, sha256_free);
int sha256_add(Sha256 *hash, const void *data, size_t len);
int sha256_end(Sha256 *hash, uint8_t ret[SHA256_LEN]);
int random_bytes(void *to, size_t len);

/* Lower case; @to has room for 2*len+1. */
void hex_encode(char *to, const void *data, size_t len);
/* @hex_len digits into hex_len/2 bytes. Returns 0, -EINVAL. */
int hex_decode(uint8_t *to, const char *hex, size_t hex_len);
/* 2*@n_bytes random hex digits. @to has room for 2*n_bytes+1. */
int random_hex(char *to, size_t n_bytes);
/* A random number below @bound (> 0). */
uint64_t random_below(uint64_t bound);

/* Appends RFC 4648 section 4 text without line ends. Returns 0, -ENOMEM, -ENOBUFS. */
int base64_encode(Buffer *to, const void *data, size_t len);
/* Appends the bytes. Returns 0, -EINVAL, -ENOMEM, -ENOBUFS. */
int base64_decode(Buffer *to, const char *text, size_t len);

/* AES-256-GCM: appends nonce, ciphertext and tag to @to. @aad binds the sealed bytes to their place. */
int seal(Buffer *to, const uint8_t key[KEY_LEN], const void *aad, size_t aad_len, const void *data,
         size_t len);
/* Returns 0, -EBADMSG (wrong key, changed bytes or another place), -ENOMEM, -ENOBUFS. */
int unseal(Buffer *to, const uint8_t key[KEY_LEN], const void *aad, size_t aad_len,
           const void *sealed, size_t len);
