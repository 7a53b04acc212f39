/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oauth.h. */
#include <string.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/json.h"
#include "proto/oauth.h"
#include "proto/oauth_url.h"

enum { LIST_MAX = 256, URL_MAX = 2048, CODE_MAX = 4096 };

/* --- the issuer's description ------------------------------------------------------------------------------- */

void oauth_metadata_deinit(OauthMetadata *metadata)
{
        free(metadata->issuer);
        free(metadata->authorization);
        free(metadata->token);
        free(metadata->device);
        free(metadata->registration);
        free(metadata->revocation);
        list_free(metadata->scopes);
        list_free(metadata->token_auth_methods);
        list_free(metadata->protected_resources);
        *metadata = (OauthMetadata){};
}

/* A text of the object, or nothing. */
static int take_text(char **to, json_object *object, const char *key, size_t max)
{
        const char *text = json_text(object, key, max);

        return text && *text ? text_set(to, text) : 0;
}

static int take_address(char **to, json_object *object, const char *key)
{
        const char *text = json_text(object, key, URL_MAX);

        return text && oauth_url_is_https(text) ? text_set(to, text) : 0;
}

static int take_list(char ***to, json_object *object, const char *key)
{
        json_object *list = json_member(object, key);
        int r = 0;

        if (!json_object_is_type(list, json_type_array))
                return 0;
        for (size_t i = 0; i < json_object_array_length(list) && r == 0; i++) {
                json_object *item = json_object_array_get_idx(list, i);
                const char *text = json_object_is_type(item, json_type_string)
                                           ? json_object_get_string(item)
                                           : NULL;

                if (text && strlen(text) <= LIMIT_STRING && text_is_clean(text, strlen(text)))
                        r = list_append(to, text, LIST_MAX);
        }
        return r == -ENOBUFS ? 0 : r;
}

static int metadata_take(OauthMetadata *to, json_object *object)
{
        _cleanup_list_ char **challenges = NULL;
        int r;

        if ((r = take_text(&to->issuer, object, "issuer", URL_MAX)) < 0 ||
            (r = take_address(&to->authorization, object, "authorization_endpoint")) < 0 ||
            (r = take_address(&to->token, object, "token_endpoint")) < 0 ||
            (r = take_address(&to->device, object, "device_authorization_endpoint")) < 0 ||
            (r = take_address(&to->registration, object, "registration_endpoint")) < 0 ||
            (r = take_address(&to->revocation, object, "revocation_endpoint")) < 0 ||
            (r = take_list(&to->scopes, object, "scopes_supported")) < 0 ||
            (r = take_list(&to->token_auth_methods, object,
                           "token_endpoint_auth_methods_supported")) < 0 ||
            (r = take_list(&to->protected_resources, object, "protected_resources")) < 0 ||
            (r = take_list(&challenges, object, "code_challenge_methods_supported")) < 0)
                return r;
        to->challenge_known = json_object_is_type(
                json_member(object, "code_challenge_methods_supported"), json_type_array);
        to->challenge_s256 = list_contains_nocase(challenges, "S256");
        to->iss_parameter = json_flag(object, "authorization_response_iss_parameter_supported") ==
                            1;
        return 0;
}

int oauth_metadata_read(OauthMetadata *to, const char *text, size_t len, const char *issuer)
{
        OauthMetadata metadata = {};
        json_object *object = NULL;
        int r;

        r = json_read(&object, text, len);
        if (r < 0)
                return r;
        r = json_object_is_type(object, json_type_object) ? metadata_take(&metadata, object)
                                                          : -EBADMSG;
        if (r == 0 && (!metadata.issuer || !metadata.token))
                r = -EBADMSG;
        if (r == 0 && strcmp(metadata.issuer, issuer) != 0)
                r = -EXDEV;
        json_object_put(object);
        if (r < 0) {
                oauth_metadata_deinit(&metadata);
                return r;
        }
        oauth_metadata_deinit(to);
        *to = metadata;
        return 0;
}

bool oauth_issuer_is_valid(const char *issuer)
{
        return oauth_url_is_https(issuer) && !strpbrk(issuer, "?#@ ");
}

