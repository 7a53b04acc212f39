/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See endpoint.h. The names are the contract's and the database's: they are never changed, only added. */
#include "probe/endpoint.h"
#include "base/text.h"

void endpoint_deinit(Endpoint *endpoint)
{
        free(endpoint->host);
        free(endpoint->user);
        free(endpoint->approved_spki);
        *endpoint = (Endpoint){};
}

int endpoint_copy(Endpoint *to, const Endpoint *from)
{
        _cleanup_(endpoint_deinit) Endpoint copy = {
                .protocol = from->protocol,
                .port = from->port,
                .security = from->security,
                .approved_until_usec = from->approved_until_usec,
        };

        if (text_set(&copy.host, from->host) < 0 || text_set(&copy.user, from->user) < 0 ||
            text_set(&copy.approved_spki, from->approved_spki) < 0)
                return -ENOMEM;
        endpoint_deinit(to);
        *to = copy;
        copy = (Endpoint){};
        return 0;
}

bool endpoint_same(const Endpoint *a, const Endpoint *b)
{
        return a->protocol == b->protocol && a->port == b->port && a->security == b->security &&
               text_equal(a->host, b->host);
}

const char *protocol_name(Protocol protocol)
{
        switch (protocol) {
        case PROTOCOL_POP3:
                return "pop3";
        case PROTOCOL_SMTP:
                return "smtp";
        case PROTOCOL_IMAP:
                return "imap";
        }
        return NULL;
}

const char *security_name(Security security)
{
        switch (security) {
        case SECURITY_TLS:
                return "tls";
        case SECURITY_STARTTLS:
                return "starttls";
        case SECURITY_NONE:
                return "none";
        }
        return NULL;
}

const char *side_name(Side side)
{
        switch (side) {
        case SIDE_INCOMING:
                return "incoming";
        case SIDE_OUTGOING:
                return "outgoing";
        }
        return NULL;
}

int security_from_name(const char *name, Security *ret)
{
        static const struct {
                const char *name;
                Security security;
        } names[] = {
                { "tls", SECURITY_TLS },   { "implicit", SECURITY_TLS },
                { "ssl", SECURITY_TLS },   { "starttls", SECURITY_STARTTLS },
                { "none", SECURITY_NONE },
        };

        for (size_t i = 0; name && i < ELEMENTS(names); i++)
                if (text_equal_nocase(name, names[i].name)) {
                        *ret = names[i].security;
                        return 0;
                }
        return -EINVAL;
}

int protocol_from_name(const char *name, Protocol *ret)
{
        static const Protocol all[] = { PROTOCOL_POP3, PROTOCOL_SMTP, PROTOCOL_IMAP };

        for (size_t i = 0; i < ELEMENTS(all); i++)
                if (text_equal(name, protocol_name(all[i]))) {
                        *ret = all[i];
                        return 0;
                }
        return -EINVAL;
}

uint16_t protocol_default_port(Protocol protocol, Security security)
{
        switch (protocol) {
        case PROTOCOL_POP3:
                return security == SECURITY_TLS ? 995 : 110; /* RFC 8314 section 7.3, RFC 1939 */
        case PROTOCOL_SMTP:
                return security == SECURITY_TLS ? 465 : 587; /* RFC 8314 section 7.3, RFC 6409 */
        case PROTOCOL_IMAP:
                return security == SECURITY_TLS ? 993 : 143; /* RFC 8314 section 7.3, RFC 9051 */
        }
        return 0;
}

/* Out of memory is the only way to fail: five keys are far below the dictionary's bound. */
int endpoint_to_dict(const Endpoint *endpoint, Dict *to)
{
        int r = 0;

        if (!endpoint->host)
                return 0;
        if (r == 0)
                r = dict_set_text(to, "host", endpoint->host);
        if (r == 0)
                r = dict_set_number(to, "port", endpoint->port);
        if (r == 0)
                r = dict_set_text(to, "security", security_name(endpoint->security));
        if (r == 0)
                r = dict_set_text(to, "protocol", protocol_name(endpoint->protocol));
        if (r == 0)
                r = dict_set_text(to, "user", endpoint->user);
        return r;
}
