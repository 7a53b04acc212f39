/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The closer look at encryption that did not come about: a second handshake that asks for less and carries nothing, the names of a certificate,
 * and STARTTLS that somebody has taken out. */
#include <ctype.h>
#include <string.h>

#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/diagnose.h"
#include "probe/judge.h"
#include "wire/address.h"

enum { NAMES_TRIED = 6, STRONG_DH = 2048, STRONG_CIPHER = 128 };

#define AGAIN_USEC (3 * USEC_PER_SEC)

/* Up to the handshake, with @relax, and then no further. Returns 0; facts are in second->no.certificate when TLS came about. */
static int handshake_again(Session *second, const Session *from, const Endpoint *endpoint,
                           unsigned relax)
{
        _cleanup_finding_ Finding unseen = {};
        int r;

        r = session_look_again(second, from);
        if (r < 0)
                return r;
        second->endpoint = endpoint;
        second->relax = relax;
        FIBER_DEADLINE(AGAIN_USEC);
        r = session_connect(second, &unseen);
        if (r == 0 && unseen.status == STEP_PASSED) {
                finding_clear(&unseen);
                r = session_secure(second, &unseen);
        }
        return r == -ETIME ? 0 : r;
}

static const Certificate *facts(const Session *second)
{
        return second->no.kind == OUTCOME_CERTIFICATE ? second->no.certificate : NULL;
}

static bool version_is_old(const Certificate *c)
{
        return text_equal(c->protocol, "TLSv1") || text_equal(c->protocol, "TLSv1.1") ||
               text_equal(c->protocol, "SSLv3");
}

static bool exchange_is_weak(const Certificate *c)
{
        return text_starts_nocase(c->exchange, "DH ") && c->exchange_bits < STRONG_DH;
}

/* What the server gets by with tells what it lacks. */
static const char *cause_of_facts(const Certificate *c)
{
        if (version_is_old(c))
                return "tls.version-unsupported";
        if (exchange_is_weak(c) || c->cipher_bits < STRONG_CIPHER || (c->faults & CERTIFICATE_WEAK))
                return "tls.weak-crypto";
        return c->legacy ? "tls.legacy-renegotiation" : NULL;
}

static int tell_facts(const Certificate *c, Finding *finding)
{
        int r;

        if ((r = dict_set_text(&finding->evidence, KEY_TLS, c->protocol)) < 0 ||
            (r = dict_set_text(&finding->evidence, KEY_CIPHER, c->cipher)) < 0 ||
            (r = dict_set_text(&finding->evidence, KEY_EXCHANGE, c->exchange)) < 0)
                return r;
        return dict_set_text(&finding->evidence, KEY_KEY, c->key);
}

int diagnose_handshake(Session *session, Finding *finding)
{
        static const unsigned all = TLS_RELAX_VERSION | TLS_RELAX_LEVEL | TLS_RELAX_LEGACY;
        static const struct {
                unsigned relax;
                const char *told;
        } tries[] = {
                { all, "a second handshake that accepts anything" },
                { TLS_RELAX_NO_NAME | all, "a handshake without the server's name" },
        };
        int r = 0;

        for (size_t i = 0; i < ELEMENTS(tries) && r == 0; i++) {
                _cleanup_session_ Session second = {};
                _cleanup_free_ char *line = NULL;
                const char *cause;

                r = handshake_again(&second, session, session->endpoint, tries[i].relax);
                if (r < 0 || second.no.kind == OUTCOME_CONNECT)
                        return r;
                r = text_format(&line, "%s %s", tries[i].told,
                                facts(&second) ? "comes about" : "fails, too");
                if (r == 0)
                        r = dict_add_to_list(&finding->evidence, KEY_CONTROLS, line);
                if (r < 0 || !facts(&second))
                        continue;
                cause = i == 0 ? cause_of_facts(facts(&second)) : NULL;
                if (cause)
                        finding->cause = cause;
                return tell_facts(facts(&second), finding);
        }
        return r;
}

/* --- names --------------------------------------------------------------------------------------------------------- */

/* "*.provider.test" and "pop.customer.test" may be "pop.provider.test". Returns 0 with *@ret NULL for nothing to try. */
static int name_to_try(char **ret, const char *name, const char *host)
{
        const char *dot = strchr(host, '.');

        if (name[0] != '*')
                return strchr(name, '.') && !text_equal_nocase(name, host) ? text_set(ret, name)
                                                                           : 0;
        if (name[1] != '.' || !strchr(name + 2, '.') || !dot)
                return 0;
        return text_format(ret, "%.*s%s", (int) (dot - host), host, name + 1);
}

