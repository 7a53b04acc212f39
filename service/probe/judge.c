/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See judge.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "probe/reply.h"
#include "wire/address.h"

/* --- what speaks there instead --------------------------------------------------------------------------- */

typedef enum Speaker {
        SPEAKER_NOBODY,
        SPEAKER_TLS,
        SPEAKER_POP3,
        SPEAKER_IMAP,
        SPEAKER_SMTP,
        SPEAKER_OTHER, /* HTTP, SSH, FTP: known, and not mail */
        SPEAKER_UNKNOWN,
} Speaker;

static bool starts(const Outcome *no, const char *prefix)
{
        size_t n = strlen(prefix);

        return no->first_len >= n && memcmp(no->first, prefix, n) == 0;
}

/* The first octets that a server sends tell which protocol it speaks. */
static Speaker judge_speaker(const Outcome *no)
{
        if (no->first_len == 0)
                return SPEAKER_NOBODY;
        /* A TLS record: alert, handshake or data of SSL 3 to TLS 1.3 (RFC 8446 section 5.1). */
        if (no->first_len >= 2 && no->first[0] >= 0x14 && no->first[0] <= 0x17 &&
            no->first[1] == 0x03)
                return SPEAKER_TLS;
        if (starts(no, "+OK") || starts(no, "-ERR"))
                return SPEAKER_POP3;
        if (starts(no, "* OK") || starts(no, "* PREAUTH") || starts(no, "* BYE"))
                return SPEAKER_IMAP;
        if (starts(no, "220") || starts(no, "421") || starts(no, "554") || starts(no, "521"))
                return SPEAKER_SMTP;
        if (starts(no, "HTTP/") || starts(no, "SSH-") || starts(no, "<") || starts(no, "RFB "))
                return SPEAKER_OTHER;
        return SPEAKER_UNKNOWN;
}

/* What stands there, as evidence. NULL: not known. */
static const char *speaker_name(const Outcome *no)
{
        static const struct {
                const char *first, *name;
        } others[] = { { "HTTP/", "http" }, { "<", "http" }, { "SSH-", "ssh" }, { "RFB ", "vnc" } };

        switch (judge_speaker(no)) {
        case SPEAKER_TLS:
                return "tls";
        case SPEAKER_POP3:
                return "pop3";
        case SPEAKER_IMAP:
                return "imap";
        case SPEAKER_SMTP:
                return memmem(no->first, no->first_len, "FTP", 3) ? "ftp" : "smtp";
        case SPEAKER_OTHER:
                for (size_t i = 0; i < ELEMENTS(others); i++)
                        if (starts(no, others[i].first))
                                return others[i].name;
                return NULL;
        case SPEAKER_NOBODY:
        case SPEAKER_UNKNOWN:
                return NULL;
        }
        return NULL;
}

static bool speaker_is(Speaker speaker, Protocol protocol)
{
        switch (protocol) {
        case PROTOCOL_POP3:
                return speaker == SPEAKER_POP3;
        case PROTOCOL_SMTP:
                return speaker == SPEAKER_SMTP;
        case PROTOCOL_IMAP:
                return speaker == SPEAKER_IMAP;
        }
        return false;
}

/* Something else than the expected came. */
static const char *judge_wrong_bytes(const Outcome *no, const JudgeContext *context)
{
        Speaker speaker = judge_speaker(no);

        switch (speaker) {
        case SPEAKER_TLS:
                return "tls.mode-mismatch";
        case SPEAKER_POP3:
        case SPEAKER_IMAP:
        case SPEAKER_SMTP:
                return speaker_is(speaker, context->endpoint->protocol) ? "tls.mode-mismatch"
                                                                        : "net.wrong-service";
        case SPEAKER_OTHER:
                return "net.wrong-service";
        case SPEAKER_NOBODY:
        case SPEAKER_UNKNOWN:
                return NULL;
        }
        return NULL;
}

/* --- by kind of outcome ---------------------------------------------------------------------------------- */

