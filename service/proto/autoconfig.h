/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mozilla autoconfig documents (clientConfig 1.1 and 1.2) by expat. DOCTYPE is refused, depth, elements and text are bounded;
 * unknown things are ignored, a broken server section drops only itself. */
#pragma once

#include "base/limits.h"
#include "base/util.h"

typedef struct AutoconfigServer {
        char type[8]; /* "pop3", "imap", "smtp" */
        char *host;   /* normalized, placeholders filled */
        uint16_t port;
        char security[12];               /* "tls", "starttls", "none" */
        char *user;                      /* placeholders filled; NULL when missing */
        char **methods;                  /* authentication values as written */
        uint64_t check_interval_minutes; /* pop3 only; 0 none */
} AutoconfigServer;

typedef struct Autoconfig {
        AutoconfigServer
                servers[LIMIT_SERVERS]; /* in document order, incoming and outgoing mixed */
        size_t n_servers;
        char *display_name;
        char *enable_url; /* page where access must be switched on, NULL none; only http(s) */
        char **domains;   /* that the document says it is for, normalized; NULL none */
        char *oauth_issuer; /* as an https URL; NULL none. The endpoints that stand beside it are not believed */
} Autoconfig;

/* @address fills the placeholders, once, on the original text. Returns 0 with at least one server; -EBADMSG (not well-formed, a
 * DOCTYPE, another root element, too big or deep, nothing usable); -ENOMEM. */
int autoconfig_parse(Autoconfig **ret, const char *document, size_t len, const char *address);
Autoconfig *autoconfig_free(Autoconfig *autoconfig);
DEFINE_CLEANUP(Autoconfig, autoconfig_free);
