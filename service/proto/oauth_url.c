/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oauth_url.h. */
#include <string.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/oauth_url.h"

enum { URL_MAX = 16 * 1024, VALUE_MAX = 8192 };

bool oauth_url_is_https(const char *url)
{
        const char *host = url + strlen("https://");
        size_t len = strlen(url), host_len;

        if (!text_starts_nocase(url, "https://") || len > VALUE_MAX || !text_is_clean(url, len) ||
            strpbrk(url, " \"<>\\^`{|}"))
                return false;
        host_len = strcspn(host, "/?#");
        return host_len > 0 && !memchr(host, '@', host_len);
}

/* --- base64url ---------------------------------------------------------------------------------------------- */

int oauth_base64url(Buffer *to, const void *data, size_t len)
{
        size_t before = to->len;
        int r;

        r = base64_encode(to, data, len);
        if (r < 0)
                return r;
        while (to->len > before && to->data[to->len - 1] == '=')
                to->data[--to->len] = 0;
        for (size_t i = before; i < to->len; i++)
                to->data[i] = to->data[i] == '+' ? '-' : to->data[i] == '/' ? '_' : to->data[i];
        return 0;
}

int oauth_base64url_decode(Buffer *to, const char *text, size_t len)
{
        _cleanup_buffer_ Buffer plain = BUFFER_SECRET(2 * LIMIT_TOKEN);
        int r;

        r = buffer_append(&plain, text, len);
        if (r < 0)
                return r;
        for (size_t i = 0; i < plain.len; i++) {
                if (plain.data[i] == '+' || plain.data[i] == '/')
                        return -EINVAL;
                plain.data[i] = plain.data[i] == '-'   ? '+'
                                : plain.data[i] == '_' ? '/'
                                                       : plain.data[i];
        }
        while (plain.len % 4 != 0) {
                r = buffer_append_text(&plain, "=");
                if (r < 0)
                        return r;
        }
        return base64_decode(to, plain.data ? plain.data : "", plain.len);
}

int oauth_challenge(Buffer *to, const char *verifier)
{
        uint8_t digest[SHA256_LEN];
        int r;

        r = sha256(verifier, strlen(verifier), digest);
        return r < 0 ? r : oauth_base64url(to, digest, sizeof(digest));
}

/* --- forms -------------------------------------------------------------------------------------------------- */

static bool is_unreserved(char c)
{
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '.' || c == '_' || c == '~';
}

static int append_escaped(Buffer *to, const char *value)
{
        int r = 0;

        for (const char *p = value; *p && r == 0; p++)
                r = is_unreserved(*p) ? buffer_append(to, p, 1)
                                      : buffer_printf(to, "%%%02X", (unsigned char) *p);
        return r;
}

static int form_add(Buffer *to, const char *before, const char *key, const char *value)
{
        int r;

        r = buffer_append_text(to, before);
        if (r == 0)
                r = append_escaped(to, key);
        if (r == 0)
                r = buffer_append_text(to, "=");
        return r < 0 ? r : append_escaped(to, value);
}

int oauth_form_add(Buffer *to, const char *key, const char *value)
{
        return form_add(to, to->len > 0 ? "&" : "", key, value);
}

/* --- the address for the browser ---------------------------------------------------------------------------- */

/* What the provider's table adds must not change what is asked: PKCE, state and redirect are ours. */
static bool is_ours(const char *key, size_t len)
{
        static const char *const ours[] = { "response_type",
                                            "client_id",
                                            "redirect_uri",
                                            "scope",
                                            "state",
                                            "code_challenge",
                                            "code_challenge_method",
                                            "nonce",
                                            "login_hint",
                                            "response_mode",
                                            "request",
                                            "request_uri" };

        for (size_t i = 0; i < ELEMENTS(ours); i++)
                if (strlen(ours[i]) == len && strncasecmp(ours[i], key, len) == 0)
                        return true;
        return false;
}

static int append_parameters(Buffer *to, const char *parameters)
{
        int r = 0;

        while (parameters && *parameters && r == 0) {
                size_t len = strcspn(parameters, "&"), key = strcspn(parameters, "=&");

                if (key > 0 && key < len && !is_ours(parameters, key) &&
                    strcspn(parameters, " #\"<>") >= len) {
                        r = buffer_append_text(to, "&");
                        if (r == 0)
                                r = buffer_append(to, parameters, len);
                }
                parameters += len;
                parameters += *parameters == '&';
        }
        return r;
}

int oauth_authorization_url(char **ret, const OauthQuestion *q)
{
        _cleanup_buffer_ Buffer url = BUFFER_SECRET(URL_MAX), challenge = BUFFER(128);
        const char *first = strchr(q->endpoint, '?') ? "&" : "?";
        int r;

        r = oauth_challenge(&challenge, q->verifier);
        if (r == 0)
                r = buffer_append(&url, q->endpoint, strcspn(q->endpoint, "#"));
        if (r < 0 || (r = form_add(&url, first, "response_type", "code")) < 0 ||
            (r = oauth_form_add(&url, "client_id", q->client)) < 0 ||
            (r = oauth_form_add(&url, "redirect_uri", q->redirect)) < 0 ||
            (r = oauth_form_add(&url, "scope", q->scope)) < 0 ||
            (r = oauth_form_add(&url, "state", q->state)) < 0 ||
            (r = oauth_form_add(&url, "code_challenge", challenge.data)) < 0 ||
            (r = oauth_form_add(&url, "code_challenge_method", "S256")) < 0)
                return r;
        if (q->nonce)
                r = oauth_form_add(&url, "nonce", q->nonce);
        if (r == 0 && q->login_hint)
                r = oauth_form_add(&url, "login_hint", q->login_hint);
        if (r == 0)
                r = append_parameters(&url, q->parameters);
        return r < 0 ? r : buffer_take(&url, ret);
}