int oauth_metadata_url(char **ret, const char *issuer, unsigned n)
{
        const char *host = issuer + strlen("https://"), *path;
        size_t len;

        if (!oauth_issuer_is_valid(issuer) || n > 1)
                return -EINVAL;
        path = strchr(host, '/');
        path = path ? path : host + strlen(host);
        len = strlen(issuer);
        if (len > 0 && issuer[len - 1] == '/')
                len--;
        if (n == 1)
                return text_format(ret, "%.*s/.well-known/openid-configuration", (int) len, issuer);
        /* A path of "/" alone is no path. */
        return text_format(ret, "%.*s/.well-known/oauth-authorization-server%.*s",
                           (int) (path - issuer), issuer,
                           (int) MAX((ptrdiff_t) 0, issuer + len - path), path);
}

/* --- tokens ------------------------------------------------------------------------------------------------- */

void oauth_tokens_deinit(OauthTokens *tokens)
{
        secret_unref(tokens->access);
        secret_unref(tokens->refresh);
        free(tokens->scope);
        free(tokens->subject);
        free(tokens->email);
        free(tokens->audience);
        free(tokens->nonce);
        *tokens = (OauthTokens){};
}

/* Returns 0, also when there is none, -EBADMSG when it could not be sent. */
static int take_secret(Secret **to, json_object *object, const char *key)
{
        json_object *value = json_member(object, key);
        const char *text;
        size_t len;

        if (!json_object_is_type(value, json_type_string))
                return value ? -EBADMSG : 0;
        text = json_object_get_string(value);
        len = (size_t) json_object_get_string_len(value);
        if (len == 0 || len > LIMIT_TOKEN)
                return -EBADMSG;
        for (size_t i = 0; i < len; i++)
                if (text[i] < ' ' || text[i] > '~') /* RFC 6749 appendix A.12 */
                        return -EBADMSG;
        return secret_new(to, text, len);
}

/* Some write numbers as texts. Anything that is no number is 0. */
static uint64_t take_number(json_object *object, const char *key)
{
        json_object *value = json_member(object, key);
        uint64_t number = 0;

        if (json_object_is_type(value, json_type_int))
                return (uint64_t) MAX(json_object_get_int64(value), INT64_C(0));
        if (json_object_is_type(value, json_type_string) &&
            text_to_u64(json_object_get_string(value), UINT32_MAX, &number) == 0)
                return number;
        return 0;
}

/* The ID token's claims, read without its signature: it came straight from the token endpoint (OpenID Core 3.1.3.7, 6). */
static int take_identity(OauthTokens *to, json_object *object)
{
        const char *token = json_text(object, "id_token", LIMIT_TOKEN), *begin, *end;
        _cleanup_buffer_ Buffer claims = BUFFER_SECRET(LIMIT_TOKEN);
        json_object *parsed = NULL;
        int r;

        begin = token ? strchr(token, '.') : NULL;
        end = begin ? strchr(begin + 1, '.') : NULL;
        if (!end)
                return 0;
        r = oauth_base64url_decode(&claims, begin + 1, (size_t) (end - begin - 1));
        if (r == 0)
                r = json_read(&parsed, claims.data ? claims.data : "", claims.len);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        r = take_text(&to->subject, parsed, "sub", LIMIT_STRING);
        if (r == 0)
                r = take_text(&to->email, parsed, "email", LIMIT_ADDRESS);
        /* Microsoft's has no email, but the name that one signs in with. */
        if (r == 0 && !to->email && json_text(parsed, "preferred_username", LIMIT_ADDRESS) &&
            strchr(json_text(parsed, "preferred_username", LIMIT_ADDRESS), '@'))
                r = take_text(&to->email, parsed, "preferred_username", LIMIT_ADDRESS);
        if (r == 0)
                r = take_text(&to->audience, parsed, "aud", LIMIT_STRING);
        if (r == 0)
                r = take_text(&to->nonce, parsed, "nonce", LIMIT_STRING);
        json_object_put(parsed);
        return r;
}

