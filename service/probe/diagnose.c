/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The closer look at what failed, in the order of judgement: our own side, then the port, then encryption. What is asked beside the server
 * itself is little, carries no secret, and happens only when something has failed. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/diagnose.h"
#include "probe/judge.h"
#include "wire/network.h"

/* A refusal has come in one round trip: what else is asked must not take much longer. */
#define REFUSED_LOOK_MIN_USEC (250 * USEC_PER_MSEC)
#define REFUSED_LOOK_MAX_USEC USEC_PER_SEC
#define SILENT_LOOK_USEC (2 * USEC_PER_SEC)

static int set_cause(Finding *finding, const char *cause)
{
        finding->cause = cause;
        return 0;
}

/* --- our own side ---------------------------------------------------------------------------------------------- */

/* One on this computer answers also when it can ask nobody: that it failed. */
static bool resolver_is_cut_off(const Session *session)
{
        return session->no.kind == OUTCOME_DNS && session->no.dns == DNS_SERVFAIL &&
               dns_is_local(session->dns);
}

int diagnose_offline(Session *session, Finding *finding)
{
        Network network;
        const char *what = NULL;
        int r = network_look(&network);

        if (r < 0)
                return r;
        if (!network.link)
                what = "no network interface is up with an address";
        else if (!network.route4 && !network.route6 &&
                 (dns_route(session->dns) != 0 || resolver_is_cut_off(session)))
                what = "there is no way out of the local network";
        if (!what)
                return 0;
        finding->cause = "net.offline";
        r = dict_set_text(&finding->evidence, KEY_NETWORK, what);
        return r < 0 ? r : 1;
}

static int look_at_names(Session *session, Finding *finding)
{
        const char *host = session->endpoint->host;
        bool yes = false;
        int r;

        switch (session->no.dns) {
        case DNS_SERVFAIL:
                r = dns_unchecked(session->dns, host, &yes);
                if (r == 0 && yes)
                        return set_cause(finding, "dns.dnssec-bogus");
                if (r == 0)
                        r = dns_alias_loops(session->dns, host, &yes);
                return r == 0 && yes ? set_cause(finding, "dns.cname-loop") : r;
        case DNS_TIMEOUT:
                r = dns_lives(session->dns, &yes);
                return r < 0 ? r
                             : dict_add_to_list(
                                       &finding->evidence, KEY_CONTROLS,
                                       yes ? "the name server answers other questions"
                                           : "the name server answers no other question either");
        case DNS_OK:
        case DNS_NXDOMAIN:
        case DNS_NO_DATA:
        case DNS_NO_RESOLVER:
                return 0;
        }
        return 0;
}

/* --- the port -------------------------------------------------------------------------------------------------- */

static bool any(const Control *controls, size_t n, bool (*is)(const Control *))
{
        for (size_t i = 0; i < n; i++)
                if (is(&controls[i]))
                        return true;
        return false;
}

static bool control_alive(const Control *control)
{
        return control_lives(control);
}

static bool control_answers(const Control *control)
{
        return control->done && control->error == 0;
}

/* "IMAP answers, POP3 does not": what there is instead. */
static int tell_alternative(const Endpoint *endpoint, const Control *controls, size_t n,
                            Finding *finding)
{
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = NULL;

                if (!control_answers(&controls[i]) || controls[i].port == 443)
                        continue;
                if (text_format(&text, "%s answers at port %u of %s", controls[i].what,
                                controls[i].port, endpoint->host) < 0)
                        return -ENOMEM;
                return dict_set_text(&finding->evidence, KEY_ALTERNATIVE, text);
        }
        return 0;
}

static bool firewall_of_ours(const Session *session)
{
        const DnsAddresses *a = session->addresses;

        for (unsigned i = 0; a && i < a->n_addresses; i++) {
                const struct sockaddr *to = (const struct sockaddr *) &a->addresses[i];

                if (address_allowed(to, session->policy) &&
                    network_send_allowed(to, session->endpoint->port) != 0)
                        return true;
        }
        return false;
}

static uint64_t refused_look_usec(const DialReport *report)
{
        uint64_t slowest = 0;

        for (unsigned i = 0; i < report->n_attempts; i++)
                if (report->attempts[i].error == ECONNREFUSED)
                        slowest = MAX(slowest, report->attempts[i].usec);
        return MIN(MAX(4 * slowest, REFUSED_LOOK_MIN_USEC), REFUSED_LOOK_MAX_USEC);
}

