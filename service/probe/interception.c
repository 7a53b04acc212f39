/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Somebody who stands between: products that inspect encrypted traffic sign certificates of their own making, for every host alike. What they
 * call themselves in them is no secret; that strangers' servers show the same issuer is proof. */
#include <string.h>

#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/diagnose.h"

#define INTERCEPTION_USEC (3 * USEC_PER_SEC)

/* As they write themselves into issuer and subject, lower case. */
static const struct {
        const char *mark, *name;
} marks[] = {
        { "fortinet", "Fortinet" },
        { "fortigate", "Fortinet" },
        { "fortiweb", "Fortinet" },
        { "sophos", "Sophos" },
        { "zscaler", "Zscaler" },
        { "blue coat", "Blue Coat" },
        { "bluecoat", "Blue Coat" },
        { "proxysg", "Blue Coat" },
        { "palo alto", "Palo Alto" },
        { "pan-os", "Palo Alto" },
        { "cisco umbrella", "Cisco Umbrella" },
        { "opendns", "Cisco Umbrella" },
        { "watchguard", "WatchGuard" },
        { "fireware", "WatchGuard" },
        { "kaspersky", "Kaspersky" },
        { "avast", "Avast" },
        { "avg web/mail shield", "AVG" },
        { "avg technologies", "AVG" },
        { "mail shield", "a mail shield" },
        { "eset ssl filter", "ESET" },
        { "bitdefender", "Bitdefender" },
        { "norton", "Norton" },
        { "symantec web", "Symantec" },
        { "mcafee", "McAfee" },
        { "skyhigh", "Skyhigh" },
        { "barracuda", "Barracuda" },
        { "untangle", "Untangle" },
        { "netskope", "Netskope" },
        { "goskope", "Netskope" },
        { "check point", "Check Point" },
        { "checkpoint", "Check Point" },
        { "sonicwall", "SonicWall" },
        { "smoothwall", "Smoothwall" },
        { "lightspeed", "Lightspeed" },
        { "iboss", "iboss" },
        { "securly", "Securly" },
        { "forcepoint", "Forcepoint" },
        { "websense", "Forcepoint" },
        { "trend micro", "Trend Micro" },
        { "dr.web", "Dr.Web" },
        { "adguard", "AdGuard" },
        { "gdata", "G DATA" },
        { "g data", "G DATA" },
        { "f-secure", "F-Secure" },
        { "mitmproxy", "mitmproxy" },
        { "portswigger", "Burp" },
        { "charles proxy", "Charles" },
        { "do_not_trust_fiddler", "Fiddler" },
        { "pfsense", "pfSense" },
        { "opnsense", "OPNsense" },
        { "squid", "Squid" },
        { "content gateway", "a content gateway" },
        { "ssl inspection", "an inspecting proxy" },
        { "tls inspection", "an inspecting proxy" },
        { "ssl interception", "an inspecting proxy" },
        { "web gateway", "a web gateway" },
        { "decryption", "an inspecting proxy" },
        { "forward trust", "a firewall" },
        { "untrusted root", "an inspecting proxy" },
};

static bool says(const char *text, const char *mark)
{
        for (; text && *text; text++)
                if (text_starts_nocase(text, mark))
                        return true;
        return false;
}

static const char *mark_of(const Certificate *c)
{
        for (size_t i = 0; i < ELEMENTS(marks); i++)
                if (says(c->issuer, marks[i].mark) || says(c->subject, marks[i].mark))
                        return marks[i].name;
        return NULL;
}

/* Does a server that has nothing to do with this one show a certificate of the same issuer? */
static int issuer_elsewhere(Session *session, char **ret_host)
{
        const Certificate *c = session->no.certificate;
        Control others[CONTROLS_MAX];
        size_t n = session->endpoint->security == SECURITY_TLS ? controls_elsewhere(session, others)
                                                               : 0;

        for (size_t i = 0; i < n && !*ret_host; i++) {
                _cleanup_(endpoint_deinit) Endpoint endpoint = {
                        .protocol = session->endpoint->protocol,
                        .port = others[i].port,
                        .security = SECURITY_TLS,
                };
                _cleanup_session_ Session second = { .side = session->side,
                                                     .endpoint = &endpoint,
                                                     .dns = session->dns,
                                                     .tls = session->tls,
                                                     .policy = session->policy,
                                                     .relax = TLS_RELAX_LOOK };
                _cleanup_finding_ Finding unseen = {};
                StepId step;
                int r = text_set(&endpoint.host, others[i].host);

                if (r == 0)
                        r = session_open(&second, &unseen, &step);
                if (r < 0)
                        return r;
                if (second.no.kind != OUTCOME_CERTIFICATE || !second.no.certificate->faults ||
                    !text_equal(second.no.certificate->issuer, c->issuer))
                        continue;
                r = text_set(ret_host, endpoint.host);
                if (r < 0)
                        return r;
        }
        return 0;
}

int diagnose_interception(Session *session, Finding *finding)
{
        _cleanup_free_ char *host = NULL, *text = NULL;
        const Certificate *c = session->no.certificate;
        const char *mark = mark_of(c);
        const Provider *known;
        int r;

        if (mark)
                return dict_set_text(&finding->evidence, KEY_INTERCEPTED, mark);
        /* A provider that is known for its public certificate has not thrown it away. */
        known = session->means->providers
                        ? provider_by_host(session->means->providers, session->endpoint->host)
                        : NULL;
        if (known && !known->administrator)
                return dict_set_text(&finding->evidence, KEY_INTERCEPTED, c->issuer);
        FIBER_DEADLINE(INTERCEPTION_USEC);
        r = issuer_elsewhere(session, &host);
        if (r < 0 || !host)
                return r == -ETIME ? 0 : r;
        r = text_format(&text, "%s shows a certificate of the same issuer", host);
        if (r == 0)
                r = dict_add_to_list(&finding->evidence, KEY_CONTROLS, text);
        return r < 0 ? r : dict_set_text(&finding->evidence, KEY_INTERCEPTED, c->issuer);
}