const char *judge_dns(DnsStatus status)
{
        switch (status) {
        case DNS_NXDOMAIN:
                return "dns.nxdomain";
        case DNS_OK:
        case DNS_NO_DATA:
                return "dns.no-records";
        case DNS_SERVFAIL:
                return "dns.servfail";
        case DNS_TIMEOUT:
                return "dns.timeout";
        case DNS_NO_RESOLVER:
                return "dns.resolver-unavailable";
        }
        return "dns.servfail";
}

/* A firewall that says so names itself: ours, one on the way, or the server's own, which is as good as a closed port. */
static const char *judge_prohibited(const Outcome *no)
{
        for (unsigned i = 0; i < no->dial.n_attempts; i++) {
                const DialAttempt *a = &no->dial.attempts[i];

                if (a->error != no->error || !a->prohibited)
                        continue;
                return a->ours                          ? "net.blocked-locally"
                       : strcmp(a->by, a->address) == 0 ? "net.refused"
                                                        : "net.port-blocked";
        }
        return NULL;
}

static const char *judge_connect(const Outcome *no)
{
        const char *prohibited = judge_prohibited(no);

        if (prohibited)
                return prohibited;
        switch (no->error) {
        case ECONNREFUSED:
                return "net.refused";
        case EHOSTUNREACH:
        case ENETUNREACH:
        case ENETDOWN:
        case EADDRNOTAVAIL:
                return "net.unreachable";
        case EACCES:
        case EPERM:
                return "net.blocked-locally";
        case ECONNRESET:
                return "net.reset";
        default:
                return "net.timeout";
        }
}

static const char *judge_handshake(const Outcome *no, const JudgeContext *context)
{
        Speaker speaker = judge_speaker(no);
        const char *wrong = speaker == SPEAKER_TLS ? NULL : judge_wrong_bytes(no, context);

        if (wrong)
                return wrong;
        if (speaker == SPEAKER_UNKNOWN)
                return "net.wrong-service";
        if (no->alert == 70 || strstr(no->text, "unsupported protocol") ||
            strstr(no->text, "protocol version") || strstr(no->text, "legacy sigalg"))
                return "tls.version-unsupported";
        if (strstr(no->text, "legacy renegotiation"))
                return "tls.legacy-renegotiation";
        if (strstr(no->text, "too small") || strstr(no->text, "too weak") ||
            strstr(no->text, "insufficient"))
                return "tls.weak-crypto";
        return "tls.handshake-failed";
}

const char *judge_certificate(const Certificate *certificate)
{
        static const struct {
                CertificateFault fault;
                const char *cause;
        } order[] = {
                /* who signed it decides before what is written in it */
                { CERTIFICATE_REVOKED, "tls.cert-revoked" },
                { CERTIFICATE_SELF_SIGNED, "tls.cert-self-signed" },
                { CERTIFICATE_UNTRUSTED_CA, "tls.cert-untrusted-ca" },
                { CERTIFICATE_INCOMPLETE_CHAIN, "tls.cert-chain-incomplete" },
                { CERTIFICATE_EXPIRED, "tls.cert-expired" },
                { CERTIFICATE_NOT_YET_VALID, "tls.cert-not-yet-valid" },
                { CERTIFICATE_WRONG_NAME, "tls.cert-name-mismatch" },
                { CERTIFICATE_WEAK, "tls.weak-crypto" },
                { CERTIFICATE_INVALID, "tls.cert-invalid" },
        };

        for (size_t i = 0; certificate && i < ELEMENTS(order); i++)
                if (certificate->faults & order[i].fault)
                        return order[i].cause;
        return NULL;
}

bool certificate_approvable(const Certificate *certificate)
{
        unsigned own = CERTIFICATE_SELF_SIGNED | CERTIFICATE_UNTRUSTED_CA;

        /* One's own server may have a certificate of one's own making, then its names and dates are as they are; that
         * a public one ran out or belongs to another name is not for the user to wave through. */
        return (certificate->faults & own) &&
               !(certificate->faults & (CERTIFICATE_REVOKED | CERTIFICATE_WEAK));
}