/* All that is asked beside, at the same time: it takes as long as the slowest of it. */
typedef struct PortLook {
        Session *session;
        uint64_t usec;
        Control beside[CONTROLS_MAX], elsewhere[CONTROLS_MAX];
        size_t n_beside, n_elsewhere;
        Finding portal; /* what a sign-in page would be told by */
        int is_portal;
} PortLook;

static void port_look_deinit(PortLook *look)
{
        finding_clear(&look->portal);
}

/* Some networks refuse, others drop, what is not the web, until somebody has signed in. */
static int portal_work(void *arg)
{
        PortLook *look = arg;

        FIBER_DEADLINE(look->usec);
        look->is_portal = diagnose_portal(look->session, &look->portal);
        return MIN(look->is_portal, 0);
}

static int elsewhere_work(void *arg)
{
        PortLook *look = arg;

        return controls_run(look->session, look->elsewhere, look->n_elsewhere, look->usec);
}

static int port_look_run(PortLook *look)
{
        _cleanup_(fiber_cancelp) Fiber *portal = NULL, *elsewhere = NULL;
        int r, result;

        r = fiber_start(&portal, "portal", portal_work, look);
        if (r == 0)
                r = fiber_start(&elsewhere, "elsewhere", elsewhere_work, look);
        if (r == 0)
                r = controls_run(look->session, look->beside, look->n_beside, look->usec);
        if (r == 0)
                r = fiber_join(&portal, &result);
        if (r == 0 && result == 0)
                r = fiber_join(&elsewhere, &result);
        return r < 0 ? r : result;
}

/* Port 25 is closed to customers by many; any other one, when servers that have nothing to do with each other are silent there, too. */
static bool port_is_blocked(const PortLook *look)
{
        size_t n_silent = 0;

        if (!any(look->beside, look->n_beside, control_alive))
                return false;
        for (size_t i = 0; i < look->n_elsewhere; i++)
                n_silent += look->elsewhere[i].done && look->elsewhere[i].error == ETIMEDOUT;
        return look->session->endpoint->port == 25 || n_silent >= 2;
}

static int port_look_conclude(PortLook *look, bool silent, Finding *finding)
{
        int r;

        if (look->is_portal > 0) {
                finding->cause = look->portal.cause;
                return dict_set_text(&finding->evidence, KEY_PORTAL,
                                     dict_text(&look->portal.evidence, KEY_PORTAL));
        }
        r = controls_tell(look->beside, look->n_beside, &finding->evidence);
        if (r == 0)
                r = controls_tell(look->elsewhere, look->n_elsewhere, &finding->evidence);
        if (r == 0)
                r = tell_alternative(look->session->endpoint, look->beside, look->n_beside,
                                     finding);
        return r == 0 && silent && port_is_blocked(look) ? set_cause(finding, "net.port-blocked")
                                                         : r;
}

static int look_beside(Session *session, bool silent, Finding *finding)
{
        _cleanup_(port_look_deinit) PortLook look = {
                .session = session,
                .usec = silent ? SILENT_LOOK_USEC : refused_look_usec(&session->no.dial),
        };
        int r;

        look.n_beside = controls_beside(session->endpoint, look.beside);
        if (silent)
                look.n_elsewhere = controls_elsewhere(session, look.elsewhere);
        r = port_look_run(&look);
        return r < 0 ? r : port_look_conclude(&look, silent, finding);
}

static int look_at_port(Session *session, Finding *finding)
{
        bool silent = session->no.error == ETIMEDOUT;
        int r;

        r = evidence_families(&finding->evidence, &session->no.dial);
        if (r < 0 || text_equal(finding->cause, "net.blocked-locally"))
                return r;
        if (session->no.error != ECONNREFUSED) {
                r = diagnose_offline(session, finding);
                if (r != 0)
                        return MIN(r, 0);
                if (silent && firewall_of_ours(session))
                        return set_cause(finding, "net.blocked-locally");
        }
        return session->addresses ? look_beside(session, silent, finding) : 0;
}

/* --- encryption -------------------------------------------------------------------------------------------------- */

