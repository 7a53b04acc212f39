/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Autoconfig documents: fetched from where a source says, and turned into candidates; and the source that asks the provider itself over
 * HTTPS: autoconfig.DOMAIN and DOMAIN's well-known place, both at once, the first preferred. Asked without the address; once more with it
 * where the answer was 400 or 404, because some servers want it: it goes to the address's own domain only. */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

/* --- a document's candidates ---------------------------------------------------------------------------------------- */

static int server_endpoint(Endpoint *e, const AutoconfigServer *server, const MailAddress *address)
{
        int r;

        r = protocol_from_name(server->type, &e->protocol);
        if (r < 0)
                return r;
        e->port = server->port;
        r = security_from_name(server->security, &e->security);
        if (r == 0)
                r = text_set(&e->host, server->host);
        return r < 0 ? r : text_set(&e->user, server->user ? server->user : address->address);
}

static bool server_usable(const AutoconfigServer *server, Protocol protocol)
{
        return strcmp(server->type, protocol_name(protocol)) == 0 &&
               strcmp(server->security, "none") != 0;
}

/* The @index-th usable server of a protocol, NULL behind the last. */
static const AutoconfigServer *document_server(const Autoconfig *document, Protocol protocol,
                                               size_t index)
{
        for (size_t i = 0; i < document->n_servers; i++)
                if (server_usable(&document->servers[i], protocol) && index-- == 0)
                        return &document->servers[i];
        return NULL;
}

/* The words of both versions of the format, and the old ones. What is no way to sign in says nothing. */
static int server_methods(const AutoconfigServer *server, char ***to)
{
        static const char *const words[][2] = {
                { "OAuth2", "oauth2" },
                { "OAuth", "oauth2" },
                { "password-cleartext", "password" },
                { "plain", "password" },
                { "password-encrypted", "password" },
                { "secure", "password" },
        };
        int r = 0;

        for (char **m = server->methods; m && *m; m++)
                for (size_t i = 0; i < ELEMENTS(words) && r == 0; i++)
                        if (text_equal_nocase(*m, words[i][0]) &&
                            !list_contains_nocase(*to, words[i][1]))
                                r = list_append(to, words[i][1], ELEMENTS(words));
        return r;
}

/* Every method it names is OAuth: no password is worth asking for. */
static bool server_oauth_only(const AutoconfigServer *server)
{
        if (!server->methods)
                return false;
        for (char **m = server->methods; *m; m++)
                if (!text_equal_nocase(*m, "OAuth2") && !text_equal_nocase(*m, "OAuth"))
                        return false;
        return true;
}

static Trust document_trust(Source source, const char *host, const char *domain)
{
        switch (source) {
        case SOURCE_ADMINISTRATOR:
                return TRUST_ADMINISTRATOR;
        case SOURCE_AUTOCONFIG:
                return TRUST_PROVIDER;
        case SOURCE_ISPDB:
                return TRUST_ISPDB;
        case SOURCE_MX:
                return host ? trust_of_host(host, domain) : TRUST_NONE;
        default: /* plain HTTP: whoever is in between may have written it */
                return TRUST_NONE;
        }
}

/* Where the password or the sign-in goes is a harder question than where the mail is: only the owner of the domain is believed. */
static int document_facts(Candidate *c, const Autoconfig *document, Source source)
{
        int r = text_set(&c->hint_url, document->enable_url);

        c->access = document->enable_url ? ACCESS_OFF : ACCESS_UNKNOWN;
        if (r == 0)
                r = text_set(&c->provider_name, document->display_name);
        if (r == 0 && (source == SOURCE_AUTOCONFIG || source == SOURCE_ADMINISTRATOR))
                r = text_set(&c->oauth_issuer, document->oauth_issuer);
        return r;
}