static int tokens_take(OauthTokens *to, json_object *object)
{
        const char *type = json_text(object, "token_type", 32);
        int r;

        if (!type || !text_equal_nocase(type, "Bearer"))
                return -EBADMSG;
        r = take_secret(&to->access, object, "access_token");
        if (r == 0 && !to->access)
                r = -EBADMSG;
        if (r == 0)
                r = take_secret(&to->refresh, object, "refresh_token");
        if (r == 0)
                r = take_text(&to->scope, object, "scope", LIMIT_TOKEN);
        if (r == 0)
                r = take_identity(to, object);
        to->expires_sec = take_number(object, "expires_in");
        return r;
}

int oauth_tokens_read(OauthTokens *to, const char *text, size_t len)
{
        static const char *const secrets[] = { "access_token", "refresh_token", "id_token" };
        OauthTokens tokens = {};
        json_object *object = NULL;
        int r;

        r = json_read(&object, text, len);
        if (r < 0)
                return r;
        r = json_object_is_type(object, json_type_object) ? tokens_take(&tokens, object) : -EBADMSG;
        for (size_t i = 0; i < ELEMENTS(secrets); i++)
                json_wipe(object, secrets[i]);
        json_object_put(object);
        if (r < 0) {
                oauth_tokens_deinit(&tokens);
                return r;
        }
        oauth_tokens_deinit(to);
        *to = tokens;
        return 0;
}

/* --- errors ------------------------------------------------------------------------------------------------- */

static void show(char *to, size_t size, json_object *object, const char *key)
{
        json_object *value = json_member(object, key);
        const char *text = json_object_is_type(value, json_type_string) ||
                                           json_object_is_type(value, json_type_int)
                                   ? json_object_get_string(value)
                                   : NULL;

        if (text)
                text_printable(to, size, text, strlen(text));
}

static void show_first_code(char *to, size_t size, json_object *object)
{
        json_object *codes = json_member(object, "error_codes"), *first;

        if (!json_object_is_type(codes, json_type_array) || json_object_array_length(codes) == 0)
                return;
        first = json_object_array_get_idx(codes, 0);
        if (json_object_is_type(first, json_type_int))
                text_printable(to, size, json_object_get_string(first),
                               strlen(json_object_get_string(first)));
}

int oauth_error_read(OauthError *to, const char *text, size_t len)
{
        json_object *object = NULL;
        int r;

        *to = (OauthError){};
        r = json_read(&object, text, len);
        if (r < 0)
                return r;
        show(to->error, sizeof(to->error), object, "error");
        show(to->description, sizeof(to->description), object, "error_description");
        show_first_code(to->detail, sizeof(to->detail), object);
        if (!to->detail[0])
                show(to->detail, sizeof(to->detail), object, "suberror");
        json_object_put(object);
        return to->error[0] ? 0 : -EBADMSG;
}

/* --- devices ------------------------------------------------------------------------------------------------ */

void oauth_device_deinit(OauthDevice *device)
{
        secret_unref(device->code);
        *device = (OauthDevice){};
}

static bool device_texts(OauthDevice *to, json_object *object)
{
        const char *code = json_text(object, "user_code", sizeof(to->user_code) - 1);
        const char *uri = json_text(object, "verification_uri", sizeof(to->uri) - 1);
        const char *complete = json_text(object, "verification_uri_complete",
                                         sizeof(to->uri_complete) - 1);

        /* An early draft's name, which Google keeps to. */
        if (!uri)
                uri = json_text(object, "verification_url", sizeof(to->uri) - 1);
        if (!code || !*code || !uri || !oauth_url_is_https(uri))
                return false;
        memcpy(to->user_code, code, strlen(code) + 1);
        memcpy(to->uri, uri, strlen(uri) + 1);
        if (complete && oauth_url_is_https(complete))
                memcpy(to->uri_complete, complete, strlen(complete) + 1);
        return true;
}