static const char *judge_timeout(const Outcome *no, const JudgeContext *context)
{
        const Endpoint *e = context->endpoint;

        /* Silence where a greeting was due, on a port that speaks TLS at once: it waits for our first word. */
        if (no->phase == PHASE_GREETING && !context->tls && e->security != SECURITY_TLS &&
            (e->port == 995 || e->port == 465 || e->port == 993))
                return "tls.mode-mismatch";
        return "net.timeout";
}

static const char *judge_not_offered(const Outcome *no, const JudgeContext *context)
{
        if (strstr(no->text, "STLS") || strstr(no->text, "STARTTLS"))
                return "tls.starttls-unavailable";
        if (strstr(no->text, "UIDL"))
                return "fetch.uidl-unsupported";
        return context->endpoint->protocol == PROTOCOL_SMTP && !strstr(no->text, " ")
                       ? "auth.not-offered"
                       : "auth.mechanism-unsupported";
}

static const char *judge_reply(const Outcome *no, const JudgeContext *context)
{
        ReplyContext reply = { .protocol = context->endpoint->protocol,
                               .phase = no->phase,
                               .tls = context->tls,
                               .logged_in = context->logged_in,
                               .host = context->endpoint->host };

        return reply_judge(&reply, no->status, no->code, outcome_words(no));
}

static bool cause_is(const char *cause, const char *const *list)
{
        for (; *list; list++)
                if (text_equal(cause, *list))
                        return true;
        return false;
}

/* A login by token has no password that could be wrong: what a server says of credentials is said of the token. Access, limits and troubles of
 * the server mean what they mean. */
static const char *judge_token(const Outcome *no, const char *cause)
{
        static const char *const of_password[] = {
                "auth.bad-credentials",       "auth.bad-credentials-or-disabled",
                "auth.app-password-required", "auth.oauth-required",
                "auth.username-format",       "auth.password-expired",
                "auth.password-too-weak",     "auth.second-factor",
                "server.temporary",           NULL,
        };

        if (!cause_is(cause, of_password))
                return cause;
        /* A server in trouble that says nothing of the token is left in trouble. */
        if (text_equal(cause, "server.temporary") && !no->sasl_text[0])
                return cause;
        return text_equal(no->sasl, "403") || text_equal(no->sasl, "insufficient_scope")
                       ? "oauth.consent-required"
                       : "oauth.token-rejected";
}

const char *judge_delivery_fault(int error)
{
        switch (-error) {
        case ENOSPC:
        case EDQUOT:
                return "delivery.no-space";
        case EACCES:
        case EPERM:
        case EROFS:
                return "delivery.denied";
        default:
                return "delivery.refused";
        }
}

const char *judge_outcome(const Outcome *no, const JudgeContext *context)
{
        const char *cause;

        switch (no->kind) {
        case OUTCOME_DNS:
                return judge_dns(no->dns);
        case OUTCOME_POLICY:
                return "policy.address-forbidden";
        case OUTCOME_CONNECT:
                return judge_connect(no);
        case OUTCOME_HANDSHAKE:
                return judge_handshake(no, context);
        case OUTCOME_CERTIFICATE:
                cause = judge_certificate(no->certificate);
                return cause ? cause : "tls.cert-invalid";
        case OUTCOME_TIMEOUT:
                return judge_timeout(no, context);
        case OUTCOME_CLOSED:
        case OUTCOME_RESET:
                return no->phase == PHASE_HANDSHAKE ? "tls.handshake-failed" : "net.reset";
        case OUTCOME_GARBAGE:
                cause = judge_wrong_bytes(no, context);
                return cause                         ? cause
                       : no->phase == PHASE_GREETING ? "net.wrong-service"
                                                     : "server.protocol-violation";
        case OUTCOME_TOO_LONG:
        case OUTCOME_INJECTED:
                return "server.protocol-violation";
        case OUTCOME_NOT_OFFERED:
                return judge_not_offered(no, context);
        case OUTCOME_REPLY:
                cause = judge_reply(no, context);
                return context->token && no->phase == PHASE_LOGIN ? judge_token(no, cause) : cause;
        case OUTCOME_HTTP:
        case OUTCOME_NONE:
                return "server.temporary";
        }
        return "server.temporary";
}