/* --- the way back ------------------------------------------------------------------------------------------- */

void oauth_redirect_deinit(OauthRedirect *redirect)
{
        secret_unref(redirect->code);
        *redirect = (OauthRedirect){};
}

/* Returns 0, -EBADMSG, -ENOMEM, -ENOBUFS. */
static int unescape(Buffer *to, const char *text, size_t len)
{
        int r = 0;

        for (size_t i = 0; i < len && r == 0; i++) {
                uint8_t octet = (uint8_t) text[i];

                if (text[i] == '+')
                        octet = ' ';
                if (text[i] == '%') {
                        if (len - i < 3 || hex_decode(&octet, text + i + 1, 2) < 0)
                                return -EBADMSG;
                        i += 2;
                }
                if (octet == 0)
                        return -EBADMSG;
                r = buffer_append(to, &octet, 1);
        }
        return r;
}

typedef struct Parameter {
        const char *key;
        Buffer value;
        bool seen;
} Parameter;

enum { P_CODE, P_STATE, P_ISS, P_ERROR, P_DESCRIPTION, N_PARAMETERS };

/* RFC 6749 section 3.1: a parameter must not be there twice; unknown ones are ignored. */
static int take_parameter(Parameter *parameters, const char *key, size_t key_len, const char *value,
                          size_t value_len)
{
        for (size_t i = 0; i < N_PARAMETERS; i++) {
                Parameter *p = &parameters[i];

                if (strlen(p->key) != key_len || strncmp(p->key, key, key_len) != 0)
                        continue;
                if (p->seen)
                        return -EBADMSG;
                p->seen = true;
                return unescape(&p->value, value, value_len);
        }
        return 0;
}

static int take_query(Parameter *parameters, const char *query, size_t len)
{
        const char *end = query + len;
        int r = 0;

        while (query < end && r == 0) {
                const char *stop = memchr(query, '&', (size_t) (end - query));
                const char *equals;

                stop = stop ? stop : end;
                equals = memchr(query, '=', (size_t) (stop - query));
                if (equals)
                        r = take_parameter(parameters, query, (size_t) (equals - query), equals + 1,
                                           (size_t) (stop - equals - 1));
                query = stop + (stop < end);
        }
        return r;
}

static const char *value_of(const Parameter *p)
{
        return p->value.data ? p->value.data : "";
}

static int redirect_fill(OauthRedirect *to, const Parameter *p)
{
        if (!p[P_STATE].seen || p[P_STATE].value.len >= sizeof(to->state) ||
            p[P_ISS].value.len >= sizeof(to->issuer) || p[P_CODE].seen == p[P_ERROR].seen ||
            (p[P_CODE].seen && p[P_CODE].value.len == 0) ||
            (p[P_ERROR].seen && p[P_ERROR].value.len == 0))
                return -EBADMSG;
        memcpy(to->state, value_of(&p[P_STATE]), p[P_STATE].value.len + 1);
        memcpy(to->issuer, value_of(&p[P_ISS]), p[P_ISS].value.len + 1);
        to->has_issuer = p[P_ISS].seen;
        text_printable(to->error, sizeof(to->error), value_of(&p[P_ERROR]), p[P_ERROR].value.len);
        text_printable(to->description, sizeof(to->description), value_of(&p[P_DESCRIPTION]),
                       p[P_DESCRIPTION].value.len);
        return p[P_CODE].seen ? secret_new(&to->code, value_of(&p[P_CODE]), p[P_CODE].value.len)
                              : 0;
}

int oauth_redirect_read(OauthRedirect *to, const char *uri, const char *expected)
{
        Parameter parameters[N_PARAMETERS] = {
                [P_CODE] = { "code", BUFFER_SECRET(VALUE_MAX), false },
                [P_STATE] = { "state", BUFFER(VALUE_MAX), false },
                [P_ISS] = { "iss", BUFFER(VALUE_MAX), false },
                [P_ERROR] = { "error", BUFFER(VALUE_MAX), false },
                [P_DESCRIPTION] = { "error_description", BUFFER(VALUE_MAX), false },
        };
        size_t len = strlen(expected), query;
        OauthRedirect redirect = {};
        int r;

        if (strlen(uri) > OAUTH_REDIRECT_MAX)
                return -EBADMSG;
        if (strncmp(uri, expected, len) != 0 || uri[len] != '?')
                return -EXDEV;
        query = strcspn(uri + len + 1, "#");
        r = take_query(parameters, uri + len + 1, query);
        if (r == 0)
                r = redirect_fill(&redirect, parameters);
        for (size_t i = 0; i < N_PARAMETERS; i++)
                buffer_deinit(&parameters[i].value);
        if (r < 0) {
                oauth_redirect_deinit(&redirect);
                return r == -ENOMEM ? r : -EBADMSG;
        }
        oauth_redirect_deinit(to);
        *to = redirect;
        return 0;
}
