/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See vault.h. The key that lies on disk is never used itself: what seals and what marks are derived from it, so that the
 * ledger's digests say nothing about the key of the secrets. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "core/directory.h"
#include "core/vault.h"

#define KEY_CREDENTIAL "waypost.key"
#define KEY_FILE "key"
#define KEY_FILE_NEW "key.new"
#define KEY_OLD ".old" /* behind either name: the key before this one */

enum { KEY_HEX_LEN = 2 * KEY_LEN, KEY_FILE_MAX = KEY_HEX_LEN + 2 };

struct Vault {
        Secret *seal_key, *mark_key;
        Secret *old_key; /* what was sealed before the key was changed; NULL: nothing is left of it */
        char *state_directory;
};

/* 32 bytes, or 64 hex digits and perhaps the end of their line. */
static int key_parse(const Buffer *text, Secret **ret)
{
        uint8_t key[KEY_LEN];
        size_t len = text->len;
        int r;

        if (len == KEY_LEN)
                return secret_new(ret, text->data, KEY_LEN);
        while (len > KEY_HEX_LEN && (text->data[len - 1] == '\n' || text->data[len - 1] == '\r'))
                len--;
        if (len != KEY_HEX_LEN || hex_decode(key, text->data, len) < 0)
                return -EBADMSG;
        r = secret_new(ret, key, sizeof(key));
        explicit_bzero(key, sizeof(key));
        return r;
}

static int key_read(int fd, Secret **ret)
{
        _cleanup_buffer_ Buffer text = BUFFER_SECRET(KEY_FILE_MAX + 1);
        char *to;
        ssize_t n;
        int r;

        r = buffer_reserve(&text, KEY_FILE_MAX + 1, &to);
        if (r < 0)
                return r;
        do {
                n = read(fd, to + text.len, KEY_FILE_MAX + 1 - text.len);
                if (n < 0)
                        return -errno;
                buffer_commit(&text, (size_t) n);
        } while (n > 0 && text.len <= KEY_FILE_MAX);
        return key_parse(&text, ret);
}

/* systemd sees to who may read it; only its form is ours to check. */
static int key_from_credential(const char *name, Secret **ret)
{
        const char *directory = getenv("CREDENTIALS_DIRECTORY");
        _cleanup_free_ char *path = NULL;
        _cleanup_close_ int fd = -1;
        int r;

        if (!directory || directory[0] != '/')
                return -ENOENT;
        r = text_format(&path, "%s/%s", directory, name);
        if (r < 0)
                return r;
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return -errno;
        return key_read(fd, ret);
}

