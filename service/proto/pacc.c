/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pacc.h. */
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "proto/address.h"
#include "proto/json.h"
#include "proto/pacc.h"

Pacc *pacc_free(Pacc *pacc)
{
        if (!pacc)
                return NULL;
        free(pacc->pop3);
        free(pacc->imap);
        free(pacc->submit);
        free(pacc->oauth_issuer);
        free(pacc->name);
        free(pacc->documentation);
        free(pacc);
        return NULL;
}

/* A host that is none drops its protocol only. */
static int read_host(json_object *protocols, const char *key, char **to)
{
        const char *host = json_text(json_member(protocols, key), "host", LIMIT_HOST);
        int r;

        if (!host || *to || host_is_literal(host))
                return 0;
        r = host_normalize(to, host);
        return r == -ENOMEM ? r : 0;
}

static int read_url(json_object *object, const char *key, char **to)
{
        const char *url = json_text(object, key, LIMIT_STRING);

        return url && text_starts_nocase(url, "https://") && !strchr(url, ' ') ? text_set(to, url)
                                                                               : 0;
}

static int read_document(Pacc *pacc, json_object *root)
{
        json_object *protocols = json_member(root, "protocols"),
                    *authentication = json_member(root, "authentication"),
                    *info = json_member(root, "info");
        const char *name = json_text(json_member(info, "provider"), "name", 240);
        int r;

        if ((r = read_host(protocols, "pop3", &pacc->pop3)) < 0 ||
            (r = read_host(protocols, "imap", &pacc->imap)) < 0 ||
            (r = read_host(protocols, "submit", &pacc->submit)) < 0 ||
            (r = read_host(protocols, "smtp", &pacc->submit)) < 0 ||
            (r = read_url(json_member(authentication, "oauth-public"), "issuer",
                          &pacc->oauth_issuer)) < 0 ||
            (r = read_url(json_member(info, "help"), "documentation", &pacc->documentation)) < 0)
                return r;
        pacc->no_password = json_flag(authentication, "password") == 0;
        r = text_set(&pacc->name, name);
        if (r < 0)
                return r;
        return pacc->pop3 || pacc->imap || pacc->submit ? 0 : -EBADMSG;
}

int pacc_parse(Pacc **ret, const char *document, size_t len)
{
        _cleanup_(pacc_freep) Pacc *pacc = calloc(1, sizeof(*pacc));
        json_object *root = NULL;
        int r;

        if (!pacc)
                return -ENOMEM;
        r = json_read(&root, document, len);
        if (r < 0)
                return r;
        r = read_document(pacc, root);
        json_object_put(root);
        if (r < 0)
                return r;
        *ret = TAKE(pacc);
        return 0;
}

/* The value of tag @name in "v=UAAC1; a=sha256; d=..."; its length in @ret_len. */
static const char *tag(const char *record, const char *name, size_t *ret_len)
{
        while (*record) {
                size_t len = strcspn(record, ";"), n = strlen(name);
                const char *p = record + strspn(record, " \t;");

                if (strncmp(p, name, n) == 0 && p[n + strspn(p + n, " \t")] == '=') {
                        p += n + strspn(p + n, " \t") + 1;
                        p += strspn(p, " \t");
                        n = strcspn(p, "; \t");
                        *ret_len = n;
                        return p;
                }
                record += len + (record[len] == ';');
        }
        return NULL;
}

static bool tag_is(const char *record, const char *name, const char *value)
{
        size_t len = 0;
        const char *found = tag(record, name, &len);

        return found && len == strlen(value) && strncmp(found, value, len) == 0;
}

bool pacc_digest_matches(char *const *records, const char *document, size_t len)
{
        uint8_t digest[SHA256_LEN];

        if (sha256(document, len, digest) < 0)
                return false;
        for (; records && *records; records++) {
                _cleanup_buffer_ Buffer bytes = BUFFER(2 * SHA256_LEN);
                size_t n = 0;
                const char *text = tag(*records, "d", &n);

                if (!tag_is(*records, "v", "UAAC1") || !tag_is(*records, "a", "sha256") || !text)
                        continue;
                if (base64_decode(&bytes, text, n) == 0 && bytes.len == SHA256_LEN &&
                    memcmp(bytes.data, digest, SHA256_LEN) == 0)
                        return true;
        }
        return false;
}
