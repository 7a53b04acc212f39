/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What authorization servers say: their description (RFC 8414, OpenID Discovery), replies of the token, device and
 * registration endpoints, errors. Pure functions of bytes: nothing is fetched here, and nobody waits. Foreign JSON is read by proto/json:
 * RFC 8259 to the letter, bounded. Nothing here judges: a reply without what it must have is -EBADMSG. */
#pragma once

#include "base/buffer.h"
#include "base/secret.h"
#include "base/util.h"

typedef struct OauthMetadata {
        char *issuer;
        char *authorization, *token, *device, *registration,
                *revocation;        /* https addresses; NULL none */
        char **scopes;              /* NULL: it does not say */
        char **token_auth_methods;  /* NULL: client_secret_basic (RFC 8414 section 2) */
        char **protected_resources; /* host names that tokens are for; NULL: it does not say */
        bool challenge_known;       /* it says which code challenge methods it has */
        bool challenge_s256;
        bool iss_parameter; /* RFC 9207 section 3: it names itself in every redirect */
} OauthMetadata;

void oauth_metadata_deinit(OauthMetadata *metadata);
/* Reads the document of @issuer. An address that is not https is left out. Returns 0; -EBADMSG (no such document, or without a
 * token endpoint); -EXDEV (it describes another issuer, RFC 8414 section 3.3: compared octet by octet); -ENOMEM. */
int oauth_metadata_read(OauthMetadata *to, const char *text, size_t len, const char *issuer);
/* https, no query, fragment or user; a trailing slash is part of it. */
bool oauth_issuer_is_valid(const char *issuer);
/* Where the description is: @n 0 RFC 8414 section 3.1 (the well-known part before the issuer's path), 1 OpenID (behind it). NULL for more.
 * Returns 0, -ENOMEM, -EINVAL. */
int oauth_metadata_url(char **ret, const char *issuer, unsigned n);

typedef struct OauthTokens {
        Secret *access, *refresh; /* refresh NULL: none came */
        uint64_t expires_sec;     /* 0: it does not say */
        char *scope; /* what was granted; NULL: what was asked for (RFC 6749 section 5.1) */
        char *subject,
                *email; /* of the ID token; NULL when there is none. Fit for comparing, proven by the TLS it came by */
        char *audience; /* the ID token's client; NULL */
        char *nonce;
} OauthTokens;

void oauth_tokens_deinit(OauthTokens *tokens);
/* RFC 6749 section 5.1. -EBADMSG also for a token type that is not Bearer, and a token that could not be sent. The octets of @text
 * are the caller's to wipe; our copies are. */
int oauth_tokens_read(OauthTokens *to, const char *text, size_t len);

/* RFC 6749 section 5.2, and what providers add. Texts are printable and cut. */
typedef struct OauthError {
        char error[64];
        char detail[64]; /* suberror, or the first of error_codes: machine-readable */
        char description[384];
} OauthError;

/* Returns 0, -EBADMSG (no JSON object with an error in it), -ENOMEM. */
int oauth_error_read(OauthError *to, const char *text, size_t len);

/* RFC 8628 section 3.2 */
typedef struct OauthDevice {
        Secret *code;
        char user_code[64], uri[512], uri_complete[512]; /* the last "" when there is none */
        uint64_t expires_sec, interval_sec;
} OauthDevice;

void oauth_device_deinit(OauthDevice *device);
int oauth_device_read(OauthDevice *to, const char *text, size_t len);

/* RFC 7591 section 3.2.1 */
typedef struct OauthClient {
        char *id;
        Secret *secret;              /* NULL: a public client */
        uint64_t secret_expires_sec; /* since 1970; 0 never */
} OauthClient;

void oauth_client_deinit(OauthClient *client);
int oauth_client_read(OauthClient *to, const char *text, size_t len);

#define OAUTH_GRANT_DEVICE "urn:ietf:params:oauth:grant-type:device_code" /* RFC 8628 section 3.4 */

/* RFC 7591 section 2, as a native public client (RFC 8252). */
typedef struct OauthRegistration {
        const char *redirects[3]; /* NULL behind the last */
        const char *scope;
        const char *name, *uri, *version;
        bool device; /* also the device grant */
} OauthRegistration;
/* Appends the document. Returns 0, -ENOMEM, -ENOBUFS. */
int oauth_registration_write(Buffer *to, const OauthRegistration *what);

/* Are all of @wanted (separated by blanks) in @granted, but for those that say who one is and not what one may? */
bool oauth_scope_covers(const char *granted, const char *wanted);
