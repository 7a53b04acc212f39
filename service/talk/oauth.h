/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Talking to an authorization server over HTTPS: its description (RFC 8414, OpenID), tokens (RFC 6749), devices (RFC 8628), registration
 * (RFC 7591), revocation (RFC 7009). One question, one answer; who asks when, and what is kept, is decided above. All functions
 * suspend. Each returns 0; 1 with @no: REPLY (no->code the error, no->sasl its detail, no->text its description, no->status HTTP's),
 * HTTP (a status without an error that can be read), GARBAGE (a success that makes no sense), or how the connection failed; negative errno. */
#pragma once

#include "proto/oauth.h"
#include "proto/oauth_url.h"
#include "wire/http.h"

/* Whom to ask, and as whom. All borrowed. */
typedef struct OauthServer {
        Http *http;
        unsigned policy;
        const char *token, *device, *registration, *revocation; /* addresses; NULL: it has none */
        const char *client;
        const Secret *client_secret; /* NULL: a public client */
        bool secret_by_post; /* client_secret_post; else client_secret_basic (RFC 6749 section 2.3.1) */
} OauthServer;

/* Asks where RFC 8414 says, then where OpenID says; no redirects. One that describes another issuer is GARBAGE. */
int oauth_fetch_metadata(OauthMetadata *to, Http *http, const char *issuer, unsigned policy,
                         Outcome *no);
int oauth_redeem(OauthTokens *to, const OauthServer *server, const Secret *code,
                 const char *redirect, const char *verifier, Outcome *no);
int oauth_refresh(OauthTokens *to, const OauthServer *server, const Secret *refresh, Outcome *no);
int oauth_device_start(OauthDevice *to, const OauthServer *server, const char *scope, Outcome *no);
/* Once. authorization_pending and slow_down are REPLY. */
int oauth_device_ask(OauthTokens *to, const OauthServer *server, const Secret *device_code,
                     Outcome *no);

/* As a native public client (RFC 8252). */
int oauth_register(OauthClient *to, const OauthServer *server, const OauthRegistration *what,
                   Outcome *no);
/* @hint: "refresh_token" or "access_token". */
int oauth_revoke(const OauthServer *server, const Secret *token, const char *hint, Outcome *no);
