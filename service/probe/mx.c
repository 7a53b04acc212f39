/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the mail exchanger of a domain betrays: who hosts its mail. The same question tells whether the domain exists and takes mail at all. The
 * answer is as weak as unsigned DNS, so hosts outside of the domain need the user's approval; and the address goes to nobody who was found this
 * way. */
#include <stdio.h>
#include <string.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

enum { MX_PLACES = 4 };

typedef struct MxPlace {
        bool ispdb;
        const char *domain; /* of the exchanger; borrowed */
        const DiscoveryContext *context;
        Candidates *to;
        Autoconfig *document;
        char note[64];
        Fiber *fiber;
} MxPlace;

/* The exchanger's name without its first label, where that still is more than the registrable domain: some hosters tell their
 * customers' kinds apart there. The base is the registrable domain. Both are NULL when they tell nothing new. */
static int mx_domains(char **ret_full, char **ret_base, const char *host, const char *domain)
{
        const char *rest = strchr(host, '.');
        _cleanup_free_ char *base = NULL;
        int r;

        r = host_registrable(&base, host);
        /* Without a dot it is no domain: never ask a name that could be a public suffix. */
        if (r < 0 || !strchr(base, '.') || host_is_literal(host) || text_equal(base, domain))
                return r;
        if (rest && strlen(rest + 1) > strlen(base))
                r = text_set(ret_full, rest + 1);
        *ret_base = TAKE(base);
        return r;
}

static int mx_place_ask(void *arg)
{
        MxPlace *place = arg;
        _cleanup_free_ char *host = NULL;
        unsigned status;
        int r;

        if (place->ispdb)
                return ispdb_fetch(&place->document, place->to, place->context, place->domain,
                                   place->note);
        r = text_format(&host, "autoconfig.%s", place->domain);
        return r < 0 ? r
                     : document_fetch(&place->document, place->to, place->context, 0, host,
                                      "/mail/config-v1.1.xml", "where its mail goes", place->note,
                                      &status);
}

/* All at once; the first in order that has a document counts. */
static int mx_places_join(MxPlace *places, size_t n, Candidates *to, SourceNote *note)
{
        int r = 0, result = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                r = fiber_join(&places[i].fiber, &result);
                if (r == -ETIME || (r == 0 && result == -ETIME)) {
                        r = 0;
                        continue;
                }
                r = r < 0 ? r : result;
                if (r < 0 || !places[i].document)
                        continue;
                snprintf(note->text, sizeof(note->text), "%s of %.180s",
                         places[i].ispdb ? "ispdb" : "autoconfig", places[i].domain);
                return candidates_add_document(to, places[i].document, places[i].context,
                                               SOURCE_MX);
        }
        return r;
}

static int mx_ask_places(Candidates *to, const DiscoveryContext *context, const char *host,
                         SourceNote *note)
{
        _cleanup_free_ char *full = NULL, *base = NULL;
        MxPlace places[MX_PLACES];
        size_t n = 0;
        int r;

        r = mx_domains(&full, &base, host, context->address->domain);
        for (int ispdb = 0; ispdb < 2; ispdb++)
                for (int i = 0; i < 2; i++) {
                        const char *domain = i == 0 ? full : base;

                        if (domain && (ispdb ? context->ispdb != NULL : context->autoconfig))
                                places[n++] = (MxPlace){ .ispdb = ispdb,
                                                         .domain = domain,
                                                         .context = context,
                                                         .to = to };
                }
        FIBER_DEADLINE(SOURCE_REQUEST_USEC);
        for (size_t i = 0; i < n && r == 0; i++)
                r = fiber_start(&places[i].fiber, "mx", mx_place_ask, &places[i]);
        if (r == 0)
                r = mx_places_join(places, n, to, note);
        for (size_t i = 0; i < n; i++) {
                places[i].fiber = fiber_cancel(places[i].fiber);
                autoconfig_free(places[i].document);
        }
        return r;
}

/* Without an MX a domain takes mail at its own address (RFC 5321 section 5.1). */
static int mx_implicit(Candidates *to, const DiscoveryContext *context)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = dns_addresses(&addresses, context->dns, context->address->domain, &no);
        to->takes_mail = r == 0;
        return r < 0 ? r : 0;
}

static int mx_use(Candidates *to, const DiscoveryContext *context, const char *host,
                  SourceNote *note)
{
        const Provider *provider = context->providers ? provider_by_mx(context->providers, host)
                                                      : NULL;
        const char *filter = context->providers ? filter_by_mx(context->providers, host) : NULL;

        snprintf(note->text, sizeof(note->text), "%.200s says nothing more", host);
        if (!context->mx)
                return 0;
        if (filter) {
                /* The exchanger belongs to a filter: it hides where the mailboxes are. */
                snprintf(note->text, sizeof(note->text), "the mail passes through %.100s", filter);
                return text_set(&to->filter, filter);
        }
        if (!provider)
                return mx_ask_places(to, context, host, note);
        snprintf(note->text, sizeof(note->text), "%.100s is %.100s", host, provider->name);
        return candidates_add_provider(to, provider, context, SOURCE_MX);
}

int source_mx(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_outcome_ Outcome no = {};
        _cleanup_(dns_records_freep) DnsRecords *records = NULL;
        int r;

        r = disclose(to, "DNS", "resolver", "the domain");
        if (r == 0)
                r = dns_query(&records, context->dns, context->address->domain, DNS_MX, &no);
        if (r < 0)
                return r;
        to->domain = r > 0 ? no.dns : DNS_OK;
        to->null_mx = r == 0 && records->n_mx == 1 &&
                      !records->mx[0].host[0]; /* RFC 7505 section 3 */
        to->takes_mail = r == 0 && !to->null_mx;
        to->domain_known = true;
        snprintf(note->text, sizeof(note->text), "%s",
                 to->null_mx ? "the domain takes no mail" : dns_status_name(to->domain));
        if (to->domain == DNS_NO_DATA)
                return mx_implicit(to, context);
        return to->takes_mail ? mx_use(to, context, records->mx[0].host, note) : 0;
}
