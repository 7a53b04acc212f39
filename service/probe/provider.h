/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is known of providers without asking anybody: the table compiled in (data/providers.json) and the administrator's additions in the same
 * form. Facts of a release age: a candidate from here is a hypothesis like any other. Read-only once it is loaded. */
#pragma once

#include "base/limits.h"
#include "probe/endpoint.h"

enum { PROVIDER_SUBMISSIONS = 4, PROVIDERS_MAX = 1024 };

/* May the account's own password be used for mail? */
typedef enum AccountPassword {
        ACCOUNT_PASSWORD_UNKNOWN,
        ACCOUNT_PASSWORD_WORKS,
        ACCOUNT_PASSWORD_REFUSED,
} AccountPassword;

typedef enum AppPassword { APP_PASSWORD_NO, APP_PASSWORD_WITH_2FA, APP_PASSWORD_YES } AppPassword;

/* Is a protocol there, and does the user have to switch it on? */
typedef enum Access { ACCESS_UNKNOWN, ACCESS_ON, ACCESS_OFF, ACCESS_UNAVAILABLE } Access;

typedef enum UserForm { USER_ADDRESS, USER_LOCAL } UserForm;

typedef struct Provider {
        char *id, *name;
        char **domains, **mx, **aliases, **methods;
        Endpoint pop3, imap; /* host NULL: none known; user is never set here */
        Endpoint smtp[PROVIDER_SUBMISSIONS];
        size_t n_smtp;
        UserForm user, user_outgoing;
        AccountPassword account_password;
        AppPassword app_password;
        char *app_password_page, *settings_page;
        Access pop_access, imap_access;
        char *plan, *alternative; /* words to show; NULL none */
        char *app_password_shape; /* as secret_shape.h writes it; NULL not known */
        char *sasl_unlisted;      /* a mechanism that it takes without offering it; NULL none */
        char *oauth_issuer;
        bool oauth_registration; /* the issuer registers programs by itself (RFC 7591) */
        char *oauth_scopes;      /* separated by blanks; NULL: as the issuer's metadata say */
        char *oauth_parameters;  /* "a=b&c=d": what its authorization page wants besides; NULL */
        /* For issuers without usable metadata; NULL: ask the issuer. */
        char *oauth_authorization, *oauth_token, *oauth_device;
        uint64_t poll_minimum_usec;
        bool pop_window; /* POP3 hides what any program has fetched once, and shows the rest in parts */
        char *checked;      /* "2026-11" */
        bool administrator; /* from the administrator's files */
} Provider;

typedef struct Providers Providers;

/* The compiled-in table, then every *.json in @directory in order of name (NULL or absent: none), which come first when looked up. A file of the
 * administrator that cannot be read is logged and left out. Returns 0, -ENOMEM, -EBADMSG (the compiled-in one: a bug of the build). */
int providers_new(Providers **ret, const char *directory);
Providers *providers_free(Providers *providers);
DEFINE_CLEANUP(Providers, providers_free);

/* All borrowed; NULL for none. By exact mail domain (A-labels). */
const Provider *provider_by_domain(const Providers *providers, const char *domain);
/* By the longest suffix of a mail exchanger's name. */
const Provider *provider_by_mx(const Providers *providers, const char *host);
/* By id, alias or domain: the labels that replies and reports use. */
const Provider *provider_by_label(const Providers *providers, const char *label);
/* By the name of one of its servers, or of any host below one of its domains. */
const Provider *provider_by_host(const Providers *providers, const char *host);
const Provider *provider_at(const Providers *providers, size_t index);
/* The service that filters the mail of domains whose exchanger is @host; its name, or NULL. */
const char *filter_by_mx(const Providers *providers, const char *host);
/* A provider's domain that differs from @domain by one slip (two in a long name), NULL for none or for a provider's own. Distance alone
 * says nothing: only for domains that take no mail. */
const char *provider_near(const Providers *providers, const char *domain);

/* No password is worth asking for: only a sign-in in the browser opens this account. */
bool provider_needs_oauth(const Provider *provider);