static int look_at_certificate(Session *session, Finding *finding)
{
        unsigned faults = session->no.certificate->faults;
        int r;

        if (faults &
            (CERTIFICATE_SELF_SIGNED | CERTIFICATE_UNTRUSTED_CA | CERTIFICATE_WRONG_NAME)) {
                r = diagnose_portal(session, finding);
                if (r != 0)
                        return MIN(r, 0);
        }
        if (faults & (CERTIFICATE_SELF_SIGNED | CERTIFICATE_UNTRUSTED_CA)) {
                r = diagnose_interception(session, finding);
                if (r < 0)
                        return r;
        }
        if (faults & CERTIFICATE_WRONG_NAME) {
                r = diagnose_names(session, finding);
                if (r < 0)
                        return r;
        }
        return faults & (CERTIFICATE_EXPIRED | CERTIFICATE_NOT_YET_VALID)
                       ? diagnose_clock(session, finding)
                       : 0;
}

/* Another service, or the right one in the other mode: what would be right? */
static int look_at_wrong_service(Session *session, Finding *finding)
{
        const char *speaks = dict_text(&finding->evidence, KEY_SPEAKS);
        const Endpoint *e = session->endpoint;
        Control controls[CONTROLS_MAX];
        size_t n;
        int r;

        if (text_equal(finding->cause, "tls.mode-mismatch"))
                return dict_set_text(&finding->evidence, KEY_ALTERNATIVE,
                                     text_equal(speaks, "tls")
                                             ? "the same port, encrypted at once (TLS)"
                                             : "the same port with STARTTLS");
        if (!session->addresses)
                return 0;
        n = controls_beside(e, controls);
        r = controls_run(session, controls, n, REFUSED_LOOK_MAX_USEC);
        if (r == 0)
                r = controls_tell(controls, n, &finding->evidence);
        return r < 0 ? r : tell_alternative(e, controls, n, finding);
}

static bool web_answers(const Finding *finding)
{
        return text_equal(dict_text(&finding->evidence, KEY_SPEAKS), "http");
}

static int look_at_tls(Session *session, Finding *finding)
{
        int r;

        if (web_answers(finding)) {
                r = diagnose_portal(session, finding);
                if (r != 0)
                        return MIN(r, 0);
        }
        if (text_equal(finding->cause, "net.wrong-service") ||
            text_equal(finding->cause, "tls.mode-mismatch"))
                return look_at_wrong_service(session, finding);
        return text_equal(finding->cause, "tls.handshake-failed") ||
                               text_equal(finding->cause, "tls.version-unsupported") ||
                               text_equal(finding->cause, "tls.weak-crypto") ||
                               text_equal(finding->cause, "tls.legacy-renegotiation")
                       ? diagnose_handshake(session, finding)
                       : 0;
}

static int look(Session *session, Finding *finding)
{
        const Outcome *no = &session->no;

        switch (no->kind) {
        case OUTCOME_DNS: {
                int r = diagnose_offline(session, finding);

                return r != 0 ? MIN(r, 0) : look_at_names(session, finding);
        }
        case OUTCOME_POLICY:
                return MIN(diagnose_portal(session, finding), 0);
        case OUTCOME_CONNECT:
                return look_at_port(session, finding);
        case OUTCOME_CERTIFICATE:
                return no->certificate ? look_at_certificate(session, finding) : 0;
        case OUTCOME_HANDSHAKE:
        case OUTCOME_GARBAGE:
                return look_at_tls(session, finding);
        case OUTCOME_CLOSED:
        case OUTCOME_RESET:
                return no->phase == PHASE_HANDSHAKE ? look_at_tls(session, finding) : 0;
        case OUTCOME_TIMEOUT:
                return no->phase == PHASE_GREETING ? diagnose_silence(session, finding) : 0;
        case OUTCOME_NOT_OFFERED:
                return text_equal(finding->cause, "tls.starttls-unavailable")
                               ? diagnose_stripped(session, finding)
                               : 0;
        case OUTCOME_NONE:
        case OUTCOME_TOO_LONG:
        case OUTCOME_INJECTED:
        case OUTCOME_REPLY:
        case OUTCOME_HTTP:
                return 0;
        }
        return 0;
}

int session_diagnose(Session *session, StepId step, Finding *finding)
{
        int r;

        if (!session->means || finding->status != STEP_FAILED || session->no.kind == OUTCOME_NONE)
                return 0;
        FIBER_DEADLINE(DIAGNOSE_USEC);
        r = look(session, finding);
        /* What was found until then is told. */
        return r == -ETIME ? 0 : r;
}
