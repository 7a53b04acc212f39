/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See digest.h. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/random.h>

#include "base/digest.h"

int sha256(const void *data, size_t len, uint8_t ret[SHA256_LEN])
{
        return EVP_Digest(data, len, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

int sha256_text(const void *data, size_t len, char ret[SHA256_HEX])
{
        uint8_t digest[SHA256_LEN];
        int r = sha256(data, len, digest);

        if (r == 0)
                hex_encode(ret, digest, sizeof(digest));
        return r;
}

int hmac_sha256(const void *key, size_t key_len, const void *data, size_t len,
                uint8_t ret[SHA256_LEN])
{
        unsigned n = SHA256_LEN;

        return HMAC(EVP_sha256(), key, (int) key_len, data, len, ret, &n) ? 0 : -EIO;
}

struct Sha256 {
        EVP_MD_CTX *context;
};

int sha256_new(Sha256 **ret)
{
        _cleanup_(sha256_freep) Sha256 *hash = calloc(1, sizeof(*hash));

        if (!hash)
                return -ENOMEM;
        hash->context = EVP_MD_CTX_new();
        if (!hash->context)
                return -ENOMEM;
        if (EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1)
                return -EIO;
        *ret = TAKE(hash);
        return 0;
}

Sha256 *sha256_free(Sha256 *hash)
{
        if (hash)
                EVP_MD_CTX_free(hash->context);
        free(hash);
        return NULL;
}

int sha256_add(Sha256 *hash, const void *data, size_t len)
{
        return len == 0 || EVP_DigestUpdate(hash->context, data, len) == 1 ? 0 : -EIO;
}

int sha256_end(Sha256 *hash, uint8_t ret[SHA256_LEN])
{
        int done = EVP_DigestFinal_ex(hash->context, ret, NULL);

        return EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) == 1 && done == 1 ? 0 : -EIO;
}

int random_bytes(void *to, size_t len)
{
        return len <= INT32_MAX && RAND_bytes(to, (int) len) == 1 ? 0 : -EIO;
}

void hex_encode(char *to, const void *data, size_t len)
{
        static const char digits[] = "0123456789abcdef";
        const uint8_t *p = data;

        for (size_t i = 0; i < len; i++) {
                to[2 * i] = digits[p[i] >> 4];
                to[2 * i + 1] = digits[p[i] & 15];
        }
        to[2 * len] = 0;
}

static int hex_digit(char c)
{
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
}

int hex_decode(uint8_t *to, const char *hex, size_t hex_len)
{
        if (hex_len % 2)
                return -EINVAL;
        for (size_t i = 0; i < hex_len; i += 2) {
                int high = hex_digit(hex[i]), low = hex_digit(hex[i + 1]);

                if (high < 0 || low < 0)
                        return -EINVAL;
                to[i / 2] = (uint8_t) (high << 4 | low);
        }
        return 0;
}

int random_hex(char *to, size_t n_bytes)
{
        uint8_t bytes[64];
        int r;

        assert(n_bytes <= sizeof(bytes));
        r = random_bytes(bytes, n_bytes);
        if (r == 0)
                hex_encode(to, bytes, n_bytes);
        return r;
}

uint64_t random_below(uint64_t bound)
{
        uint64_t value = 0;

        /* The bias of one modulo over 64 bits is far below what jitter and indices can notice. */
        if (random_bytes(&value, sizeof(value)) < 0 && getrandom(&value, sizeof(value), 0) < 0)
                value = 0;
        return value % bound;
}

int base64_encode(Buffer *to, const void *data, size_t len)
{
        char *out;
        int r;

        if (len > INT32_MAX / 2)
                return -ENOBUFS;
        r = buffer_reserve(to, (len + 2) / 3 * 4, &out);
        if (r < 0)
                return r;
        buffer_commit(to, (size_t) EVP_EncodeBlock((unsigned char *) out, data, (int) len));
        return 0;
}

int base64_decode(Buffer *to, const char *text, size_t len)
{
        size_t padding = len > 0 && text[len - 1] == '=' ? len > 1 && text[len - 2] == '=' ? 2 : 1
                                                         : 0;
        char *out;
        int n, r;

        /* EVP_DecodeBlock() forgives blanks around the text; we do not. */
        for (size_t i = 0; i < len - padding; i++)
                if (!((text[i] >= 'A' && text[i] <= 'Z') || (text[i] >= 'a' && text[i] <= 'z') ||
                      (text[i] >= '0' && text[i] <= '9') || text[i] == '+' || text[i] == '/'))
                        return -EINVAL;
        if (len % 4 || len > INT32_MAX / 2)
                return -EINVAL;
        r = buffer_reserve(to, len / 4 * 3, &out);
        if (r < 0)
                return r;
        n = len ? EVP_DecodeBlock((unsigned char *) out, (const unsigned char *) text, (int) len)
                : 0;
        if (n < 0 || (size_t) n < padding)
                return -EINVAL;
        buffer_commit(to, (size_t) n - padding);
        return 0;
}

static EVP_CIPHER_CTX *cipher_free(EVP_CIPHER_CTX *context)
{
        EVP_CIPHER_CTX_free(context);
        return NULL;
}
DEFINE_CLEANUP(EVP_CIPHER_CTX, cipher_free);

int seal(Buffer *to, const uint8_t key[KEY_LEN], const void *aad, size_t aad_len, const void *data,
         size_t len)
{
        _cleanup_(cipher_freep) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        unsigned char *out;
        int n, r;

        if (!context)
                return -ENOMEM;
        if (len > INT32_MAX / 2 || aad_len > INT32_MAX)
                return -ENOBUFS;
        r = buffer_reserve(to, SEAL_NONCE + len + SEAL_TAG, (char **) &out);
        if (r < 0)
                return r;
        r = random_bytes(out, SEAL_NONCE);
        if (r < 0)
                return r;
        if (EVP_EncryptInit_ex2(context, EVP_aes_256_gcm(), key, out, NULL) != 1 ||
            EVP_EncryptUpdate(context, NULL, &n, aad, (int) aad_len) != 1 ||
            EVP_EncryptUpdate(context, out + SEAL_NONCE, &n, data, (int) len) != 1 ||
            EVP_EncryptFinal_ex(context, out + SEAL_NONCE + len, &n) != 1 ||
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, SEAL_TAG, out + SEAL_NONCE + len) !=
                    1)
                return -EIO;
        buffer_commit(to, SEAL_NONCE + len + SEAL_TAG);
        return 0;
}

