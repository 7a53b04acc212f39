/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a sign-in in the browser has granted, and the life of its tokens: refreshed ahead of their end, one refresh at a time, whoever waits;
 * a rotated refresh token is durable before anything that came with it is used; only what the server calls final ends a grant. Access tokens
 * are in memory only. Times are clock_now()'s, which no change of the wall clock moves. The surprising part: a refresh runs on a fiber of the
 * grant's own, because a rotation that nobody waits for any more still has to be stored. */
#pragma once

#include "core/core.h"
#include "probe/session.h"
#include "proto/oauth.h"

typedef struct Grant Grant;

/* What is known when it is granted. Borrowed. */
typedef struct GrantFacts {
        const char *issuer;
        const char *provider; /* id in the table; NULL */
        const char *client;   /* id */
        const Secret *
                client_secret; /* only of one that was registered for this; the administrator's is looked up when it is needed */
        bool registered;
        const char *token, *revocation; /* endpoints; revocation may be NULL */
        const char *scope;
        char *const *hosts; /* the mail servers its tokens go to, and nobody else */
} GrantFacts;

/* @tokens is moved from. */
int grant_new(Grant **ret, Core *core, const GrantFacts *facts, OauthTokens *tokens);
/* From what grant_write() wrote; belongs to @account_id. -EBADMSG. */
int grant_read(Grant **ret, Core *core, const char *account_id, const Secret *text);
/* All that is durable of it, as one text to be sealed. */
int grant_write(const Grant *grant, Secret **ret);
/* From now on rotated refresh tokens are stored there. */
void grant_set_account(Grant *grant, const char *account_id);
Grant *grant_ref(Grant *grant);
/* The last one ends a refresh under way. */
Grant *grant_unref(Grant *grant);
DEFINE_CLEANUP(Grant, grant_unref);

const char *grant_issuer(const Grant *grant);
const char *grant_client(const Grant *grant);
bool grant_is_registered(const Grant *grant);
const char *grant_subject(const Grant *grant); /* NULL: not told */
bool grant_covers(const Grant *grant, const char *host);
/* Also @host's servers are the provider's. */
int grant_add_host(Grant *grant, const char *host);

/* An access token for @host; the one in memory while it lives. @refused: this very token was refused (NULL none): another one is got, unless there
 * is one already. Suspends. Returns 0; 1 with @finding failed; negative errno. */
int grant_token(Grant *grant, const char *host, const Secret *refused, Secret **ret,
                Finding *finding);
/* Signs in on an open session by a token; one that is refused is refreshed once and tried once more, on a dialogue of its own. Suspends. */
int grant_sign_in(Grant *grant, Session *session, Finding *ret);
/* The same, dialling first. */
int grant_open_and_sign_in(Grant *grant, Session *session, Finding *ret);
/* Tells the issuer that it is over (RFC 7009), best effort, in the background of the core. Takes the reference. */
void grant_revoke_unref(Grant *grant);