int oauth_device_read(OauthDevice *to, const char *text, size_t len)
{
        OauthDevice device = {};
        json_object *object = NULL;
        int r;

        r = json_read(&object, text, len);
        if (r < 0)
                return r;
        r = take_secret(&device.code, object, "device_code");
        if (r == 0 && (!device.code || !device_texts(&device, object)))
                r = -EBADMSG;
        device.expires_sec = take_number(object, "expires_in");
        device.interval_sec = take_number(object, "interval");
        json_wipe(object, "device_code");
        json_object_put(object);
        if (r < 0) {
                oauth_device_deinit(&device);
                return r;
        }
        oauth_device_deinit(to);
        *to = device;
        return 0;
}

/* --- clients ------------------------------------------------------------------------------------------------ */

void oauth_client_deinit(OauthClient *client)
{
        free(client->id);
        secret_unref(client->secret);
        *client = (OauthClient){};
}

int oauth_client_read(OauthClient *to, const char *text, size_t len)
{
        OauthClient client = {};
        json_object *object = NULL;
        int r;

        r = json_read(&object, text, len);
        if (r < 0)
                return r;
        r = take_text(&client.id, object, "client_id", LIMIT_STRING);
        if (r == 0)
                r = take_secret(&client.secret, object, "client_secret");
        if (r == 0 && !client.id)
                r = -EBADMSG;
        client.secret_expires_sec = take_number(object, "client_secret_expires_at");
        json_wipe(object, "client_secret");
        json_object_put(object);
        if (r < 0) {
                oauth_client_deinit(&client);
                return r;
        }
        oauth_client_deinit(to);
        *to = client;
        return 0;
}

static bool add_texts(json_object *to, const char *key, const char *const *texts)
{
        json_object *list = json_object_new_array();

        for (; list && *texts; texts++)
                if (json_object_array_add(list, json_object_new_string(*texts)) < 0)
                        return false;
        return list && json_object_object_add(to, key, list) == 0;
}

static bool add_text(json_object *to, const char *key, const char *text)
{
        return !text || json_object_object_add(to, key, json_object_new_string(text)) == 0;
}

static bool registration_fill(json_object *to, const OauthRegistration *what)
{
        const char *const grants[] = { "authorization_code", "refresh_token",
                                       what->device ? OAUTH_GRANT_DEVICE : NULL, NULL };
        const char *const responses[] = { "code", NULL };

        return add_texts(to, "redirect_uris", what->redirects) &&
               add_texts(to, "grant_types", grants) && add_texts(to, "response_types", responses) &&
               add_text(to, "token_endpoint_auth_method", "none") &&
               add_text(to, "application_type", "native") && add_text(to, "scope", what->scope) &&
               add_text(to, "client_name", what->name) && add_text(to, "client_uri", what->uri) &&
               add_text(to, "software_id", what->name) &&
               add_text(to, "software_version", what->version);
}

int oauth_registration_write(Buffer *to, const OauthRegistration *what)
{
        json_object *document = json_object_new_object();
        int r = -ENOMEM;

        if (document && registration_fill(document, what))
                r = buffer_append_text(to, json_object_to_json_string(document));
        json_object_put(document);
        return r;
}

/* --- scopes ------------------------------------------------------------------------------------------------- */

static size_t word_len(const char *text)
{
        return strcspn(text, " ");
}

static bool scope_is_of_identity(const char *word, size_t len)
{
        static const char *const words[] = { "openid", "email", "profile", "offline_access" };

        for (size_t i = 0; i < ELEMENTS(words); i++)
                if (strlen(words[i]) == len && strncasecmp(words[i], word, len) == 0)
                        return true;
        return false;
}

static bool scope_has(const char *scopes, const char *word, size_t len)
{
        for (; *scopes; scopes += strspn(scopes, " ")) {
                size_t n = word_len(scopes);

                if (n == len && strncasecmp(scopes, word, len) == 0)
                        return true;
                scopes += n;
        }
        return false;
}

bool oauth_scope_covers(const char *granted, const char *wanted)
{
        granted += strspn(granted, " ");
        for (wanted += strspn(wanted, " "); *wanted; wanted += strspn(wanted, " ")) {
                size_t len = word_len(wanted);

                if (!scope_is_of_identity(wanted, len) && !scope_has(granted, wanted, len))
                        return false;
                wanted += len;
        }
        return true;
}
