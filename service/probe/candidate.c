/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See candidate.h. */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/sources.h"

static void candidate_deinit(Candidate *candidate)
{
        endpoint_deinit(&candidate->incoming);
        endpoint_deinit(&candidate->outgoing);
        list_free(candidate->methods);
        free(candidate->provider);
        free(candidate->provider_name);
        free(candidate->hint_url);
        free(candidate->password_url);
        free(candidate->oauth_issuer);
        free(candidate->plan);
        *candidate = (Candidate){};
}

void candidates_clear(Candidates *candidates)
{
        for (size_t i = 0; i < candidates->n; i++)
                candidate_deinit(&candidates->list[i]);
        list_free(candidates->disclosed);
        free(candidates->filter);
        free(candidates->provider);
        free(candidates->alternative);
        free(candidates->alternative_url);
        *candidates = (Candidates){};
}

Candidates *candidates_free(Candidates *candidates)
{
        if (candidates)
                candidates_clear(candidates);
        free(candidates);
        return NULL;
}

void wish_deinit(Wish *wish)
{
        free(wish->host);
        free(wish->user);
        *wish = (Wish){};
}

/* What was found and not named by the user goes to the ports of mail only: a document must not aim us at something else. */
static bool port_known(const Endpoint *endpoint)
{
        static const uint16_t known[] = { 110, 995, 143, 993, 25, 465, 587, 2525 };

        for (size_t i = 0; i < ELEMENTS(known); i++)
                if (endpoint->port == known[i])
                        return true;
        return false;
}

Security port_security(uint16_t port)
{
        static const uint16_t starttls[] = { 110, 143, 25, 587 };

        for (size_t i = 0; i < ELEMENTS(starttls); i++)
                if (port == starttls[i])
                        return SECURITY_STARTTLS;
        return SECURITY_TLS;
}

bool candidate_same(const Candidate *a, const Candidate *b)
{
        return endpoint_same(&a->incoming, &b->incoming) &&
               endpoint_same(&a->outgoing, &b->outgoing);
}

static int candidate_name(Candidate *c)
{
        _cleanup_free_ char *text = NULL;
        char digest[SHA256_HEX];
        int r;

        r = text_format(&text, "%d %s %u %d, %s %u %d", c->incoming.protocol,
                        c->incoming.host ? c->incoming.host : "-", c->incoming.port,
                        c->incoming.security, c->outgoing.host ? c->outgoing.host : "-",
                        c->outgoing.port, c->outgoing.security);
        if (r == 0)
                r = sha256_text(text, strlen(text), digest);
        if (r == 0)
                snprintf(c->id, sizeof(c->id), "%.8s", digest);
        return r;
}

void candidates_add(Candidates *candidates, Candidate *candidate)
{
        bool known = candidates->n == LIMIT_CANDIDATES;

        if (candidate->incoming.host && !port_known(&candidate->incoming)) {
                endpoint_deinit(&candidate->incoming);
                candidates->port_forbidden = true;
        }
        if (candidate->outgoing.host && !port_known(&candidate->outgoing)) {
                endpoint_deinit(&candidate->outgoing);
                candidates->port_forbidden = true;
        }
        for (size_t i = 0; i < candidates->n; i++)
                known |= candidate_same(&candidates->list[i], candidate);
        if (known || (!candidate->incoming.host && !candidate->outgoing.host) ||
            candidate_name(candidate) < 0) {
                candidate_deinit(candidate);
                return;
        }
        candidates->list[candidates->n++] = *candidate;
        *candidate = (Candidate){};
}

const Endpoint *candidate_endpoint(const Candidate *candidate, Side side)
{
        return side == SIDE_INCOMING ? &candidate->incoming : &candidate->outgoing;
}

Trust candidate_trust(const Candidate *candidate, Side side)
{
        return side == SIDE_INCOMING ? candidate->incoming_trust : candidate->outgoing_trust;
}

/* --- what the user gave ---------------------------------------------------------------------------------------------- */

static int endpoint_wish(Endpoint *e, const Wish *wish)
{
        if (!e->host)
                return 0;
        if (wish->host && !text_equal(e->host, wish->host)) {
                endpoint_deinit(e);
                return 0;
        }
        if (wish->has_security && e->security != wish->security) {
                e->security = wish->security;
                e->port = protocol_default_port(e->protocol, e->security);
        }
        if (wish->port && e->port != wish->port) {
                e->port = wish->port;
                e->security = wish->has_security ? wish->security : port_security(wish->port);
        }
        return wish->user ? text_set(&e->user, wish->user) : 0;
}

int candidates_wish(Candidates *candidates, const Wish *const wishes[2])
{
        int r = 0;

        for (size_t i = 0; i < candidates->n && r == 0; i++) {
                Candidate *c = &candidates->list[i];

                memcpy(c->wishes, wishes, sizeof(c->wishes));
                r = endpoint_wish(&c->incoming, wishes[SIDE_INCOMING]);
                if (r == 0)
                        r = endpoint_wish(&c->outgoing, wishes[SIDE_OUTGOING]);
                /* Whoever names a host has approved it, whoever else knows of it. */
                if (wishes[SIDE_INCOMING]->host)
                        c->incoming_trust = TRUST_USER;
                if (wishes[SIDE_OUTGOING]->host)
                        c->outgoing_trust = TRUST_USER;
                if (r == 0)
                        r = candidate_name(c);
        }
        return r;
}

/* --- names ------------------------------------------------------------------------------------------------------------- */

