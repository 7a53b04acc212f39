/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sources that need no network: the provider table (with the administrator's additions) and the administrator's files in the
 * form of the ISPDB. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "probe/local_file.h"
#include "probe/sources.h"

static int provider_endpoint(Endpoint *to, const Endpoint *from, UserForm user,
                             const MailAddress *address)
{
        int r;

        if (!from->host)
                return 0;
        r = endpoint_copy(to, from);
        return r < 0 ? r
                     : text_set(&to->user, user == USER_LOCAL ? address->local : address->address);
}

static Trust provider_trust(Source source, const char *host, const char *domain)
{
        switch (source) {
        case SOURCE_ADMINISTRATOR:
                return TRUST_ADMINISTRATOR;
        case SOURCE_TABLE:
                return TRUST_TABLE;
        default: /* named by an unsigned answer of DNS */
                return host ? trust_of_host(host, domain) : TRUST_NONE;
        }
}

static int provider_facts(Candidate *c, const Provider *p, Protocol protocol)
{
        int r;

        c->poll_minimum_usec = p->poll_minimum_usec;
        c->access = protocol == PROTOCOL_IMAP ? p->imap_access : p->pop_access;
        c->oauth_only = provider_needs_oauth(p);
        c->two_factor = p->app_password == APP_PASSWORD_WITH_2FA;
        c->app_password = p->account_password == ACCOUNT_PASSWORD_REFUSED && !c->oauth_only;
        if ((r = text_set(&c->provider, p->id)) < 0 ||
            (r = text_set(&c->provider_name, p->name)) < 0 ||
            (r = list_copy(&c->methods, p->methods)) < 0 ||
            (r = text_set(&c->hint_url, p->settings_page)) < 0 ||
            (r = text_set(&c->password_url, p->app_password_page)) < 0 ||
            (r = text_set(&c->plan, p->plan)) < 0)
                return r;
        return text_set(&c->oauth_issuer, p->oauth_issuer);
}

/* Somebody who knows says what there is not, and what there is instead. */
static int provider_without(Candidates *to, const Provider *p)
{
        int r;

        to->no_pop = !p->pop3.host && p->pop_access == ACCESS_UNAVAILABLE;
        to->no_imap = !p->imap.host && p->imap_access == ACCESS_UNAVAILABLE;
        if (!to->no_pop && !to->no_imap)
                return 0;
        r = text_set(&to->provider, p->name);
        if (r == 0)
                r = text_set(&to->alternative, p->alternative ? p->alternative
                                               : p->imap.host ? "This provider has IMAP only."
                                                              : NULL);
        return r < 0 ? r : text_set(&to->alternative_url, p->settings_page);
}

static int provider_candidate(Candidates *to, const Provider *p, const Endpoint *incoming,
                              size_t index, const MailAddress *address, Source source)
{
        Candidate c = { .source = source };
        int r = 0;

        if (incoming)
                r = provider_endpoint(&c.incoming, incoming, p->user, address);
        if (r == 0 && index < p->n_smtp)
                r = provider_endpoint(&c.outgoing, &p->smtp[index], p->user_outgoing, address);
        c.incoming_trust = provider_trust(source, c.incoming.host, address->domain);
        c.outgoing_trust = provider_trust(source, c.outgoing.host, address->domain);
        if (r == 0)
                r = provider_facts(&c, p, c.incoming.protocol);
        candidates_add(to, &c);
        return r;
}

int candidates_add_provider(Candidates *to, const Provider *p, const DiscoveryContext *context,
                            Source source)
{
        const Endpoint *incoming[2] = {};
        size_t n = 0;
        int r = provider_without(to, p);

        if (context->pop3 && p->pop3.host)
                incoming[n++] = &p->pop3;
        if (context->imap && p->imap.host)
                incoming[n++] = &p->imap;
        for (size_t i = 0; i < MAX(n, (size_t) 1); i++)
                for (size_t k = 0; k < MAX(p->n_smtp, (size_t) 1) && r == 0; k++)
                        r = provider_candidate(to, p, incoming[i], k, context->address, source);
        return r;
}

int source_table(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        const Provider *p = provider_by_domain(context->providers, context->address->domain);

        snprintf(note->text, sizeof(note->text), "%s",
                 p ? p->name : "not a provider that is known");
        return p ? candidates_add_provider(to, p, context,
                                           p->administrator ? SOURCE_ADMINISTRATOR : SOURCE_TABLE)
                 : 0;
}

/* --- the administrator's autoconfig documents ---------------------------------------------------------------------- */

typedef struct LocalSearch {
        Candidates *to;
        const DiscoveryContext *context;
        char *found; /* file */
} LocalSearch;

static int local_take(const char *path, const char *text, size_t len, void *userdata)
{
        _cleanup_(autoconfig_freep) Autoconfig *document = NULL;
        LocalSearch *search = userdata;
        int r;

        if (search->found)
                return 0;
        r = autoconfig_parse(&document, text, len, search->context->address->address);
        if (r == -EBADMSG) {
                log_warning("%s: not an autoconfig document", path);
                return 0;
        }
        if (r < 0 || !list_contains_nocase(document->domains, search->context->address->domain))
                return r;
        r = text_set(&search->found, strrchr(path, '/') + 1);
        return r < 0 ? r
                     : candidates_add_document(search->to, document, search->context,
                                               SOURCE_ADMINISTRATOR);
}

int source_local(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        LocalSearch search = { .to = to, .context = context };
        int r = local_files_read(context->autoconfig_directory, ".xml", local_take, &search);

        snprintf(note->text, sizeof(note->text), "%.200s",
                 search.found ? search.found : "no file for this domain");
        free(search.found);
        return r;
}