/* --- evidence --------------------------------------------------------------------------------------------- */

const char *dial_error_text(int error)
{
        switch (error) {
        case 0:
                return "connected";
        case ECONNREFUSED:
                return "refused";
        case ETIMEDOUT:
                return "no answer";
        case EHOSTUNREACH:
        case ENETUNREACH:
                return "unreachable";
        case EADDRNOTAVAIL:
                return "not allowed";
        case ECANCELED:
                return "given up, another was faster";
        default:
                return strerrordesc_np(error) ?: "failed";
        }
}

int evidence_dial(Dict *evidence, const DialReport *report)
{
        int r = 0;

        for (unsigned i = 0; i < report->n_attempts && r == 0; i++) {
                const DialAttempt *a = &report->attempts[i];
                char line[160];

                snprintf(line, sizeof(line), "%s %s after %" PRIu64 " ms%s%s", a->address,
                         a->prohibited ? "forbidden" : dial_error_text(a->error),
                         (a->usec + 500) / 1000, a->by[0] ? " by " : "",
                         a->ours ? "this computer" : a->by);
                r = dict_add_to_list(evidence, KEY_ATTEMPTS, line);
        }
        return r;
}

/* The attempt that stands for a family: the one that connected, else the first that tells something. */
static const DialAttempt *family_attempt(const DialReport *report, bool six)
{
        const DialAttempt *found = NULL;

        for (unsigned i = 0; i < report->n_attempts; i++) {
                const DialAttempt *a = &report->attempts[i];

                if ((strchr(a->address, ':') != NULL) != six)
                        continue;
                if (!found || a->error == 0 || found->error == ECANCELED)
                        found = a;
        }
        return found;
}

static bool family_is_absent(const DialAttempt *attempt)
{
        return attempt->error == ENETUNREACH || attempt->error == EAFNOSUPPORT;
}

int evidence_families(Dict *evidence, const DialReport *report)
{
        const DialAttempt *four = family_attempt(report, false),
                          *six = family_attempt(report, true);
        int r;

        if (!four || !six || four->error == ECANCELED || six->error == ECANCELED ||
            (four->error == 0 && six->error == 0))
                return 0;
        /* A family that this computer does not have at all is nothing broken. */
        if ((four->error == 0 && family_is_absent(six)) ||
            (six->error == 0 && family_is_absent(four)))
                return 0;
        r = dict_set_text(evidence, KEY_IPV4, four->error ? dial_error_text(four->error) : "works");
        return r < 0 ? r
                     : dict_set_text(evidence, KEY_IPV6,
                                     six->error ? dial_error_text(six->error) : "works");
}

int evidence_addresses(Dict *evidence, const DnsAddresses *addresses)
{
        int r = dict_set_text(evidence, KEY_CANONICAL, addresses->canonical);

        for (unsigned i = 0; i < addresses->n_addresses && r == 0; i++) {
                char text[48];

                address_text((const struct sockaddr *) &addresses->addresses[i], text);
                r = dict_add_to_list(evidence, KEY_ADDRESSES, text);
        }
        return r;
}