const char *source_name(Source source)
{
        switch (source) {
        case SOURCE_BY_HAND:
                return "by-hand";
        case SOURCE_ACCOUNT:
                return "account";
        case SOURCE_ADMINISTRATOR:
                return "administrator";
        case SOURCE_TABLE:
                return "table";
        case SOURCE_PACC:
                return "pacc";
        case SOURCE_AUTOCONFIG:
                return "autoconfig";
        case SOURCE_ISPDB:
                return "ispdb";
        case SOURCE_SRV:
                return "srv";
        case SOURCE_MX:
                return "mx";
        case SOURCE_HTTP:
                return "http";
        case SOURCE_CERTIFICATE:
                return "certificate";
        case SOURCE_GUESS:
                return "guess";
        case N_SOURCES:
                break;
        }
        return "unknown";
}

const char *trust_name(Trust trust)
{
        switch (trust) {
        case TRUST_USER:
                return "user";
        case TRUST_ADMINISTRATOR:
                return "administrator";
        case TRUST_TABLE:
                return "table";
        case TRUST_PROVIDER:
                return "provider";
        case TRUST_ISPDB:
                return "ispdb";
        case TRUST_DOMAIN:
                return "domain";
        case TRUST_NONE:
                return "none";
        }
        return "none";
}

Trust trust_of_host(const char *host, const char *domain)
{
        return host_same_organisation(host, domain) ? TRUST_DOMAIN : TRUST_NONE;
}

/* --- told ---------------------------------------------------------------------------------------------------------------- */

/* The fields that are the user's: whoever found the others did not find these. */
static int fields_by_hand(Dict *to, const Wish *wish)
{
        const struct {
                bool given;
                const char *key;
        } fields[] = { { wish && wish->host, KEY_HOST },
                       { wish && wish->port, KEY_PORT },
                       { wish && wish->has_security, KEY_SECURITY },
                       { wish && wish->has_protocol, KEY_PROTOCOL },
                       { wish && wish->user, KEY_USER } };
        int r = 0;

        for (size_t i = 0; i < ELEMENTS(fields) && r == 0; i++)
                if (fields[i].given)
                        r = dict_add_to_list(to, KEY_BY_HAND, fields[i].key);
        return r;
}

static int candidate_side(Dict *to, const Candidate *c, Side side)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        int r;

        if (!dict)
                return -ENOMEM;
        r = endpoint_to_dict(candidate_endpoint(c, side), dict);
        if (r == 0)
                r = dict_set_text(dict, KEY_TRUST, trust_name(candidate_trust(c, side)));
        if (r == 0)
                r = dict_set_text(dict, KEY_SOURCE, source_name(c->source));
        if (r == 0)
                r = fields_by_hand(dict, c->wishes[side]);
        return r < 0 ? r : dict_set_dict_take(to, side_name(side), TAKE(dict));
}

/* A sentence, with the page behind it where there is one. */
static int hint(char ***to, const char *sentence, const char *page)
{
        _cleanup_free_ char *line = NULL;
        int r = text_format(&line, page ? "%s: %s" : "%s%s", sentence, page ? page : ".");

        return r < 0 ? r : list_append(to, line, LIMIT_DICTIONARY);
}

int candidate_hints(const Candidate *c, char ***to)
{
        _cleanup_free_ char *plan = NULL;
        int r = 0;

        if (c->incoming.host && c->access == ACCESS_OFF)
                r = hint(to,
                         c->incoming.protocol == PROTOCOL_IMAP ? "IMAP must be switched on first"
                                                               : "POP must be switched on first",
                         c->hint_url);
        if (r == 0 && c->oauth_only)
                r = hint(to, "No password opens this account, only a sign-in in the browser", NULL);
        else if (r == 0 && c->app_password)
                r = hint(to, "The account's own password does not work, an app password is needed",
                         c->password_url);
        else if (r == 0 && (c->two_factor || c->password_url))
                r = hint(to, "With two-factor authentication an app password is needed",
                         c->password_url);
        if (r == 0 && c->plan)
                r = text_format(&plan, "Access for mail programs: %s", c->plan);
        return r == 0 && plan ? hint(to, plan, NULL) : r;
}

int candidate_to_dict(const Candidate *c, const bool sides[2], Dict *to)
{
        _cleanup_list_ char **hints = NULL;
        int r;

        r = dict_set_text(to, KEY_ID, c->id);
        if (r == 0)
                r = dict_set_text(to, KEY_SOURCE, source_name(c->source));
        for (size_t i = 0; i < 2 && r == 0; i++)
                if (sides[i])
                        r = candidate_side(to, c, (Side) i);
        if (r < 0 || (r = dict_set_text(to, KEY_PROVIDER, c->provider)) < 0 ||
            (r = dict_set_text(to, KEY_HINT_URL,
                               c->access == ACCESS_OFF || !c->app_password ? c->hint_url
                                                                           : c->password_url)) <
                    0 ||
            (r = dict_set_text(to, KEY_PASSWORD_URL, c->password_url)) < 0 ||
            (r = dict_set_text(to, KEY_OAUTH_ISSUER, c->oauth_issuer)) < 0 ||
            (r = dict_set_list(to, KEY_METHODS, c->methods)) < 0 ||
            (r = dict_set_text(to, KEY_SECRET_KIND,
                               c->oauth_only     ? "authorization"
                               : c->app_password ? "app-password"
                                                 : "password")) < 0 ||
            (r = candidate_hints(c, &hints)) < 0)
                return r;
        return dict_set_list(to, KEY_HINTS, hints);
}
