/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Addresses, forms and redirects of OAuth 2.0 (RFC 6749, 7636, 8252, 9207): put together and taken apart. Pure functions of bytes; random
 * octets are the caller's. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"

enum { OAUTH_VERIFIER_OCTETS = 32, OAUTH_REDIRECT_MAX = 8192 };

/* "https://" and a host, without user, blank or control character. Loopback and literals are the connection's business. */
bool oauth_url_is_https(const char *url);
/* RFC 4648 section 5 without padding. 0, -ENOMEM, -ENOBUFS, -EINVAL. */
int oauth_base64url(Buffer *to, const void *data, size_t len);
int oauth_base64url_decode(Buffer *to, const char *text, size_t len);
/* RFC 7636 section 4.2: S256. Appends the challenge of @verifier. */
int oauth_challenge(Buffer *to, const char *verifier);

/* Appends "&key=value", or without the sign at the beginning, as application/x-www-form-urlencoded. */
int oauth_form_add(Buffer *to, const char *key, const char *value);

typedef struct OauthQuestion {
        const char *endpoint; /* may have a query already */
        const char *client, *redirect, *scope, *state, *verifier;
        const char *nonce;      /* NULL none: for ID tokens */
        const char *login_hint; /* the address; NULL */
        const char *
                parameters; /* "a=b&c=d" of the provider, NULL; what we say ourselves is not said again */
} OauthQuestion;

/* The address for the browser: code, PKCE S256. */
int oauth_authorization_url(char **ret, const OauthQuestion *question);

/* What came back. Texts are decoded; @code and @state as they are, others printable. */
typedef struct OauthRedirect {
        Secret *code; /* NULL when there is an error */
        char state[128], issuer[1024], error[64], description[384];
        bool has_issuer;
} OauthRedirect;

void oauth_redirect_deinit(OauthRedirect *redirect);
/* Takes @uri apart, which has to be @expected (scheme, host, port and path to the letter) and a query. A fragment is ignored.
 * Returns 0; -EXDEV (another address); -EBADMSG (a parameter twice, a broken escape, neither code nor error, both, or no state); -ENOMEM. */
int oauth_redirect_read(OauthRedirect *to, const char *uri, const char *expected);