int evidence_certificate(Dict *evidence, const Certificate *c)
{
        uint64_t now = clock_real();
        int r;

        if (!c)
                return 0;
        if ((r = dict_set_text(evidence, KEY_TLS, c->protocol)) < 0 ||
            (r = dict_set_text(evidence, KEY_CIPHER, c->cipher)) < 0 ||
            (r = dict_set_text(evidence, KEY_SUBJECT, c->subject)) < 0 ||
            (r = dict_set_text(evidence, KEY_ISSUER, c->issuer)) < 0 ||
            (r = dict_set_list(evidence, KEY_NAMES, c->names)) < 0 ||
            (r = dict_set_number(evidence, KEY_NOT_BEFORE, c->not_before_usec)) < 0 ||
            (r = dict_set_number(evidence, KEY_NOT_AFTER, c->not_after_usec)) < 0 ||
            (r = dict_set_text(evidence, KEY_KEY, c->key)) < 0 ||
            (r = dict_set_text(evidence, KEY_EXCHANGE, c->exchange)) < 0 ||
            (r = dict_set_text(evidence, KEY_SPKI, c->spki_sha256)) < 0)
                return r;
        if (c->not_after_usec > now)
                r = dict_set_number(evidence, KEY_DAYS_LEFT,
                                    (c->not_after_usec - now) / USEC_PER_DAY);
        if (r == 0 && c->errors)
                r = dict_set_list(evidence, KEY_VERIFY_ERRORS, c->errors);
        if (r == 0 && c->approved)
                r = dict_set_bool(evidence, KEY_APPROVED, true);
        return r;
}

/* What happened, for outcomes that come without words. NULL: nothing to add. */
static const char *outcome_error_text(const Outcome *no)
{
        switch (no->kind) {
        case OUTCOME_DNS:
                return dns_status_name(no->dns);
        case OUTCOME_TIMEOUT:
                return "no answer in time";
        case OUTCOME_CLOSED:
                return "the server closed the connection";
        case OUTCOME_RESET:
                return no->error ? strerrordesc_np(no->error) : "the connection was reset";
        case OUTCOME_TOO_LONG:
                return "the answer passed every bound";
        case OUTCOME_GARBAGE:
                return "what came is no answer of this protocol";
        case OUTCOME_INJECTED:
                return "bytes were waiting behind the answer that starts encryption";
        case OUTCOME_NONE:
        case OUTCOME_POLICY:
        case OUTCOME_CONNECT:
        case OUTCOME_HANDSHAKE:
        case OUTCOME_CERTIFICATE:
        case OUTCOME_NOT_OFFERED:
        case OUTCOME_REPLY:
        case OUTCOME_HTTP:
                return no->error ? strerrordesc_np(no->error) : NULL;
        }
        return NULL;
}

int evidence_outcome(Dict *evidence, const Outcome *no)
{
        int r;

        r = dict_set_text(evidence, KEY_PHASE, phase_name(no->phase));
        if (r == 0 && no->text[0])
                r = dict_set_text(evidence, no->kind == OUTCOME_REPLY ? KEY_REPLY : KEY_ERROR,
                                  no->text);
        if (r == 0 && no->code[0])
                r = dict_set_text(evidence, KEY_CODE, no->code);
        if (r == 0 && no->status)
                r = dict_set_number(evidence, KEY_STATUS, no->status);
        if (r == 0 && no->sasl[0])
                r = dict_set_text(evidence, KEY_SASL_STATUS, no->sasl);
        if (r == 0 && no->sasl_text[0])
                r = dict_set_text(evidence, KEY_SASL_ERROR, no->sasl_text);
        if (r == 0 && no->first_len)
                r = dict_set_bytes(evidence, KEY_FIRST_BYTES, no->first, no->first_len);
        if (r == 0 && (no->kind == OUTCOME_GARBAGE || no->kind == OUTCOME_HANDSHAKE))
                r = dict_set_text(evidence, KEY_SPEAKS, speaker_name(no));
        if (r == 0 && !no->text[0])
                r = dict_set_text(evidence, KEY_ERROR, outcome_error_text(no));
        return r;
}

int finding_fail(Finding *finding, const Outcome *no, const JudgeContext *context)
{
        int r;

        finding->status = STEP_FAILED;
        finding->cause = judge_outcome(no, context);
        r = evidence_outcome(&finding->evidence, no);
        if (r == 0)
                r = evidence_dial(&finding->evidence, &no->dial);
        if (r == 0)
                r = evidence_certificate(&finding->evidence, no->certificate);
        return r;
}
