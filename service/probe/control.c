/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See control.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/judge.h"
#include "proto/address.h"
#include "wire/dial.h"

static void addresses_keep_family(DnsAddresses *addresses, int family)
{
        unsigned n = 0;

        for (unsigned i = 0; i < addresses->n_addresses; i++)
                if (!family || addresses->addresses[i].ss_family == family)
                        addresses->addresses[n++] = addresses->addresses[i];
        addresses->n_addresses = n;
}

static int control_addresses(Control *control, DnsAddresses **ret, Outcome *no)
{
        const DnsAddresses *own = control->session->addresses;
        DnsAddresses *copy;

        if (control->host)
                return dns_addresses(ret, control->session->dns, control->host, no);
        copy = malloc(sizeof(*copy));
        if (!copy)
                return -ENOMEM;
        *copy = *own;
        copy->canonical = NULL;
        addresses_keep_family(copy, control->family);
        *ret = copy;
        return 0;
}

static int control_work(void *arg)
{
        Control *control = arg;
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;
        _cleanup_(stream_freep) Stream *stream = NULL;
        _cleanup_outcome_ Outcome no = {};
        uint64_t begun = clock_now();
        int r;

        r = control_addresses(control, &addresses, &no);
        if (r < 0)
                return r == -ETIME ? 0 : r;
        control->resolved = r == 0;
        if (r > 0)
                control->error = ENOENT;
        else {
                r = dial(&stream, addresses, control->port, control->session->policy, NULL, &no);
                if (r < 0)
                        return r == -ETIME ? 0 : r;
                control->error = r > 0 ? no.error : 0;
        }
        control->usec = clock_now() - begun;
        control->done = true;
        return 0;
}

int controls_run(const Session *session, Control *controls, size_t n, uint64_t usec)
{
        int r = 0, result;

        FIBER_DEADLINE(usec);
        for (size_t i = 0; i < n && r == 0; i++) {
                controls[i].session = session;
                r = fiber_start(&controls[i].fiber, "control", control_work, &controls[i]);
        }
        for (size_t i = 0; i < n && r == 0; i++) {
                r = fiber_join(&controls[i].fiber, &result);
                if (r == -ETIME) {
                        /* It gives up at the same moment as we do. */
                        controls[i].error = controls[i].resolved ? ETIMEDOUT : ENOENT;
                        controls[i].usec = usec;
                        controls[i].done = true;
                        r = 0;
                } else if (r == 0 && result < 0)
                        r = result;
        }
        for (size_t i = 0; i < n; i++)
                controls[i].fiber = fiber_cancel(controls[i].fiber);
        return r;
}

int controls_tell(const Control *controls, size_t n, Dict *evidence)
{
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const Control *c = &controls[i];
                char line[400];

                if (!c->done || c->error == ENOENT || c->error == EADDRNOTAVAIL)
                        continue;
                snprintf(line, sizeof(line), "%s%sport %u (%s) %s after %" PRIu64 " ms",
                         c->host ? c->host : "", c->host ? ", " : "", c->port, c->what,
                         c->error ? dial_error_text(c->error) : "answers", (c->usec + 500) / 1000);
                r = dict_add_to_list(evidence, KEY_CONTROLS, line);
        }
        return r;
}

static const struct {
        uint16_t port;
        const char *what;
        Protocol protocol;
} known_ports[] = {
        { 995, "POP3 with TLS", PROTOCOL_POP3 }, { 110, "POP3", PROTOCOL_POP3 },
        { 993, "IMAP with TLS", PROTOCOL_IMAP }, { 143, "IMAP", PROTOCOL_IMAP },
        { 465, "SMTP with TLS", PROTOCOL_SMTP }, { 587, "SMTP", PROTOCOL_SMTP },
};

/* The same protocol comes first: it is the better way out. */
size_t controls_beside(const Endpoint *endpoint, Control to[CONTROLS_MAX])
{
        bool outgoing = endpoint->protocol == PROTOCOL_SMTP;
        size_t n = 0;

        for (int same = 1; same >= 0; same--)
                for (size_t i = 0; i < ELEMENTS(known_ports); i++)
                        if ((known_ports[i].protocol == PROTOCOL_SMTP) == outgoing &&
                            (known_ports[i].protocol == endpoint->protocol) == same &&
                            known_ports[i].port != endpoint->port)
                                to[n++] = (Control){ .port = known_ports[i].port,
                                                     .what = known_ports[i].what };
        to[n++] = (Control){ .port = 443, .what = "web" };
        return n;
}

static const Endpoint *provider_endpoint(const Provider *provider, const Endpoint *like)
{
        if (like->protocol == PROTOCOL_POP3)
                return &provider->pop3;
        if (like->protocol == PROTOCOL_IMAP)
                return &provider->imap;
        for (size_t i = 0; i < provider->n_smtp; i++)
                if (provider->smtp[i].port == like->port)
                        return &provider->smtp[i];
        return NULL;
}

size_t controls_elsewhere(const Session *session, Control to[CONTROLS_MAX])
{
        const Means *means = session->means;
        const Endpoint *e = session->endpoint;
        _cleanup_free_ char *own = NULL, *first = NULL;
        const Provider *provider;
        size_t n = 0;

        if (!means || !means->controls || !means->providers || host_registrable(&own, e->host) < 0)
                return 0;
        for (size_t i = 0; n < 2 && (provider = provider_at(means->providers, i)); i++) {
                const Endpoint *other = provider_endpoint(provider, e);
                _cleanup_free_ char *domain = NULL;

                if (!other || !other->host || other->port != e->port ||
                    host_registrable(&domain, other->host) < 0 || text_equal_nocase(domain, own) ||
                    (n > 0 && text_equal_nocase(domain, first)))
                        continue;
                if (n == 0)
                        first = TAKE(domain);
                to[n++] = (Control){ .port = e->port, .what = "of others", .host = other->host };
        }
        return n;
}
