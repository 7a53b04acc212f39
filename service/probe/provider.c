/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See provider.h. One reader for both: the compiled-in table must be right as a whole, of the administrator's files only
 * what is right is taken. */
#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "probe/local_file.h"
#include "probe/provider.h"
#include "probe/secret_shape.h"
#include "proto/address.h"
#include "proto/json.h"

enum { DOMAINS_MAX = 256, NEAR_MAX = 64 };

extern const char data_providers[];
extern const unsigned data_providers_len;

typedef struct Filter {
        char *name;
        char **mx;
} Filter;

struct Providers {
        Provider *list; /* the administrator's first */
        size_t n;
        Filter *filters;
        size_t n_filters;
};

static void provider_clear(Provider *p)
{
        free(p->id);
        free(p->name);
        list_free(p->domains);
        list_free(p->mx);
        list_free(p->aliases);
        list_free(p->methods);
        endpoint_deinit(&p->pop3);
        endpoint_deinit(&p->imap);
        for (size_t i = 0; i < p->n_smtp; i++)
                endpoint_deinit(&p->smtp[i]);
        free(p->app_password_page);
        free(p->settings_page);
        free(p->plan);
        free(p->alternative);
        free(p->app_password_shape);
        free(p->sasl_unlisted);
        free(p->oauth_issuer);
        free(p->oauth_scopes);
        free(p->oauth_parameters);
        free(p->oauth_authorization);
        free(p->oauth_token);
        free(p->oauth_device);
        free(p->checked);
        *p = (Provider){};
}

Providers *providers_free(Providers *providers)
{
        if (!providers)
                return NULL;
        for (size_t i = 0; i < providers->n; i++)
                provider_clear(&providers->list[i]);
        for (size_t i = 0; i < providers->n_filters; i++) {
                free(providers->filters[i].name);
                list_free(providers->filters[i].mx);
        }
        free(providers->list);
        free(providers->filters);
        free(providers);
        return NULL;
}

/* --- reading: each returns 0, also for what is absent; -EBADMSG, -ENOMEM ------------------------------------------ */

static int read_text(json_object *o, const char *key, char **ret)
{
        json_object *value;
        const char *text;

        if (!json_object_object_get_ex(o, key, &value))
                return 0;
        if (!json_object_is_type(value, json_type_string))
                return -EBADMSG;
        text = json_object_get_string(value);
        if (strlen(text) != (size_t) json_object_get_string_len(value) ||
            strlen(text) > LIMIT_STRING || !text_is_clean(text, strlen(text)))
                return -EBADMSG;
        return text_set(ret, text);
}

/* Only what may be opened in a browser. */
static int read_page(json_object *o, const char *key, char **ret)
{
        int r = read_text(o, key, ret);

        if (r == 0 && *ret && !text_starts_nocase(*ret, "https://") &&
            !text_starts_nocase(*ret, "http://"))
                return -EBADMSG;
        return r;
}

