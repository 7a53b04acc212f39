/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The vault: what is sealed in one place opens in that place only, and the key file is nobody else's. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/limits.h"
#include "core/vault.h"

#define ACCOUNT "00112233445566778899aabbccddeeff"
#define OTHER "ff112233445566778899aabbccddeeff"

typedef struct Fixture {
        char root[64], state[80], key[96], credentials[80], credential[112];
} Fixture;

static void file_write(const char *path, const void *data, size_t len, mode_t mode)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, len), len);
        assert_int_equal(fchmod(fd, mode), 0);
}

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        snprintf(f->root, sizeof(f->root), "/tmp/waypost-vault-XXXXXX");
        assert_non_null(mkdtemp(f->root));
        snprintf(f->state, sizeof(f->state), "%s/state", f->root);
        snprintf(f->key, sizeof(f->key), "%s/key", f->state);
        snprintf(f->credentials, sizeof(f->credentials), "%s/cred", f->root);
        snprintf(f->credential, sizeof(f->credential), "%s/waypost.key", f->credentials);
        assert_int_equal(mkdir(f->credentials, 0700), 0);
        unsetenv("CREDENTIALS_DIRECTORY");
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;
        char path[112];

        snprintf(path, sizeof(path), "%s/key.new", f->state);
        unlink(path);
        unlink(f->key);
        rmdir(f->state);
        unlink(f->credential);
        rmdir(f->credentials);
        assert_int_equal(rmdir(f->root), 0); /* nothing else was left behind */
        unsetenv("CREDENTIALS_DIRECTORY");
        free(f);
        return 0;
}

static void there_and_back(void **state)
{
        Fixture *f = *state;
        _cleanup_buffer_ Buffer sealed = BUFFER(8192), again = BUFFER(8192);
        _cleanup_(vault_freep) Vault *vault = NULL, *reopened = NULL;
        _cleanup_(secret_unrefp) Secret *secret = NULL, *back = NULL;

        assert_int_equal(secret_new(&secret, "pass\0word", 9), 0);
        assert_int_equal(vault_open(&vault, f->state), 0);
        assert_int_equal(vault_seal(vault, ACCOUNT, "incoming", secret, &sealed), 0);
        assert_int_equal(vault_seal(vault, ACCOUNT, "incoming", secret, &again), 0);
        assert_int_equal(sealed.len, 9 + SEAL_NONCE + SEAL_TAG);
        assert_null(memmem(sealed.data, sealed.len, "pass", 4));
        assert_memory_not_equal(sealed.data, again.data, sealed.len); /* a nonce of its own */

        /* Another process, another day. */
        assert_int_equal(vault_open(&reopened, f->state), 0);
        assert_int_equal(
                vault_unseal(reopened, ACCOUNT, "incoming", sealed.data, sealed.len, &back), 0);
        assert_true(secret_equal(secret, back));
}

static void longest_secret(void **state)
{
        Fixture *f = *state;
        _cleanup_buffer_ Buffer sealed = BUFFER(2 * LIMIT_TOKEN);
        _cleanup_(secret_unrefp) Secret *secret = NULL, *back = NULL;
        _cleanup_free_ char *text = calloc(1, LIMIT_TOKEN);
        _cleanup_(vault_freep) Vault *vault = NULL;

        memset(text, 'x', LIMIT_TOKEN);
        assert_int_equal(secret_new(&secret, text, LIMIT_TOKEN), 0);
        assert_int_equal(vault_open(&vault, f->state), 0);
        assert_int_equal(vault_seal(vault, ACCOUNT, "incoming", secret, &sealed), 0);
        assert_int_equal(vault_unseal(vault, ACCOUNT, "incoming", sealed.data, sealed.len, &back),
                         0);
        assert_true(secret_equal(secret, back));
}

