/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A sign-in in the browser, or by a code on another device, under way in a setup: which issuer, which client, which flow; then the grant. The
 * redirect is the caller's to catch; path, state, nonce and verifier are made here and never leave, and the code is redeemed here. One for both
 * sides of a setup. */
#pragma once

#include "core/grant.h"
#include "core/setup_internal.h"

typedef struct Authorization Authorization;

/* The issuer that a side's server belongs to: the administrator's word for the host, the table's, or that of the provider's own document.
 * NULL: none is known. Borrowed from the setup, or in @to (freed by the caller). */
int authorization_issuer(char **to, Setup *setup, Side side);
/* Finds out how one signs in there: client, metadata, flows. Suspends.
 * Returns 0 and @ret; 1 with @finding failed (oauth.no-client, oauth.temporarily-unavailable, ...); negative errno. */
int authorization_new(Authorization **ret, Setup *setup, Side side, const char *issuer,
                      Finding *finding);
/* Ends what is under way; whoever has the grant keeps it. */
Authorization *authorization_free(Authorization *authorization);
DEFINE_CLEANUP(Authorization, authorization_free);
/* May tokens of this issuer go to @host? The table, the administrator and the issuer's own list say so; else one organisation's name. */
bool authorization_is_for(const Authorization *authorization, const char *host);
/* For the need: oauth-issuer, methods ("code", "device"), scopes. */
int authorization_describe(const Authorization *authorization, Dict *details);

/* Begins a flow; one that was begun before is over. @options: flow, redirect-port, redirect-host. @ret: what has to be shown. Suspends with "device".
 * 0, SETUP_INVALID_KEY, SETUP_NOT_SUPPORTED (with @ret_why), negative errno. */
int authorization_begin(Authorization *authorization, const Dict *options, Dict *ret,
                        const char **ret_why);
/* The redirect as it came. 0: it is being redeemed. SETUP_STALE (another state, a flow that is over), SETUP_INVALID_KEY (not the redirect that was agreed, or
 * malformed, or by another issuer): nothing happened. */
int authorization_complete(Authorization *authorization, const char *redirect,
                           const char **ret_why);
/* What has come of it: 1 with @ret_grant (borrowed), or with @ret_failure (borrowed); 0 nothing yet. */
int authorization_result(const Authorization *authorization, Grant **ret_grant,
                         const Finding **ret_failure);
/* A failure is forgotten; the next begin starts anew. */
void authorization_forget(Authorization *authorization);