static int key_from_file(int directory, const char *name, Secret **ret)
{
        _cleanup_close_ int fd = openat(directory, name,
                                        O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if ((st.st_mode & 077) || (st.st_uid != geteuid() && st.st_uid != 0))
                return -EPERM;
        return key_read(fd, ret);
}

static int key_write(int directory, const uint8_t key[KEY_LEN])
{
        _cleanup_close_ int fd = -1;
        ssize_t n;

        if (unlinkat(directory, KEY_FILE_NEW, 0) < 0 && errno != ENOENT)
                return -errno;
        fd = openat(directory, KEY_FILE_NEW, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                    0600);
        if (fd < 0 || fchmod(fd, 0600) < 0)
                return -errno;
        n = write(fd, key, KEY_LEN);
        if (n != KEY_LEN)
                return n < 0 ? -errno : -ENOSPC;
        return fsync(fd) < 0 ? -errno : 0;
}

static int key_publish(int directory)
{
        if (renameat2(directory, KEY_FILE_NEW, directory, KEY_FILE, RENAME_NOREPLACE) == 0)
                return 0;
        if (errno != EINVAL && errno != ENOSYS)
                return -errno;
        /* A file system that cannot rename so: a link does not replace either. */
        if (linkat(directory, KEY_FILE_NEW, directory, KEY_FILE, 0) < 0)
                return -errno;
        return unlinkat(directory, KEY_FILE_NEW, 0) < 0 ? -errno : 0;
}

/* A key that stands is never replaced, even if it appeared this very moment: what was sealed under it would be lost. */
static int key_make(int directory)
{
        uint8_t key[KEY_LEN];
        int r;

        r = random_bytes(key, sizeof(key));
        if (r < 0)
                return r;
        r = key_write(directory, key);
        explicit_bzero(key, sizeof(key));
        if (r == 0)
                r = key_publish(directory);
        if (r < 0)
                unlinkat(directory, KEY_FILE_NEW, 0);
        if (r < 0 && r != -EEXIST)
                return r;
        return fsync(directory) < 0 ? -errno : 0;
}

static int key_open(const char *state_directory, Secret **ret)
{
        _cleanup_close_ int directory = -1;
        int r;

        r = key_from_credential(KEY_CREDENTIAL, ret);
        if (r != -ENOENT)
                return r;
        r = directory_open(&directory, state_directory, 0711, DIRECTORY_MAKE);
        if (r < 0)
                return r;
        r = key_from_file(directory, KEY_FILE, ret);
        if (r != -ENOENT)
                return r;
        r = key_make(directory);
        if (r < 0)
                return r;
        return key_from_file(directory, KEY_FILE, ret);
}

static int key_derive(const Secret *key, const char *label, Secret **ret)
{
        uint8_t derived[SHA256_LEN];
        int r;

        r = hmac_sha256(secret_data(key), secret_len(key), label, strlen(label), derived);
        if (r == 0)
                r = secret_new(ret, derived, sizeof(derived));
        explicit_bzero(derived, sizeof(derived));
        return r;
}

/* The administrator changes the key by putting the old one aside under this name. One that cannot be read is told: what it sealed cannot be read either. */
static int key_open_old(Vault *vault)
{
        _cleanup_(secret_unrefp) Secret *key = NULL;
        _cleanup_close_ int directory = -1;
        int r;

        r = key_from_credential(KEY_CREDENTIAL KEY_OLD, &key);
        if (r == -ENOENT) {
                r = directory_open(&directory, vault->state_directory, 0711, 0);
                if (r == 0)
                        r = key_from_file(directory, KEY_FILE KEY_OLD, &key);
        }
        if (r < 0)
                return r == -ENOENT ? 0 : log_fault(r, "the key before this one");
        return key_derive(key, "waypost:1:seal", &vault->old_key);
}

bool vault_has_old_key(const Vault *vault)
{
        return vault->old_key;
}

int vault_drop_old_key(Vault *vault)
{
        _cleanup_close_ int directory = -1;
        int r;

        r = directory_open(&directory, vault->state_directory, 0711, 0);
        if (r < 0)
                return r;
        if (unlinkat(directory, KEY_FILE KEY_OLD, 0) < 0 && errno != ENOENT)
                return -errno;
        vault->old_key = secret_unref(vault->old_key);
        return fsync(directory) < 0 ? -errno : 0;
}

int vault_open(Vault **ret, const char *state_directory)
{
        _cleanup_(vault_freep) Vault *vault = calloc(1, sizeof(*vault));
        _cleanup_(secret_unrefp) Secret *key = NULL;
        int r;

        if (!vault)
                return -ENOMEM;
        r = key_open(state_directory, &key);
        if (r < 0)
                return log_fault(r, "the key of the secrets");
        r = key_derive(key, "waypost:1:seal", &vault->seal_key);
        if (r < 0)
                return r;
        r = key_derive(key, "waypost:1:ledger", &vault->mark_key);
        if (r == 0)
                r = text_set(&vault->state_directory, state_directory);
        if (r == 0)
                r = key_open_old(vault);
        if (r < 0)
                return r;
        *ret = TAKE(vault);
        return 0;
}

Vault *vault_free(Vault *vault)
{
        if (!vault)
                return NULL;
        secret_unref(vault->seal_key);
        secret_unref(vault->mark_key);
        secret_unref(vault->old_key);
        free(vault->state_directory);
        free(vault);
        return NULL;
}

static const uint8_t *key_bytes(const Secret *key)
{
        return (const uint8_t *) secret_data(key);
}

int vault_seal(Vault *vault, const char *account, const char *field, const Secret *secret,
               Buffer *to)
{
        _cleanup_free_ char *place = NULL;
        int r;

        r = text_format(&place, "waypost:1:%s:%s", account, field);
        if (r < 0)
                return r;
        return seal(to, key_bytes(vault->seal_key), place, strlen(place), secret_data(secret),
                    secret_len(secret));
}

int vault_unseal(Vault *vault, const char *account, const char *field, const void *sealed,
                 size_t len, Secret **ret)
{
        _cleanup_buffer_ Buffer plain = BUFFER_SECRET(LIMIT_TOKEN + SEAL_TAG);
        _cleanup_free_ char *place = NULL;
        int r;

        r = text_format(&place, "waypost:1:%s:%s", account, field);
        if (r < 0)
                return r;
        r = unseal(&plain, key_bytes(vault->seal_key), place, strlen(place), sealed, len);
        if (r == -EBADMSG && vault->old_key) {
                buffer_clear(&plain);
                r = unseal(&plain, key_bytes(vault->old_key), place, strlen(place), sealed, len);
        }
        if (r == 0)
                r = secret_new(ret, plain.data, plain.len);
        /* Too long or empty: nothing that was sealed here. */
        return r == -ENOBUFS || r == -EINVAL ? -EBADMSG : r;
}

/* Each part with its length before it, so that no two different quadruples read the same. */
int vault_mark(Vault *vault, uid_t uid, const char *host, const char *user, const Secret *secret,
               uint8_t ret[SHA256_LEN])
{
        _cleanup_buffer_ Buffer text = BUFFER_SECRET(2 * LIMIT_TOKEN);
        int r;

        r = buffer_printf(&text, "%ju:%zu:%s:%zu:%s:%zu:", (uintmax_t) uid, strlen(host), host,
                          strlen(user), user, secret_len(secret));
        if (r == 0)
                r = buffer_append(&text, secret_data(secret), secret_len(secret));
        if (r < 0)
                return r;
        return hmac_sha256(secret_data(vault->mark_key), secret_len(vault->mark_key), text.data,
                           text.len, ret);
}