/* Pairs the i-th incoming with the i-th outgoing server; a shorter list repeats its first. Returns 1 behind the last. */
static int document_candidate(Candidates *to, const Autoconfig *document, Protocol protocol,
                              size_t index, const MailAddress *address, Source source)
{
        const AutoconfigServer *in = document_server(document, protocol, index),
                               *out = document_server(document, PROTOCOL_SMTP, index);
        Candidate c = { .source = source };
        int r = 0;

        if (!in && !out)
                return 1;
        in = in ? in : document_server(document, protocol, 0);
        out = out ? out : document_server(document, PROTOCOL_SMTP, 0);
        if (in) {
                r = server_endpoint(&c.incoming, in, address);
                c.poll_minimum_usec = MIN(in->check_interval_minutes, UINT64_C(1440)) *
                                      USEC_PER_MINUTE;
                c.oauth_only = server_oauth_only(in);
        }
        if (r == 0 && out)
                r = server_endpoint(&c.outgoing, out, address);
        c.incoming_trust = document_trust(source, c.incoming.host, address->domain);
        c.outgoing_trust = document_trust(source, c.outgoing.host, address->domain);
        if (r == 0)
                r = server_methods(in ? in : out, &c.methods);
        if (r == 0)
                r = document_facts(&c, document, source);
        candidates_add(to, &c);
        return r;
}

/* There is none of what was asked for, but the document has the other. */
static int document_alternative(Candidates *to, const Autoconfig *document,
                                const DiscoveryContext *context)
{
        int r;

        if (to->alternative || context->imap || document_server(document, PROTOCOL_POP3, 0) ||
            !document_server(document, PROTOCOL_IMAP, 0))
                return 0;
        r = text_set(&to->alternative, "The servers published for this domain are for IMAP.");
        return r < 0 ? r : text_set(&to->provider, document->display_name);
}

int candidates_add_document(Candidates *to, const Autoconfig *document,
                            const DiscoveryContext *context, Source source)
{
        Protocol protocols[2];
        size_t n = incoming_protocols(context, protocols);
        bool any = false;
        int r = 0;

        for (size_t p = 0; p < n; p++)
                any |= document_server(document, protocols[p], 0) != NULL;
        for (size_t p = 0; p < n && r >= 0; p++) {
                /* With nothing incoming at all the outgoing servers are told once. */
                if (any ? !document_server(document, protocols[p], 0) : p > 0)
                        continue;
                r = 0;
                for (size_t i = 0; i < LIMIT_SERVERS && r == 0; i++)
                        r = document_candidate(to, document, protocols[p], i, context->address,
                                               source);
        }
        return r < 0 ? r : document_alternative(to, document, context);
}

/* --- fetching ------------------------------------------------------------------------------------------------------------ */

static void note_refusal(char note[64], const Outcome *no)
{
        if (no->kind == OUTCOME_DNS)
                snprintf(note, 64, "%s", dns_status_name(no->dns));
        else if (no->kind == OUTCOME_HTTP)
                snprintf(note, 64, "status %u", no->status);
        else
                snprintf(note, 64, "%.60s", outcome_kind_name(no->kind));
}

int document_fetch(Autoconfig **ret, Candidates *to, const DiscoveryContext *context,
                   unsigned flags, const char *host, const char *path, const char *what,
                   char note[64], unsigned *ret_status)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        _cleanup_free_ char *url = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        *ret_status = 0;
        r = text_format(&url, "%s://%s%s", flags & HTTP_PLAIN ? "http" : "https", host, path);
        if (r < 0)
                return r;
        r = http_get_with(&response, context->http, url, flags, context->policy, &no);
        /* Whoever was reached has learnt of it; a name that does not exist has not. When we gave up we do not know, and say that it has. */
        if ((r >= 0 && no.kind != OUTCOME_DNS) || r == -ETIME || r == -ECANCELED) {
                int e = disclose(to, flags & HTTP_PLAIN ? "HTTP" : "HTTPS", host, what);

                if (e < 0)
                        return e;
        }
        if (r == -EINVAL) {
                snprintf(note, 64, "not a name to ask");
                return 0;
        }
        if (r == 1) {
                *ret_status = no.kind == OUTCOME_HTTP ? no.status : 0;
                note_refusal(note, &no);
        }
        if (r != 0)
                return r < 0 ? r : 0;
        r = autoconfig_parse(ret, response->body, response->body_len, context->address->address);
        snprintf(note, 64, "%s", r == 0 ? "found" : "not an autoconfig document");
        return r == -EBADMSG ? 0 : r;
}

