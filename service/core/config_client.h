/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The administrator's OAuth clients: one INI file for each issuer in /etc/waypost/oauth.d, section [client]. None is shipped. The files are
 * read when they are needed, so that a new one counts at once. */
#pragma once

#include "base/secret.h"
#include "base/util.h"

typedef struct ClientConfig {
        char *file;     /* its path */
        char *issuer;   /* "issuer" */
        char *client;   /* "client-id" */
        Secret *secret; /* "client-secret" or the content of "client-secret-file"; NULL: public */
        uint64_t secret_expires_usec; /* "secret-expires = 2027-03-31", since 1970; 0 not known */
        bool secret_by_post;          /* "authentication = post" (default basic) */
        char *scopes;                 /* "scopes", by blanks; NULL: table and metadata decide */
        char *parameters;             /* "parameters": of the authorization page */
        char *redirect; /* "redirect": what is registered, without a port; default http://127.0.0.1/callback */
        char **hosts; /* "hosts": mail servers that its tokens are for, and that name this issuer */
        char *authorization, *token, *device,
                *revocation; /* "authorization-endpoint" ...: instead of the issuer's metadata */
} ClientConfig;

void client_config_deinit(ClientConfig *client);
/* By issuer, to the letter; or (@issuer NULL) by a mail server among "hosts". A file that cannot be used is told in the log and left out.
 * Returns 0, -ENOENT, -ENOMEM. Reads files: on the loop, small ones. */
int client_config_find(ClientConfig *to, const char *directory, const char *issuer,
                       const char *host);
