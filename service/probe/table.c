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

static int provider_facts(Candidate *c, const Provider *p)
{
        int r;

        c->poll_minimum_usec = p->poll_minimum_usec;
        c->pop = p->pop;
        c->oauth_only = provider_needs_oauth(p);
        c->app_password = p->account_password == ACCOUNT_PASSWORD_REFUSED && !c->oauth_only;
        if ((r = text_set(&c->provider, p->id)) < 0 ||
            (r = text_set(&c->provider_name, p->name)) < 0 ||
            (r = text_set(&c->hint_url, p->settings_page)) < 0 ||
            (r = text_set(&c->password_url, p->app_password_page)) < 0 ||
            (r = text_set(&c->plan, p->plan)) < 0)
                return r;
        return text_set(&c->oauth_issuer, p->oauth_issuer);
}

/* Somebody who knows says that there is no POP3. */
static int provider_without_pop(Candidates *to, const Provider *p)
{
        int r;

        to->no_pop = true;
        r = text_set(&to->no_pop_provider, p->name);
        if (r == 0)
                r = text_set(&to->alternative, p->alternative ? p->alternative
                                               : p->imap      ? "This provider has IMAP only."
                                                              : NULL);
        return r < 0 ? r : text_set(&to->alternative_url, p->settings_page);
}

int candidates_add_provider(Candidates *to, const Provider *p, const MailAddress *address,
                            Source source)
{
        size_t n = MAX(p->n_smtp, (size_t) 1);
        int r = 0;

        if (!p->pop3.host && p->pop == POP_UNAVAILABLE)
                r = provider_without_pop(to, p);
        for (size_t i = 0; i < n && r == 0; i++) {
                Candidate c = { .source = source };

                r = provider_endpoint(&c.incoming, &p->pop3, p->user, address);
                if (r == 0 && i < p->n_smtp)
                        r = provider_endpoint(&c.outgoing, &p->smtp[i], p->user_outgoing, address);
                c.incoming_trust = provider_trust(source, c.incoming.host, address->domain);
                c.outgoing_trust = provider_trust(source, c.outgoing.host, address->domain);
                if (r == 0)
                        r = provider_facts(&c, p);
                candidates_add(to, &c);
        }
        return r;
}

int source_table(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        const Provider *p = provider_by_domain(context->providers, context->address->domain);

        snprintf(note->text, sizeof(note->text), "%s",
                 p ? p->name : "not a provider that is known");
        return p ? candidates_add_provider(to, p, context->address,
                                           p->administrator ? SOURCE_ADMINISTRATOR : SOURCE_TABLE)
                 : 0;
}

/* --- the administrator's autoconfig documents ---------------------------------------------------------------------- */

typedef struct LocalSearch {
        Candidates *to;
        const MailAddress *address;
        char *found; /* file */
} LocalSearch;

static int local_take(const char *path, const char *text, size_t len, void *userdata)
{
        _cleanup_(autoconfig_freep) Autoconfig *document = NULL;
        LocalSearch *search = userdata;
        int r;

        if (search->found)
                return 0;
        r = autoconfig_parse(&document, text, len, search->address->address);
        if (r == -EBADMSG) {
                log_warning("%s: not an autoconfig document", path);
                return 0;
        }
        if (r < 0 || !list_contains_nocase(document->domains, search->address->domain))
                return r;
        r = text_set(&search->found, strrchr(path, '/') + 1);
        return r < 0 ? r
                     : candidates_add_document(search->to, document, search->address,
                                               SOURCE_ADMINISTRATOR);
}

int source_local(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        LocalSearch search = { .to = to, .address = context->address };
        int r = local_files_read(context->autoconfig_directory, ".xml", local_take, &search);

        snprintf(note->text, sizeof(note->text), "%.200s",
                 search.found ? search.found : "no file for this domain");
        free(search.found);
        return r;
}