/* --- the provider's own ----------------------------------------------------------------------------------------------------- */

typedef struct Place {
        const char *prefix, *path;
        const DiscoveryContext *context;
        Candidates *to;
        Autoconfig *document;
        char note[64];
        Fiber *fiber;
} Place;

/* Percent-encodes what RFC 3986 section 2.3 does not call unreserved. */
static int path_with_address(char **ret, const char *path, const char *address)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(4096);
        int r = buffer_printf(&buffer, "%s?emailaddress=", path);

        for (const char *p = address; *p && r == 0; p++) {
                bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                             (*p >= '0' && *p <= '9') || strchr("-._~", *p);

                r = plain ? buffer_append(&buffer, p, 1)
                          : buffer_printf(&buffer, "%%%02X", (unsigned char) *p);
        }
        return r < 0 ? r : buffer_take(&buffer, ret);
}

static int place_ask(void *arg)
{
        Place *place = arg;
        const MailAddress *address = place->context->address;
        _cleanup_free_ char *host = NULL, *path = NULL;
        unsigned status;
        int r;

        r = text_format(&host, "%s%s", place->prefix, address->domain);
        if (r < 0)
                return r;
        r = document_fetch(&place->document, place->to, place->context, 0, host, place->path,
                           "the domain", place->note, &status);
        if (r < 0 || (status != 400 && status != 404))
                return r;
        r = path_with_address(&path, place->path, address->address);
        return r < 0 ? r
                     : document_fetch(&place->document, place->to, place->context, HTTP_SAME_HOST,
                                      host, path, "the address", place->note, &status);
}

/* The lower place can no longer matter once the higher has answered well. */
static int places_join(Place *places, size_t n, Autoconfig **ret)
{
        int r = 0, result = 0;

        for (size_t i = 0; i < n && r == 0 && !*ret; i++) {
                r = fiber_join(&places[i].fiber, &result);
                if (r == -ETIME || (r == 0 && result == -ETIME)) {
                        snprintf(places[i].note, sizeof(places[i].note), "no answer in time");
                        r = 0;
                        continue;
                }
                r = r < 0 ? r : result;
                if (r == 0)
                        *ret = TAKE(places[i].document);
        }
        return r;
}

int source_autoconfig(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        Place places[] = {
                { "autoconfig.", "/mail/config-v1.1.xml", context, to },
                { "", "/.well-known/autoconfig/mail/config-v1.1.xml", context, to },
        };
        _cleanup_(autoconfig_freep) Autoconfig *document = NULL;
        int r = 0;

        FIBER_DEADLINE(SOURCE_REQUEST_USEC);
        for (size_t i = 0; i < ELEMENTS(places) && r == 0; i++)
                r = fiber_start(&places[i].fiber, "autoconfig", place_ask, &places[i]);
        if (r == 0)
                r = places_join(places, ELEMENTS(places), &document);
        if (r == 0 && document)
                r = candidates_add_document(to, document, context, SOURCE_AUTOCONFIG);
        for (size_t i = 0; i < ELEMENTS(places); i++) {
                places[i].fiber = fiber_cancel(places[i].fiber);
                autoconfig_free(places[i].document);
        }
        snprintf(note->text, sizeof(note->text), "autoconfig host: %s; well-known: %s",
                 places[0].note, places[1].note[0] ? places[1].note : "not needed");
        return r;
}

/* --- over HTTP ------------------------------------------------------------------------------------------------------------- */

/* For old servers, where the administrator wants it. Never with the address. */
int source_http(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_(autoconfig_freep) Autoconfig *document = NULL;
        _cleanup_free_ char *host = NULL;
        char text[64] = "";
        unsigned status;
        int r;

        FIBER_DEADLINE(SOURCE_REQUEST_USEC);
        r = text_format(&host, "autoconfig.%s", context->address->domain);
        if (r == 0)
                r = document_fetch(&document, to, context, HTTP_PLAIN, host,
                                   "/mail/config-v1.1.xml", "the domain", text, &status);
        if (r == 0 && document)
                r = candidates_add_document(to, document, context, SOURCE_HTTP);
        snprintf(note->text, sizeof(note->text), "%s", text);
        return r;
}