static int read_list(json_object *o, const char *key, bool names, char ***ret)
{
        json_object *value;
        int r = 0;

        if (!json_object_object_get_ex(o, key, &value))
                return 0;
        if (!json_object_is_type(value, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; r == 0 && i < json_object_array_length(value); i++) {
                json_object *one = json_object_array_get_idx(value, i);
                _cleanup_free_ char *text = NULL;

                if (!json_object_is_type(one, json_type_string))
                        return -EBADMSG;
                r = names ? host_normalize(&text, json_object_get_string(one))
                          : text_set(&text, json_object_get_string(one));
                if (r == 0)
                        r = list_append(ret, text, DOMAINS_MAX);
        }
        return r == -ENOMEM || r == 0 ? r : -EBADMSG;
}

/* One of @words; absent is the first. */
static int read_word(json_object *o, const char *key, const char *const *words, unsigned *ret)
{
        json_object *value;

        *ret = 0;
        if (!json_object_object_get_ex(o, key, &value))
                return 0;
        for (unsigned i = 0; words[i]; i++)
                if (json_object_is_type(value, json_type_string) &&
                    text_equal(words[i], json_object_get_string(value))) {
                        *ret = i;
                        return 0;
                }
        return -EBADMSG;
}

static int read_endpoint(json_object *o, Protocol protocol, Endpoint *ret)
{
        static const char *const words[] = { "tls", "starttls", NULL };
        _cleanup_free_ char *host = NULL;
        json_object *port;
        unsigned security;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;
        r = read_text(o, "host", &host);
        if (r == 0)
                r = read_word(o, "security", words, &security);
        if (r < 0)
                return r;
        *ret = (Endpoint){ .protocol = protocol,
                           .security = security == 0 ? SECURITY_TLS : SECURITY_STARTTLS };
        ret->port = protocol_default_port(protocol, ret->security);
        if (json_object_object_get_ex(o, "port", &port)) {
                int64_t number = json_object_get_int64(port);

                if (!json_object_is_type(port, json_type_int) || number < 1 || number > 65535)
                        return -EBADMSG;
                ret->port = (uint16_t) number;
        }
        r = host ? host_normalize(&ret->host, host) : -EBADMSG;
        return r == -EINVAL ? -EBADMSG : r;
}

static int read_servers(json_object *o, Provider *p)
{
        json_object *value;
        int r = 0;

        if (json_object_object_get_ex(o, "pop3", &value))
                r = read_endpoint(value, PROTOCOL_POP3, &p->pop3);
        if (r == 0 && json_object_object_get_ex(o, "imap", &value))
                r = read_endpoint(value, PROTOCOL_IMAP, &p->imap);
        if (r < 0 || !json_object_object_get_ex(o, "smtp", &value))
                return r;
        if (!json_object_is_type(value, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; r == 0 && i < json_object_array_length(value); i++) {
                if (p->n_smtp == PROVIDER_SUBMISSIONS)
                        return -EBADMSG;
                r = read_endpoint(json_object_array_get_idx(value, i), PROTOCOL_SMTP,
                                  &p->smtp[p->n_smtp++]);
        }
        return r;
}

static int read_access(json_object *o, Provider *p)
{
        static const char *const users[] = { "address", "local", NULL };
        static const char *const account[] = { "unknown", "works", "refused", NULL };
        static const char *const app[] = { "no", "with-2fa", "yes", NULL };
        static const char *const access[] = { "unknown", "on", "off", "unavailable", NULL };
        unsigned word = 0;
        int r;

        r = read_word(o, "user", users, &word);
        p->user = p->user_outgoing = (UserForm) word;
        if (r == 0 && json_object_object_get_ex(o, "user-outgoing", NULL)) {
                r = read_word(o, "user-outgoing", users, &word);
                p->user_outgoing = (UserForm) word;
        }
        if (r == 0)
                r = read_word(o, "account-password", account, &word);
        p->account_password = (AccountPassword) word;
        if (r == 0)
                r = read_word(o, "app-password", app, &word);
        p->app_password = (AppPassword) word;
        if (r == 0)
                r = read_word(o, "pop", access, &word);
        p->pop_access = (Access) word;
        if (r == 0)
                r = read_word(o, "imap-access", access, &word);
        p->imap_access = (Access) word;
        return r;
}

static int read_poll(json_object *o, Provider *p)
{
        json_object *value;
        int64_t minutes;

        if (json_object_object_get_ex(o, "pop-window", &value)) {
                if (!json_object_is_type(value, json_type_boolean))
                        return -EBADMSG;
                p->pop_window = json_object_get_boolean(value);
        }
        if (!json_object_object_get_ex(o, "poll-minutes", &value))
                return 0;
        minutes = json_object_get_int64(value);
        if (!json_object_is_type(value, json_type_int) || minutes < 0 || minutes > 1440)
                return -EBADMSG;
        p->poll_minimum_usec = (uint64_t) minutes * USEC_PER_MINUTE;
        return 0;
}

/* How one signs in there. */
static int read_sign_in(json_object *o, Provider *p)
{
        json_object *endpoints;
        int r;

        if ((r = read_text(o, "app-password-shape", &p->app_password_shape)) < 0 ||
            (r = read_text(o, "sasl-unlisted", &p->sasl_unlisted)) < 0 ||
            (r = read_page(o, "oauth-issuer", &p->oauth_issuer)) < 0 ||
            (r = read_text(o, "oauth-scopes", &p->oauth_scopes)) < 0 ||
            (r = read_text(o, "oauth-parameters", &p->oauth_parameters)) < 0)
                return r;
        if (p->app_password_shape && !secret_shape_is_valid(p->app_password_shape))
                return -EBADMSG;
        p->oauth_registration = json_flag(o, "oauth-registration") == 1;
        if (!json_object_object_get_ex(o, "oauth-endpoints", &endpoints))
                return 0;
        if (!json_object_is_type(endpoints, json_type_object) ||
            (r = read_page(endpoints, "authorization", &p->oauth_authorization)) < 0 ||
            (r = read_page(endpoints, "token", &p->oauth_token)) < 0 ||
            (r = read_page(endpoints, "device", &p->oauth_device)) < 0)
                return -EBADMSG;
        return p->oauth_token && (p->oauth_authorization || p->oauth_device) ? 0 : -EBADMSG;
}

static int read_provider(json_object *o, Provider *p)
{
        int r;

        if (!json_object_is_type(o, json_type_object))
                return -EBADMSG;
        if ((r = read_text(o, "id", &p->id)) < 0 || (r = read_text(o, "name", &p->name)) < 0 ||
            (r = read_list(o, "domains", true, &p->domains)) < 0 ||
            (r = read_list(o, "mx", true, &p->mx)) < 0 ||
            (r = read_list(o, "aliases", false, &p->aliases)) < 0 ||
            (r = read_list(o, "methods", false, &p->methods)) < 0 || (r = read_servers(o, p)) < 0 ||
            (r = read_access(o, p)) < 0 ||
            (r = read_page(o, "app-password-page", &p->app_password_page)) < 0 ||
            (r = read_page(o, "settings-page", &p->settings_page)) < 0 ||
            (r = read_text(o, "plan", &p->plan)) < 0 ||
            (r = read_text(o, "alternative", &p->alternative)) < 0 ||
            (r = read_sign_in(o, p)) < 0 || (r = read_poll(o, p)) < 0 ||
            (r = read_text(o, "checked", &p->checked)) < 0)
                return r;
        if (!p->id || (!p->domains && !p->mx))
                return -EBADMSG;
        return p->name ? 0 : text_set(&p->name, p->id);
}

static int providers_add(Providers *to, json_object *o, bool administrator)
{
        Provider *list;
        int r;

        if (to->n == PROVIDERS_MAX)
                return -EBADMSG;
        list = reallocarray(to->list, to->n + 1, sizeof(Provider));
        if (!list)
                return -ENOMEM;
        to->list = list;
        list[to->n] = (Provider){ .administrator = administrator };
        r = read_provider(o, &list[to->n]);
        if (r < 0)
                provider_clear(&list[to->n]);
        else
                to->n++;
        return r;
}

static int read_filters(Providers *to, json_object *root)
{
        json_object *list;
        size_t n;
        int r = 0;

        if (!json_object_object_get_ex(root, "filters", &list))
                return 0;
        n = json_object_array_length(list);
        to->filters = calloc(MAX(n, (size_t) 1), sizeof(Filter));
        if (!to->filters)
                return -ENOMEM;
        for (size_t i = 0; i < n && r == 0; i++) {
                json_object *one = json_object_array_get_idx(list, i);
                Filter *filter = &to->filters[to->n_filters++];

                r = read_text(one, "name", &filter->name);
                if (r == 0)
                        r = read_list(one, "mx", true, &filter->mx);
        }
        return r;
}

/* A file holds one provider, or a list of them under "providers". */
static int read_root(Providers *to, json_object *root, bool administrator)
{
        json_object *list;
        int r = 0;

        if (!root || !json_object_is_type(root, json_type_object))
                return -EBADMSG;
        if (!json_object_object_get_ex(root, "providers", &list))
                return providers_add(to, root, administrator);
        if (!json_object_is_type(list, json_type_array))
                return -EBADMSG;
        for (size_t i = 0; i < json_object_array_length(list) && r == 0; i++)
                r = providers_add(to, json_object_array_get_idx(list, i), administrator);
        return r < 0 || administrator ? r : read_filters(to, root);
}

static int read_json(Providers *to, const char *text, size_t len, bool administrator)
{
        json_tokener *tokener = json_tokener_new_ex(LIMIT_DEPTH);
        json_object *root;
        int r;

        if (!tokener)
                return -ENOMEM;
        root = json_tokener_parse_ex(tokener, text, (int) len + 1);
        json_tokener_free(tokener);
        r = read_root(to, root, administrator);
        json_object_put(root);
        return r;
}

static int read_local(const char *path, const char *text, size_t len, void *userdata)
{
        int r = read_json(userdata, text, len, true);

        if (r == -ENOMEM)
                return r;
        if (r < 0)
                log_warning("%s: not a description of providers, or not wholly right: what comes "
                            "after the mistake is left out",
                            path);
        return 0;
}

int providers_new(Providers **ret, const char *directory)
{
        _cleanup_(providers_freep) Providers *providers = calloc(1, sizeof(*providers));
        int r = 0;

        if (!providers)
                return -ENOMEM;
        if (directory)
                r = local_files_read(directory, ".json", read_local, providers);
        if (r == 0)
                r = read_json(providers, data_providers, data_providers_len, false);
        if (r < 0)
                return r;
        *ret = TAKE(providers);
        return 0;
}

/* --- looking up ---------------------------------------------------------------------------------------------------- */

static bool provider_has_host(const Provider *p, const char *host)
{
        bool found = text_equal(p->pop3.host, host) || text_equal(p->imap.host, host);

        for (size_t i = 0; i < p->n_smtp && !found; i++)
                found = text_equal(p->smtp[i].host, host);
        return found;
}

const Provider *provider_at(const Providers *providers, size_t index)
{
        return index < providers->n ? &providers->list[index] : NULL;
}

const Provider *provider_by_domain(const Providers *providers, const char *domain)
{
        for (size_t i = 0; i < providers->n; i++)
                if (list_contains_nocase(providers->list[i].domains, domain))
                        return &providers->list[i];
        return NULL;
}

const Provider *provider_by_host(const Providers *providers, const char *host)
{
        const Provider *provider;

        for (size_t i = 0; host && i < providers->n; i++)
                if (provider_has_host(&providers->list[i], host))
                        return &providers->list[i];
        for (; host && strchr(host, '.'); host = strchr(host, '.') + 1)
                if ((provider = provider_by_domain(providers, host)))
                        return provider;
        return NULL;
}

/* How long the entry of @list is that @host equals or ends in; 0 for none. */
static size_t suffix_len(char *const *list, const char *host)
{
        size_t longest = 0, host_len = strlen(host);

        for (; list && *list; list++) {
                size_t len = strlen(*list);

                if (len > longest && text_ends_nocase(host, *list) &&
                    (len == host_len || host[host_len - len - 1] == '.'))
                        longest = len;
        }
        return longest;
}

const Provider *provider_by_mx(const Providers *providers, const char *host)
{
        const Provider *found = NULL;
        size_t longest = 0;

        for (size_t i = 0; i < providers->n; i++) {
                size_t len = suffix_len(providers->list[i].mx, host);

                if (len > longest) {
                        longest = len;
                        found = &providers->list[i];
                }
        }
        return found;
}

const char *filter_by_mx(const Providers *providers, const char *host)
{
        for (size_t i = 0; i < providers->n_filters; i++)
                if (suffix_len(providers->filters[i].mx, host) > 0)
                        return providers->filters[i].name;
        return NULL;
}

const Provider *provider_by_label(const Providers *providers, const char *label)
{
        for (size_t i = 0; i < providers->n; i++)
                if (text_equal_nocase(providers->list[i].id, label))
                        return &providers->list[i];
        for (size_t i = 0; i < providers->n; i++)
                if (list_contains_nocase(providers->list[i].aliases, label))
                        return &providers->list[i];
        return provider_by_domain(providers, label);
}

/* Slips of the keyboard between @a and @b: a letter more, less, another, or two swapped. Both at most NEAR_MAX. */
static size_t slips(const char *a, size_t a_len, const char *b, size_t b_len)
{
        size_t d[3][NEAR_MAX + 1];

        for (size_t j = 0; j <= b_len; j++)
                d[0][j] = j;
        for (size_t i = 1; i <= a_len; i++) {
                size_t *row = d[i % 3], *above = d[(i - 1) % 3], *two = d[(i + 1) % 3];

                row[0] = i;
                for (size_t j = 1; j <= b_len; j++) {
                        size_t least = above[j - 1] + (a[i - 1] != b[j - 1]);

                        least = MIN(least, MIN(above[j], row[j - 1]) + 1);
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                                least = MIN(least, two[j - 2] + 1);
                        row[j] = least;
                }
        }
        return d[a_len % 3][b_len];
}

const char *provider_near(const Providers *providers, const char *domain)
{
        size_t len = strlen(domain), best = SIZE_MAX;
        const char *near = NULL;

        if (len > NEAR_MAX || provider_by_domain(providers, domain))
                return NULL;
        for (size_t i = 0; i < providers->n; i++)
                for (char **d = providers->list[i].domains; d && *d; d++) {
                        size_t other = strlen(*d), n;

                        if (other > NEAR_MAX || (other > len ? other - len : len - other) > 2)
                                continue;
                        n = slips(domain, len, *d, other);
                        /* In a short name two slips make any other name. */
                        if (n <= (len >= 9 ? 2U : 1U) && n < best) {
                                best = n;
                                near = *d;
                        }
                }
        return near;
}

bool provider_needs_oauth(const Provider *provider)
{
        return provider->methods && list_contains_nocase(provider->methods, "oauth2") &&
               !list_contains_nocase(provider->methods, "password") &&
               !list_contains_nocase(provider->methods, "app-password");
}