static void changed_or_moved(void **state)
{
        Fixture *f = *state;
        _cleanup_buffer_ Buffer sealed = BUFFER(8192);
        _cleanup_(secret_unrefp) Secret *secret = NULL, *back = NULL;
        _cleanup_(vault_freep) Vault *vault = NULL;

        assert_int_equal(secret_new(&secret, "password", 8), 0);
        assert_int_equal(vault_open(&vault, f->state), 0);
        assert_int_equal(vault_seal(vault, ACCOUNT, "incoming", secret, &sealed), 0);
        for (size_t i = 0; i < sealed.len; i++) {
                sealed.data[i] ^= 1;
                assert_int_equal(
                        vault_unseal(vault, ACCOUNT, "incoming", sealed.data, sealed.len, &back),
                        -EBADMSG);
                sealed.data[i] ^= 1;
        }
        for (size_t len = 0; len < sealed.len; len++)
                assert_int_equal(vault_unseal(vault, ACCOUNT, "incoming", sealed.data, len, &back),
                                 -EBADMSG);
        assert_int_equal(vault_unseal(vault, ACCOUNT, "outgoing", sealed.data, sealed.len, &back),
                         -EBADMSG);
        assert_int_equal(vault_unseal(vault, OTHER, "incoming", sealed.data, sealed.len, &back),
                         -EBADMSG);
        assert_null(back);
        assert_int_equal(vault_unseal(vault, ACCOUNT, "incoming", sealed.data, sealed.len, &back),
                         0);
}

static void key_file(void **state)
{
        _cleanup_(vault_freep) Vault *vault = NULL, *refused = NULL;
        Fixture *f = *state;
        struct stat st;
        mode_t old = umask(0);

        assert_int_equal(vault_open(&vault, f->state), 0);
        umask(old);
        assert_int_equal(stat(f->key, &st), 0);
        assert_int_equal(st.st_mode, S_IFREG | 0600);
        assert_int_equal(st.st_size, KEY_LEN);
        assert_int_equal(stat(f->state, &st), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0711);

        for (unsigned bit = 1; bit <= 040; bit <<= 1) {
                assert_int_equal(chmod(f->key, 0600 | bit), 0);
                assert_int_equal(vault_open(&refused, f->state), -EPERM);
        }
        assert_int_equal(chmod(f->key, 0600), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(f->key, 65533, 65533), 0);
                assert_int_equal(vault_open(&refused, f->state), -EPERM);
        }
        assert_null(refused);
}

static void bad_key_files(void **state)
{
        _cleanup_(vault_freep) Vault *vault = NULL;
        Fixture *f = *state;
        char other[112];

        assert_int_equal(mkdir(f->state, 0700), 0);
        file_write(f->key, "", 0, 0600);
        assert_int_equal(vault_open(&vault, f->state), -EBADMSG);
        file_write(f->key, "short", 5, 0600);
        assert_int_equal(vault_open(&vault, f->state), -EBADMSG);
        file_write(f->key, "0123456789012345678901234567890123", 33, 0600);
        assert_int_equal(vault_open(&vault, f->state), -EBADMSG);
        assert_int_equal(unlink(f->key), 0);
        snprintf(other, sizeof(other), "%s/other", f->root);
        assert_int_equal(symlink(other, f->key), 0);
        assert_int_equal(vault_open(&vault, f->state), -ELOOP);
        assert_int_equal(unlink(f->key), 0);
        assert_int_equal(mkfifo(f->key, 0600), 0);
        assert_int_equal(vault_open(&vault, f->state), -EBADMSG);
        assert_null(vault);
}

static void leftover_of_a_crash(void **state)
{
        _cleanup_(vault_freep) Vault *vault = NULL;
        Fixture *f = *state;
        struct stat st;
        char left[112];

        assert_int_equal(mkdir(f->state, 0700), 0);
        snprintf(left, sizeof(left), "%s/key.new", f->state);
        file_write(left, "half", 4, 0600);
        assert_int_equal(vault_open(&vault, f->state), 0);
        assert_int_equal(stat(left, &st), -1);
        assert_int_equal(stat(f->key, &st), 0);
        assert_int_equal(st.st_size, KEY_LEN);
}