int unseal(Buffer *to, const uint8_t key[KEY_LEN], const void *aad, size_t aad_len,
           const void *sealed, size_t len)
{
        _cleanup_(cipher_freep) EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
        const uint8_t *in = sealed;
        uint8_t tag[SEAL_TAG];
        unsigned char *out;
        int n, r;

        if (!context)
                return -ENOMEM;
        if (len < SEAL_NONCE + SEAL_TAG || len > INT32_MAX / 2)
                return -EBADMSG;
        len -= SEAL_NONCE + SEAL_TAG;
        memcpy(tag, in + SEAL_NONCE + len, SEAL_TAG);
        r = buffer_reserve(to, len, (char **) &out);
        if (r < 0)
                return r;
        if (EVP_DecryptInit_ex2(context, EVP_aes_256_gcm(), key, in, NULL) != 1 ||
            EVP_DecryptUpdate(context, NULL, &n, aad, (int) aad_len) != 1 ||
            EVP_DecryptUpdate(context, out, &n, in + SEAL_NONCE, (int) len) != 1 ||
            EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, SEAL_TAG, tag) != 1)
                return -EIO;
        if (EVP_DecryptFinal_ex(context, out + len, &n) != 1) {
                explicit_bzero(out, len);
                return -EBADMSG;
        }
        buffer_commit(to, len);
        return 0;
}
