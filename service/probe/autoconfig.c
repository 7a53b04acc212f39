/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider's own autoconfig document over HTTPS: autoconfig.DOMAIN and DOMAIN's well-known place, both at once, the first
 * preferred. Asked without the address; once more with it where the answer was 400 or 404, because some servers want it: it goes to the address's
 * own domain only. */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "base/fiber.h"
#include "base/text.h"
#include "probe/discovery.h"
#include "proto/autoconfig.h"

typedef struct Place {
        const char *format; /* of the URL, with the domain */
        const DiscoveryContext *context;
        Autoconfig *document;
        char note[96];
        Fiber *fiber;
} Place;

/* Percent-encodes what RFC 3986 section 2.3 does not call unreserved. */
static int url_with_address(char **ret, const char *url, const char *address)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(4096);
        int r = buffer_printf(&buffer, "%s?emailaddress=", url);

        for (const char *p = address; *p && r == 0; p++) {
                bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                             (*p >= '0' && *p <= '9') || strchr("-._~", *p);

                r = plain ? buffer_append(&buffer, p, 1)
                          : buffer_printf(&buffer, "%%%02X", (unsigned char) *p);
        }
        return r < 0 ? r : buffer_take(&buffer, ret);
}

static int place_get(Place *place, const char *url, Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        int r;

        r = http_get(&response, place->context->http, url, place->context->policy, no);
        if (r != 0)
                return r;
        r = autoconfig_parse(&place->document, response->body, response->body_len,
                             place->context->address->address);
        snprintf(place->note, sizeof(place->note), "%s",
                 r == 0 ? "found" : "not an autoconfig document");
        return r == -EBADMSG ? 0 : r;
}

static int place_ask(void *arg)
{
        Place *place = arg;
        const MailAddress *address = place->context->address;
        _cleanup_free_ char *url = NULL, *longer = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = text_format(&url, "https://%s%s%s",
                        strcmp(place->format, "host") == 0 ? "autoconfig." : "", address->domain,
                        strcmp(place->format, "host") == 0
                                ? "/mail/config-v1.1.xml"
                                : "/.well-known/autoconfig/mail/config-v1.1.xml");
        if (r < 0)
                return r;
        r = place_get(place, url, &no);
        if (r == 1 && no.kind == OUTCOME_HTTP && (no.status == 400 || no.status == 404)) {
                outcome_reset(&no);
                r = url_with_address(&longer, url, address->address);
                if (r < 0)
                        return r;
                r = place_get(place, longer, &no);
        }
        if (r == 1)
                snprintf(place->note, sizeof(place->note), "%s",
                         no.kind == OUTCOME_DNS ? dns_status_name(no.dns)
                                                : outcome_kind_name(no.kind));
        return r < 0 ? r : 0;
}

static int server_endpoint(Endpoint *e, const AutoconfigServer *server, const MailAddress *address)
{
        int r;

        e->protocol = strcmp(server->type, "smtp") == 0 ? PROTOCOL_SMTP : PROTOCOL_POP3;
        e->port = server->port;
        r = security_from_name(server->security, &e->security);
        if (r == 0)
                r = text_set(&e->host, server->host);
        return r < 0 ? r : text_set(&e->user, server->user ? server->user : address->address);
}

static bool server_usable(const AutoconfigServer *server, const char *type)
{
        return strcmp(server->type, type) == 0 && strcmp(server->security, "none") != 0;
}

/* The @index-th usable server of a type, NULL behind the last. */
static const AutoconfigServer *document_server(const Autoconfig *document, const char *type,
                                               size_t index)
{
        for (size_t i = 0; i < document->n_servers; i++)
                if (server_usable(&document->servers[i], type) && index-- == 0)
                        return &document->servers[i];
        return NULL;
}

static int document_candidates(Candidates *to, const Autoconfig *document,
                               const MailAddress *address)
{
        for (size_t i = 0; i < LIMIT_SERVERS; i++) {
                const AutoconfigServer *in = document_server(document, "pop3", i);
                const AutoconfigServer *out = document_server(document, "smtp", i);
                Candidate candidate = { .source = SOURCE_AUTOCONFIG,
                                        .incoming_trust = TRUST_PROVIDER,
                                        .outgoing_trust = TRUST_PROVIDER };
                int r = 0;

                if (!in && !out)
                        break;
                in = in ? in : document_server(document, "pop3", 0);
                out = out ? out : document_server(document, "smtp", 0);
                if (in) {
                        r = server_endpoint(&candidate.incoming, in, address);
                        candidate.poll_minimum_usec = MIN(in->check_interval_minutes,
                                                          UINT64_C(1440)) *
                                                      USEC_PER_MINUTE;
                }
                if (r == 0 && out)
                        r = server_endpoint(&candidate.outgoing, out, address);
                if (r == 0)
                        r = text_set(&candidate.hint_url, document->enable_url);
                candidates_add(to, &candidate);
                if (r < 0)
                        return r;
        }
        return 0;
}

int source_autoconfig(Candidates *to, const DiscoveryContext *context, SourceNote *ret_note)
{
        Place places[] = { { "host", .context = context }, { "well-known", .context = context } };
        bool found = false;
        int r = 0, result;

        for (size_t i = 0; i < ELEMENTS(places) && r == 0; i++)
                r = fiber_start(&places[i].fiber, "autoconfig", place_ask, &places[i]);
        /* The lower place can no longer matter once the higher has answered well. */
        for (size_t i = 0; i < ELEMENTS(places) && r == 0 && !found; i++) {
                r = fiber_join(&places[i].fiber, &result);
                if (r == -ETIME) {
                        r = 0;
                        continue;
                }
                r = r < 0 ? r : result;
                if (r == 0 && places[i].document) {
                        found = true;
                        r = document_candidates(to, places[i].document, context->address);
                }
        }
        snprintf(ret_note->text, sizeof(ret_note->text), "autoconfig host: %s; well-known: %s",
                 places[0].note, places[1].note[0] ? places[1].note : "not needed");
        for (size_t i = 0; i < ELEMENTS(places); i++) {
                places[i].fiber = fiber_cancel(places[i].fiber);
                autoconfig_free(places[i].document);
        }
        return r;
}
