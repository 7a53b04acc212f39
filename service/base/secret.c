/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See secret.h. When the secure heap was not set up OpenSSL falls back to the ordinary one, and when it is full we
 * do; the bytes are wiped all the same. */
#include <openssl/crypto.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/limits.h"
#include "base/secret.h"

enum { SECURE_HEAP = 1024 * 1024, SECURE_MIN = 64 };

struct Secret {
        unsigned n_ref;
        size_t len;
        char data[];
};

int secret_setup(void)
{
        const struct rlimit none = { 0, 0 };

        /* 2 means that the pages could not be locked; they are still not dumped. */
        if (CRYPTO_secure_malloc_init(SECURE_HEAP, SECURE_MIN) == 0)
                return -ENOMEM;
        if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0) < 0)
                return -errno;
        return 0;
}

int secret_new(Secret **ret, const void *data, size_t len)
{
        Secret *secret;

        if (len == 0 || len > LIMIT_TOKEN)
                return -EINVAL;
        secret = OPENSSL_secure_zalloc(sizeof(*secret) + len + 1);
        if (!secret)
                secret = OPENSSL_zalloc(sizeof(*secret) + len + 1);
        if (!secret)
                return -ENOMEM;
        secret->n_ref = 1;
        secret->len = len;
        memcpy(secret->data, data, len);
        *ret = secret;
        return 0;
}

Secret *secret_ref(Secret *secret)
{
        if (secret)
                __atomic_add_fetch(&secret->n_ref, 1, __ATOMIC_RELAXED);
        return secret;
}

Secret *secret_unref(Secret *secret)
{
        if (secret && __atomic_sub_fetch(&secret->n_ref, 1, __ATOMIC_ACQ_REL) == 0)
                OPENSSL_secure_clear_free(secret, sizeof(*secret) + secret->len + 1);
        return NULL;
}

const char *secret_data(const Secret *secret)
{
        return secret->data;
}

size_t secret_len(const Secret *secret)
{
        return secret->len;
}

bool secret_equal(const Secret *a, const Secret *b)
{
        if (!a || !b)
                return a == b;
        return a->len == b->len && CRYPTO_memcmp(a->data, b->data, a->len) == 0;
}