/* Seals under the credential's key and opens it with the same key in another form. */
static void credentials(void **state)
{
        static const char raw[] = "0123456789abcdef0123456789ABCDEF";
        static const char hex[] =
                "3031323334353637383961626364656630313233343536373839414243444546\n";
        _cleanup_(vault_freep) Vault *by_raw = NULL, *by_hex = NULL, *none = NULL, *file = NULL;
        _cleanup_(secret_unrefp) Secret *secret = NULL, *back = NULL;
        _cleanup_buffer_ Buffer sealed = BUFFER(8192);
        Fixture *f = *state;

        setenv("CREDENTIALS_DIRECTORY", f->credentials, 1);
        file_write(f->credential, raw, 32, 0440);
        assert_int_equal(secret_new(&secret, "password", 8), 0);
        assert_int_equal(vault_open(&by_raw, f->state), 0);
        assert_int_equal(access(f->state, F_OK), -1); /* no key file then */
        assert_int_equal(vault_seal(by_raw, ACCOUNT, "incoming", secret, &sealed), 0);

        file_write(f->credential, hex, sizeof(hex) - 1, 0440);
        assert_int_equal(vault_open(&by_hex, f->state), 0);
        assert_int_equal(vault_unseal(by_hex, ACCOUNT, "incoming", sealed.data, sealed.len, &back),
                         0);
        assert_true(secret_equal(secret, back));

        /* One that is no key must not be replaced by another one silently. */
        file_write(f->credential, hex, 63, 0440);
        assert_int_equal(vault_open(&none, f->state), -EBADMSG);
        file_write(f->credential,
                   "g031323334353637383961626364656630313233343536373839414243444546", 64, 0440);
        assert_int_equal(vault_open(&none, f->state), -EBADMSG);
        assert_int_equal(access(f->state, F_OK), -1);

        assert_int_equal(unlink(f->credential), 0);
        assert_int_equal(vault_open(&file, f->state), 0);
        assert_int_equal(access(f->key, F_OK), 0);
        secret_unref(TAKE(back));
        assert_int_equal(vault_unseal(file, ACCOUNT, "incoming", sealed.data, sealed.len, &back),
                         -EBADMSG);
}

static void marks(void **state)
{
        static const struct {
                uid_t uid;
                const char *host, *user, *secret;
        } different[] = {
                { 1000, "pop.example.com", "anna", "secret" },
                { 1001, "pop.example.com", "anna", "secret" },
                { 1000, "pop.example.org", "anna", "secret" },
                { 1000, "pop.example.com", "annas", "secret" },
                { 1000, "pop.example.com", "anna", "Secret" },
                { 1000, "pop.example.coma", "nna", "secret" },
                { 1000, "pop.example.com", "annas", "ecret" },
        };
        _cleanup_(vault_freep) Vault *vault = NULL, *again = NULL;
        uint8_t all[ELEMENTS(different)][SHA256_LEN], same[SHA256_LEN];
        Fixture *f = *state;

        assert_int_equal(vault_open(&vault, f->state), 0);
        assert_int_equal(vault_open(&again, f->state), 0);
        for (size_t i = 0; i < ELEMENTS(different); i++) {
                _cleanup_(secret_unrefp) Secret *secret = NULL;

                assert_int_equal(
                        secret_new(&secret, different[i].secret, strlen(different[i].secret)), 0);
                assert_int_equal(vault_mark(vault, different[i].uid, different[i].host,
                                            different[i].user, secret, all[i]),
                                 0);
                assert_int_equal(vault_mark(again, different[i].uid, different[i].host,
                                            different[i].user, secret, same),
                                 0);
                assert_memory_equal(all[i], same, SHA256_LEN);
                for (size_t k = 0; k < i; k++)
                        assert_memory_not_equal(all[i], all[k], SHA256_LEN);
        }
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                CASE(there_and_back), CASE(longest_secret), CASE(changed_or_moved),
                CASE(key_file),       CASE(bad_key_files),  CASE(leftover_of_a_crash),
                CASE(credentials),    CASE(marks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
