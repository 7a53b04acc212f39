/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config_client.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "core/config_client.h"
#include "proto/oauth.h"
#include "proto/oauth_url.h"

enum { FILES_MAX = 1024, HOSTS_MAX = 64 };

#define REDIRECT "http://127.0.0.1/callback"

typedef struct Reading {
        ClientConfig *to;
        const char *wrong; /* the key that is, static */
        int error;
} Reading;

void client_config_deinit(ClientConfig *client)
{
        free(client->file);
        free(client->issuer);
        free(client->client);
        secret_unref(client->secret);
        free(client->scopes);
        free(client->parameters);
        free(client->redirect);
        list_free(client->hosts);
        free(client->authorization);
        free(client->token);
        free(client->device);
        free(client->revocation);
        *client = (ClientConfig){};
}

static int read_secret_file(Secret **to, const char *path)
{
        char text[LIMIT_SECRET + 1];
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        ssize_t n;
        int r;

        if (fd < 0)
                return -errno;
        n = read(fd, text, sizeof(text));
        if (n < 0)
                return -errno;
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
                n--;
        secret_unref(*to);
        *to = NULL;
        r = secret_new(to, text, (size_t) n);
        explicit_bzero(text, sizeof(text));
        return r;
}

static int read_date(uint64_t *to, const char *value)
{
        struct tm tm = {};
        const char *end = strptime(value, "%Y-%m-%d", &tm);
        time_t when;

        if (!end || *end)
                return -EINVAL;
        when = timegm(&tm);
        if (when < 0)
                return -EINVAL;
        *to = (uint64_t) when * USEC_PER_SEC;
        return 0;
}

static int read_hosts(char ***to, const char *value)
{
        int r = 0;

        while (*(value += strspn(value, " ,")) && r == 0) {
                _cleanup_free_ char *host = NULL;
                size_t len = strcspn(value, " ,");

                r = text_set_n(&host, value, len);
                if (r == 0)
                        text_lower(host);
                if (r == 0)
                        r = list_append(to, host, HOSTS_MAX);
                value += len;
        }
        return r;
}

static int read_address(char **to, const char *value)
{
        return oauth_url_is_https(value) ? text_set(to, value) : -EINVAL;
}

/* A loopback address without a port, or localhost where the provider wants it so. */
static int read_redirect(char **to, const char *value)
{
        static const char *const hosts[] = { "http://127.0.0.1", "http://[::1]",
                                             "http://localhost" };

        for (size_t i = 0; i < ELEMENTS(hosts); i++) {
                size_t len = strlen(hosts[i]);

                if (strncmp(value, hosts[i], len) == 0 && (value[len] == '/' || !value[len]) &&
                    !strpbrk(value, " ?#"))
                        return text_set(to, value);
        }
        return -EINVAL;
}

static int read_authentication(bool *to, const char *value)
{
        if (!text_equal(value, "basic") && !text_equal(value, "post"))
                return -EINVAL;
        *to = text_equal(value, "post");
        return 0;
}

/* Returns 0, -EINVAL for a value that is none, -ENOENT for an unknown key. */
static int key_read(ClientConfig *to, const char *name, const char *value)
{
        if (text_equal(name, "issuer"))
                return oauth_issuer_is_valid(value) ? text_set(&to->issuer, value) : -EINVAL;
        if (text_equal(name, "client-id"))
                return *value ? text_set(&to->client, value) : -EINVAL;
        if (text_equal(name, "client-secret"))
                return *value ? secret_new(&to->secret, value, strlen(value)) : 0;
        if (text_equal(name, "client-secret-file"))
                return read_secret_file(&to->secret, value);
        if (text_equal(name, "secret-expires"))
                return read_date(&to->secret_expires_usec, value);
        if (text_equal(name, "authentication"))
                return read_authentication(&to->secret_by_post, value);
        if (text_equal(name, "scopes"))
                return text_set(&to->scopes, value);
        if (text_equal(name, "parameters"))
                return text_set(&to->parameters, value);
        if (text_equal(name, "redirect"))
                return read_redirect(&to->redirect, value);
        if (text_equal(name, "hosts"))
                return read_hosts(&to->hosts, value);
        if (text_equal(name, "authorization-endpoint"))
                return read_address(&to->authorization, value);
        if (text_equal(name, "token-endpoint"))
                return read_address(&to->token, value);
        if (text_equal(name, "device-endpoint"))
                return read_address(&to->device, value);
        if (text_equal(name, "revocation-endpoint"))
                return read_address(&to->revocation, value);
        return -ENOENT;
}

static int on_key(void *userdata, const char *section, const char *name, const char *value)
{
        Reading *reading = userdata;
        int r = text_equal(section, "client") ? key_read(reading->to, name, value) : -ENOENT;

        if (r < 0 && reading->error == 0) {
                reading->error = r;
                log_warning("%s: '%s' %s", reading->to->file, name,
                            r == -ENOENT ? "is no key of [client], or its file is missing"
                                         : "has a value that cannot be used");
        }
        return 1;
}

static int client_read(ClientConfig *to, const char *path)
{
        ClientConfig client = {};
        Reading reading = { .to = &client };
        int r;

        r = text_set(&client.file, path);
        if (r == 0)
                r = text_set(&client.redirect, REDIRECT);
        if (r == 0 && (ini_parse(path, on_key, &reading) != 0 || reading.error < 0))
                r = -EBADMSG;
        if (r == 0 && (!client.issuer || !client.client))
                r = -EBADMSG;
        if (r < 0) {
                if (r == -EBADMSG)
                        log_warning("%s: not used", path);
                client_config_deinit(&client);
                return r;
        }
        client_config_deinit(to);
        *to = client;
        return 0;
}

static int is_conf(const struct dirent *entry)
{
        return entry->d_name[0] != '.' && text_ends_nocase(entry->d_name, ".conf");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
        return strcmp((*a)->d_name, (*b)->d_name);
}

static bool client_is(const ClientConfig *client, const char *issuer, const char *host)
{
        return issuer ? text_equal(client->issuer, issuer)
                      : host && list_contains_nocase(client->hosts, host);
}

int client_config_find(ClientConfig *to, const char *directory, const char *issuer,
                       const char *host)
{
        struct dirent **entries = NULL;
        int n = directory ? scandir(directory, &entries, is_conf, by_name) : 0;
        int r = -ENOENT;

        for (int i = 0; i < n; i++) {
                _cleanup_(client_config_deinit) ClientConfig client = {};
                _cleanup_free_ char *path = NULL;

                if (r == -ENOENT && i < FILES_MAX &&
                    text_format(&path, "%s/%s", directory, entries[i]->d_name) == 0 &&
                    client_read(&client, path) == 0 && client_is(&client, issuer, host)) {
                        client_config_deinit(to);
                        *to = client;
                        client = (ClientConfig){};
                        r = 0;
                }
                free(entries[i]);
        }
        free(entries);
        return r;
}