/* Does @name lead to an address that the server has? */
static int leads_there(Session *session, const char *name, bool *ret)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *found = NULL;
        _cleanup_outcome_ Outcome no = {};
        char a[48], b[48];
        int r;

        r = dns_addresses(&found, session->dns, name, &no);
        if (r != 0)
                return MIN(r, 0);
        for (unsigned i = 0; i < found->n_addresses; i++)
                for (unsigned k = 0; session->addresses && k < session->addresses->n_addresses;
                     k++) {
                        address_text((const struct sockaddr *) &found->addresses[i], a);
                        address_text((const struct sockaddr *) &session->addresses->addresses[k],
                                     b);
                        if (text_equal(a, b))
                                *ret = true;
                }
        return 0;
}

int diagnose_names(Session *session, Finding *finding)
{
        char **names = session->no.certificate->names;
        size_t n_tried = 0;
        int r = 0;

        for (; names && *names && n_tried < NAMES_TRIED && r == 0; names++) {
                _cleanup_free_ char *name = NULL;
                bool there = false;

                r = name_to_try(&name, *names, session->endpoint->host);
                if (r < 0 || !name)
                        continue;
                n_tried++;
                r = leads_there(session, name, &there);
                if (r == 0 && there)
                        return dict_set_text(&finding->evidence, KEY_SUGGESTED_HOST, name);
        }
        return r;
}

/* --- STARTTLS -------------------------------------------------------------------------------------------------------- */

/* "XXXXXXXA", "********": what some firewalls leave of a word. */
static bool word_is_painted_over(const char *word, size_t len)
{
        size_t n = 0;

        while (n < len && (word[n] == 'X' || word[n] == '*' || word[n] == 'x'))
                n++;
        return n >= 4 && n + 1 >= len;
}

static bool line_is_painted_over(const char *line)
{
        while (line && *line) {
                size_t len = strcspn(line, " -");

                if (word_is_painted_over(line, len))
                        return true;
                line += len + strspn(line + len, " -");
        }
        return false;
}

int diagnose_stripped(Session *session, Finding *finding)
{
        char *const *lines = dict_list(&finding->evidence, KEY_CAPABILITIES);
        bool stripped = line_is_painted_over(dict_text(&finding->evidence, KEY_GREETING)) ||
                        (session->means->providers &&
                         provider_by_host(session->means->providers, session->endpoint->host));
        Endpoint other = *session->endpoint;
        _cleanup_session_ Session second = {};
        _cleanup_free_ char *text = NULL;
        int r;

        for (; lines && *lines; lines++)
                stripped |= line_is_painted_over(*lines);
        if (stripped)
                finding->cause = "tls.starttls-stripped";
        /* The port that begins with TLS may be the way out. */
        other.security = SECURITY_TLS;
        other.port = protocol_default_port(other.protocol, SECURITY_TLS);
        r = handshake_again(&second, session, &other, TLS_RELAX_LOOK);
        if (r < 0 || !facts(&second))
                return r;
        r = text_format(&text, "port %u of %s begins with TLS%s", other.port, other.host,
                        facts(&second)->faults ? ", but its certificate does not verify" : "");
        return r < 0 ? r : dict_set_text(&finding->evidence, KEY_ALTERNATIVE, text);
}

int diagnose_silence(Session *session, Finding *finding)
{
        Endpoint other = *session->endpoint;
        _cleanup_session_ Session second = {};
        int r;

        if (session->endpoint->security == SECURITY_TLS)
                return 0;
        other.security = SECURITY_TLS;
        r = handshake_again(&second, session, &other, TLS_RELAX_LOOK);
        if (r < 0 || !facts(&second))
                return r;
        finding->cause = "tls.mode-mismatch";
        r = dict_set_text(&finding->evidence, KEY_ALTERNATIVE,
                          "the same port, encrypted at once (TLS)");
        if (r == 0)
                r = tell_facts(facts(&second), finding);
        return r < 0 ? r
                     : dict_add_to_list(&finding->evidence, KEY_CONTROLS,
                                        "the port answers when TLS is begun at once");
}
