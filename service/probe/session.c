/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See session.h. A session is its own outcome's reader: what the world answers becomes a finding here and nowhere else. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/judge.h"
#include "probe/session.h"

/* How long the address family that lost the race gets to show that it works. */
#define FAMILY_USEC (2 * USEC_PER_SEC)

void session_close(Session *session)
{
        session->addresses = dns_addresses_free(session->addresses);
        session->stream = stream_free(session->stream);
        session->pop3 = pop3_free(session->pop3);
        session->smtp = smtp_free(session->smtp);
        session->imap = imap_free(session->imap);
        session->certificate = certificate_free(session->certificate);
        session->tls_on = session->logged_in = false;
        outcome_reset(&session->no);
}

void session_move(Session *to, Session *from)
{
        session_close(to);
        to->addresses = TAKE(from->addresses);
        to->stream = TAKE(from->stream);
        to->pop3 = TAKE(from->pop3);
        to->smtp = TAKE(from->smtp);
        to->imap = TAKE(from->imap);
        to->certificate = TAKE(from->certificate);
        to->tls_on = from->tls_on;
        to->logged_in = from->logged_in;
        from->tls_on = from->logged_in = false;
}

int session_look_again(Session *ret, const Session *from)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *addresses = NULL;

        if (from->addresses) {
                addresses = malloc(sizeof(*addresses));
                if (!addresses)
                        return -ENOMEM;
                *addresses = *from->addresses;
                addresses->canonical = NULL;
        }
        *ret = (Session){ .side = from->side,
                          .endpoint = from->endpoint,
                          .dns = from->dns,
                          .tls = from->tls,
                          .policy = from->policy,
                          .addresses = TAKE(addresses) };
        return 0;
}

static int session_fail(Session *session, Finding *ret, const Outcome *no)
{
        JudgeContext context = { .endpoint = session->endpoint,
                                 .tls = session->tls_on,
                                 .logged_in = session->logged_in,
                                 .token = session->token };
        int r = outcome_copy(&session->no, no);

        return r < 0 ? r : finding_fail(ret, no, &context);
}

static int evidence_endpoint(const Session *session, Dict *to)
{
        int r = dict_set_text(to, KEY_HOST, session->endpoint->host);

        return r < 0 ? r : dict_set_number(to, KEY_PORT, session->endpoint->port);
}

int session_resolve(Session *session, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = dict_set_text(&ret->evidence, KEY_HOST, session->endpoint->host);
        if (r < 0)
                return r;
        session->addresses = dns_addresses_free(session->addresses);
        r = dns_addresses(&session->addresses, session->dns, session->endpoint->host, &no);
        if (r < 0)
                return r;
        if (r > 0)
                return session_fail(session, ret, &no);
        ret->status = STEP_PASSED;
        return evidence_addresses(&ret->evidence, session->addresses);
}

/* Which family won says nothing of the other: that one is tried by itself, and the report corrected. */
static int session_try_losers(const Session *session, DialReport *report)
{
        int family = strchr(report->attempts[report->winner].address, ':') ? AF_INET : AF_INET6;
        Control control = { .port = session->endpoint->port, .what = "", .family = family };
        DialAttempt *loser = NULL;
        bool there = false;
        int r;

        for (unsigned i = 0; i < session->addresses->n_addresses; i++)
                there |= session->addresses->addresses[i].ss_family == family;
        for (unsigned i = 0; i < report->n_attempts; i++)
                if ((strchr(report->attempts[i].address, ':') != NULL) == (family == AF_INET6))
                        loser = &report->attempts[i];
        if (!there || (loser && loser->error != ECANCELED) ||
            (!loser && report->n_attempts == LIMIT_ADDRESSES))
                return 0;
        r = controls_run(session, &control, 1, FAMILY_USEC);
        if (r < 0 || !control.done)
                return r == -ETIME ? 0 : r;
        if (!loser) {
                loser = &report->attempts[report->n_attempts++];
                for (unsigned i = 0; i < session->addresses->n_addresses; i++)
                        if (session->addresses->addresses[i].ss_family == family)
                                address_text(
                                        (const struct sockaddr *) &session->addresses->addresses[i],
                                        loser->address);
        }
        loser->error = control.error;
        loser->usec = control.usec;
        return 0;
}

int session_connect(Session *session, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        DialReport report = {};
        int r;

        r = evidence_endpoint(session, &ret->evidence);
        if (r < 0)
                return r;
        r = dial(&session->stream, session->addresses, session->endpoint->port, session->policy,
                 &report, &no);
        if (r < 0)
                return r;
        if (r > 0)
                return session_fail(session, ret, &no);
        ret->status = STEP_PASSED;
        r = dict_set_text(&ret->evidence, KEY_PEER, stream_peer(session->stream));
        if (r == 0 && session->thorough)
                r = session_try_losers(session, &report);
        if (r == 0)
                r = evidence_dial(&ret->evidence, &report);
        return r < 0 ? r : evidence_families(&ret->evidence, &report);
}

static const char *session_label(const Session *session)
{
        return side_name(session->side);
}

/* Reads the greeting, once. Returns 0, 1, negative errno like talk. */
static int session_greet(Session *session, Outcome *no)
{
        switch (session->endpoint->protocol) {
        case PROTOCOL_POP3:
                return session->pop3 ? 0
                                     : pop3_open(&session->pop3, TAKE(session->stream),
                                                 session->transcript, session_label(session), no);
        case PROTOCOL_SMTP:
                return session->smtp ? 0
                                     : smtp_open(&session->smtp, TAKE(session->stream),
                                                 session->transcript, session_label(session), no);
        case PROTOCOL_IMAP:
                return session->imap ? 0
                                     : imap_open(&session->imap, TAKE(session->stream),
                                                 session->transcript, session_label(session), no);
        }
        return -EINVAL;
}

/* --- the same thing in the three dialogues ------------------------------------------------------------------ */

bool session_is_open(const Session *session)
{
        return session->pop3 || session->smtp || session->imap;
}

static int session_capabilities(Session *session, Outcome *no)
{
        return session->pop3   ? pop3_ask_capabilities(session->pop3, no)
               : session->imap ? imap_ask_capabilities(session->imap, no)
                               : smtp_ehlo(session->smtp, no);
}

static int session_upgrade(Session *session, const TlsRequest *request, Outcome *no)
{
        Certificate **certificate = &session->certificate;

        return session->pop3 ? pop3_start_tls(session->pop3, session->tls, request, certificate, no)
               : session->imap
                       ? imap_start_tls(session->imap, session->tls, request, certificate, no)
                       : smtp_start_tls(session->smtp, session->tls, request, certificate, no);
}

static const char *session_greeting(const Session *session)
{
        return session->pop3   ? pop3_greeting(session->pop3)
               : session->imap ? imap_greeting(session->imap)
               : session->smtp ? smtp_greeting(session->smtp)
                               : NULL;
}

static char **session_lines(const Session *session)
{
        return session->pop3   ? pop3_capabilities(session->pop3)->lines
               : session->imap ? imap_capabilities(session->imap)->list
               : session->smtp ? smtp_extensions(session->smtp)->lines
                               : NULL;
}

static char **session_mechanisms(const Session *session)
{
        return session->pop3   ? pop3_capabilities(session->pop3)->sasl
               : session->imap ? imap_capabilities(session->imap)->sasl
                               : smtp_extensions(session->smtp)->auth;
}

/* A server that greets with PREAUTH under TLS asks nobody for anything. */
static const char *session_method(const Session *session, const Login *login)
{
        return session->pop3   ? pop3_login_method(session->pop3, login)
               : session->imap ? imap_signed_in(session->imap)
                                         ? "PREAUTH"
                                         : imap_login_method(session->imap, login)
                               : smtp_login_method(session->smtp, login);
}

static int login_once(Session *session, const Login *login, Outcome *no)
{
        if (session->imap && imap_signed_in(session->imap))
                return 0;
        return session->pop3   ? pop3_login(session->pop3, login, no)
               : session->imap ? imap_login(session->imap, login, no)
                               : smtp_login(session->smtp, login, no);
}

/* --- encryption --------------------------------------------------------------------------------------------- */

static bool approval_stands(const Endpoint *endpoint)
{
        return endpoint->approved_until_usec == 0 || clock_real() < endpoint->approved_until_usec;
}

static int session_start_tls(Session *session, Outcome *no)
{
        TlsRequest request = { .host = session->endpoint->host,
                               .approved_spki = approval_stands(session->endpoint)
                                                        ? session->endpoint->approved_spki
                                                        : NULL,
                               .relax = session->relax };
        int r;

        if (session->endpoint->security == SECURITY_TLS)
                return stream_start_tls(session->stream, session->tls, &request,
                                        &session->certificate, no);
        r = session_greet(session, no);
        if (r != 0)
                return r;
        r = session_capabilities(session, no);
        if (r != 0)
                return r;
        return session_upgrade(session, &request, no);
}

/* What it says of itself. */
static int evidence_offer(const Session *session, Dict *to)
{
        int r = dict_set_text(to, KEY_GREETING, session_greeting(session));

        return r < 0 ? r : dict_set_list(to, KEY_CAPABILITIES, session_lines(session));
}

int session_secure(Session *session, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = evidence_endpoint(session, &ret->evidence);
        if (r == 0)
                r = dict_set_text(&ret->evidence, KEY_SECURITY,
                                  security_name(session->endpoint->security));
        if (r < 0)
                return r;
        if (session->endpoint->security == SECURITY_NONE) {
                /* Never by itself: no candidate and no option leads here; kept for the day an administrator may allow it. */
                ret->status = STEP_FAILED;
                ret->cause = "tls.required";
                return 0;
        }
        session->certificate = certificate_free(session->certificate);
        FIBER_DEADLINE(LIMIT_HANDSHAKE_USEC);
        r = session_start_tls(session, &no);
        if (r < 0)
                return r;
        if (r > 0 && no.kind == OUTCOME_NOT_OFFERED) {
                r = evidence_offer(session, &ret->evidence);
                if (r < 0)
                        return r;
                r = 1;
        }
        if (r > 0)
                return session_fail(session, ret, &no);
        session->tls_on = true;
        ret->status = STEP_PASSED;
        return evidence_certificate(&ret->evidence, session->certificate);
}

/* --- service and login -------------------------------------------------------------------------------------- */

static Login session_login_of(const Session *session, const Secret *secret)
{
        return (Login){
                .user = session->endpoint->user,
                .secret = secret,
                .host = session->endpoint->host,
                .port = session->endpoint->port,
                .token = session->token,
                .unlisted = session->unlisted,
        };
}

/* Why there is no way to sign in here by what we have. */
static const char *no_method_cause(const Session *session)
{
        Login other = session_login_of(session, NULL);

        other.token = !session->token;
        if (!session->token && session_method(session, &other))
                return "auth.oauth-required";
        return session->smtp && !session_mechanisms(session) ? "auth.not-offered"
                                                             : "auth.mechanism-unsupported";
}

/* What can be done here with a password or, where passwords are not taken, with a token. */
static int evidence_methods(const Session *session, Finding *ret)
{
        Login password = session_login_of(session, NULL), token = password;
        const char *by_password, *by_token;
        int r = 0;

        password.token = false;
        token.token = true;
        by_password = session_method(session, &password);
        by_token = session_method(session, &token);
        r = dict_set_text(&ret->evidence, KEY_METHOD, by_password ? by_password : by_token);
        if (r == 0 && by_password)
                r = dict_add_to_list(&ret->evidence, KEY_METHODS, by_password);
        if (r == 0 && by_token)
                r = dict_add_to_list(&ret->evidence, KEY_METHODS, by_token);
        if (r == 0 && !by_password && !by_token) {
                ret->status = STEP_FAILED;
                ret->cause = no_method_cause(session);
        }
        return r;
}

static int evidence_service(const Session *session, Finding *ret)
{
        int r = evidence_offer(session, &ret->evidence);

        return r < 0 ? r : evidence_methods(session, ret);
}

int session_service(Session *session, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        bool asked = false;
        int r;

        r = evidence_endpoint(session, &ret->evidence);
        if (r == 0)
                r = dict_set_text(&ret->evidence, KEY_PROTOCOL,
                                  protocol_name(session->endpoint->protocol));
        if (r < 0)
                return r;
        /* After STARTTLS the SMTP dialogue has said EHLO already. */
        asked = session->smtp && smtp_extensions(session->smtp)->known;
        r = session_greet(session, &no);
        if (r == 0 && !asked)
                r = session_capabilities(session, &no);
        if (r < 0)
                return r;
        if (r > 0)
                return session_fail(session, ret, &no);
        ret->status = STEP_PASSED;
        return evidence_service(session, ret);
}

/* The password cannot be said in this protocol: it cannot be the right one. */
static int login_unsayable(Finding *ret)
{
        ret->status = STEP_FAILED;
        ret->cause = "auth.bad-credentials";
        return dict_set_text(&ret->evidence, KEY_REASON,
                             "the user name or password has characters that cannot be sent");
}

/* Nothing was said: the server takes no such secret. */
static int login_not_offered(const Session *session, Finding *ret)
{
        ret->status = STEP_FAILED;
        ret->cause = no_method_cause(session);
        return dict_set_list(&ret->evidence, KEY_CAPABILITIES, session_mechanisms(session));
}

/* What lacks the other half of the password for one SCRAM lacks it for all of them: there is one more attempt, and it is not for another SCRAM. */
static const char *method_rank(const char *method)
{
        return text_starts_nocase(method, "SCRAM-") ? "SCRAM-SHA-1" : method;
}

/* What is left after a refusal that has not judged the secret; NULL: nothing, or it has. A server that offers a method and does not have it has
 * judged nothing; a SCRAM that ends before the proof says that there is nothing to compare it with, which counts as a refusal there. */
static const char *login_left(const Session *session, const Login *login, const char *method,
                              const Outcome *no, unsigned *refusals)
{
        JudgeContext context = { .endpoint = session->endpoint,
                                 .tls = session->tls_on,
                                 .token = session->token };
        Login next = *login;

        if (text_equal(judge_outcome(no, &context), "auth.mechanism-unsupported"))
                *refusals = 0;
        else if (!no->unjudged || session->refusals_allowed < 2)
                return NULL;
        next.after = method_rank(method);
        return session_method(session, &next);
}

/* @method is the one that was tried last. The first refusal is the one told when the second attempt finds the connection closed. */
static int login_attempts(Session *session, Login *login, const char **method, unsigned *refusals,
                          Outcome *no)
{
        const char *next;
        _cleanup_outcome_ Outcome second = {};
        int r;

        r = login_once(session, login, no);
        *refusals = r == 1 && no->kind == OUTCOME_REPLY;
        next = *refusals > 0 ? login_left(session, login, *method, no, refusals) : NULL;
        if (!next)
                return r;
        login->after = method_rank(*method);
        *method = next;
        r = login_once(session, login, &second);
        if (r == 1 && second.kind != OUTCOME_REPLY)
                return 1;
        *refusals += r == 1;
        return r == 1 ? (outcome_copy(no, &second) < 0 ? -ENOMEM : 1) : r;
}

bool session_may_try_twice(const Session *session)
{
        Login login = session_login_of(session, NULL);
        const char *method = session_method(session, &login);

        return method && text_starts_nocase(method, "SCRAM-");
}

int session_login(Session *session, const Secret *secret, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        const Endpoint *e = session->endpoint;
        Login login = session_login_of(session, secret);
        const char *method;
        unsigned refusals = 0;
        int r;

        r = dict_set_text(&ret->evidence, KEY_HOST, e->host);
        if (r == 0)
                r = dict_set_text(&ret->evidence, KEY_USER, e->user);
        if (r < 0)
                return r;
        method = session_method(session, &login);
        if (!method)
                return login_not_offered(session, ret);
        r = login_attempts(session, &login, &method, &refusals, &no);
        if (r == -EINVAL)
                return login_unsayable(ret);
        if (r < 0)
                return r;
        r = r > 0 ? session_fail(session, ret, &no) : 0;
        if (r == 0)
                r = dict_set_text(&ret->evidence, KEY_METHOD, method);
        if (r == 0 && refusals > 0)
                r = dict_set_number(&ret->evidence, KEY_REFUSALS, refusals);
        if (r < 0 || ret->status == STEP_FAILED)
                return r;
        session->logged_in = true;
        ret->status = STEP_PASSED;
        return 0;
}

/* RFC 2449 section 6.5 and 6.7: what the list says after login is what counts. */
static int mailbox_terms(const Session *session, Finding *ret)
{
        const Pop3Capabilities *c = pop3_capabilities(session->pop3);
        int r = 0;

        if (c->has_login_delay)
                r = dict_set_number(&ret->evidence, KEY_LOGIN_DELAY, c->login_delay_sec);
        if (r == 0 && c->expire == POP3_EXPIRE_DAYS)
                r = dict_set_number(&ret->evidence, KEY_EXPIRE, c->expire_days);
        return r;
}

static int mailbox_pop3(Session *session, Finding *ret, Outcome *no)
{
        int r;

        r = pop3_stat(session->pop3, &session->messages, &session->octets, no);
        if (r == 0 && pop3_capabilities(session->pop3)->known &&
            (pop3_capabilities(session->pop3)->login_delay_by_user ||
             pop3_capabilities(session->pop3)->expire_by_user))
                r = pop3_ask_capabilities(session->pop3, no);
        if (r)
                return r;
        r = dict_set_number(&ret->evidence, KEY_MESSAGES, session->messages);
        if (r == 0)
                r = dict_set_number(&ret->evidence, KEY_OCTETS, session->octets);
        return r < 0 ? r : mailbox_terms(session, ret);
}

static int on_folder(void *userdata, const ImapFolder *folder)
{
        static const char *const uses[] = {
                [IMAP_USE_ALL] = "all",       [IMAP_USE_ARCHIVE] = "archive",
                [IMAP_USE_DRAFTS] = "drafts", [IMAP_USE_FLAGGED] = "flagged",
                [IMAP_USE_JUNK] = "junk",     [IMAP_USE_SENT] = "sent",
                [IMAP_USE_TRASH] = "trash",
        };
        _cleanup_buffer_ Buffer name = BUFFER(4 * LIMIT_FOLDER);
        Finding *ret = userdata;
        int r;

        if (!folder->selectable)
                return 0;
        r = imap_name_to_utf8(&name, folder->name);
        if (r == -EINVAL)
                r = buffer_append_text(&name, folder->name); /* 8-bit as it is: shown printable */
        if (r == 0 && folder->use)
                r = buffer_printf(&name, " (%s)", uses[folder->use]);
        if (r == 0)
                r = dict_add_to_list(&ret->evidence, KEY_FOLDERS, name.data);
        return r == -ENOBUFS ? 0 : r; /* so many: what is shown is enough */
}

/* EXAMINE leaves no trace, not even that we looked. Folders are for choosing among them: a server that lists none has INBOX. */
static int mailbox_imap(Session *session, Finding *ret, Outcome *no)
{
        _cleanup_outcome_ Outcome unlisted = {};
        const ImapCapabilities *c;
        ImapMailbox mailbox;
        int r;

        r = imap_identify(session->imap, no);
        if (r == 0)
                r = imap_select(session->imap, "INBOX", true, &mailbox, no);
        if (r)
                return r;
        session->messages = mailbox.exists;
        c = imap_capabilities(session->imap);
        r = dict_set_number(&ret->evidence, KEY_MESSAGES, mailbox.exists);
        if (r == 0)
                r = dict_set_bool(&ret->evidence, KEY_PUSH, c->idle);
        if (r == 0)
                r = dict_set_bool(&ret->evidence, KEY_CAN_DELETE, c->uidplus);
        if (r == 0)
                r = dict_set_text(&ret->evidence, KEY_ALERT, imap_alert(session->imap));
        if (r == 0)
                r = imap_list(session->imap, on_folder, ret, &unlisted);
        return MIN(r, 0);
}

int session_mailbox(Session *session, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = session->imap ? mailbox_imap(session, ret, &no) : mailbox_pop3(session, ret, &no);
        if (r < 0)
                return r;
        if (r > 0)
                return session_fail(session, ret, &no);
        ret->status = STEP_PASSED;
        return 0;
}

int session_sender(Session *session, const char *address, Finding *ret)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = dict_set_text(&ret->evidence, KEY_SENDER, address);
        if (r < 0)
                return r;
        r = smtp_check_sender(session->smtp, address, address, &no);
        if (r < 0)
                return r;
        if (r > 0) {
                r = session_fail(session, ret, &no);
                /* Greylisting of the own address is no fault of the account: sending will be tried for real later. */
                if (ret->cause && strcmp(ret->cause, "smtp.greylisted") == 0)
                        ret->status = STEP_WARNED;
                return r;
        }
        ret->status = STEP_PASSED;
        return 0;
}

void session_quit(Session *session)
{
        _cleanup_outcome_ Outcome no = {};

        if (fiber_current() && !fiber_cancelled()) {
                /* POP3 holds the maildrop's lock until it has answered; the others hold nothing: the word is said, and nobody waits. */
                FIBER_DEADLINE(session->pop3 ? 2 * USEC_PER_SEC : USEC_PER_MSEC);
                if (session->pop3)
                        (void) pop3_quit(session->pop3, &no);
                else if (session->imap)
                        (void) imap_logout(session->imap, &no);
                else if (session->smtp)
                        (void) smtp_quit(session->smtp, &no);
        }
        session_close(session);
}

int session_open(Session *session, Finding *ret, StepId *ret_step)
{
        static int (*const probes[])(Session *, Finding *) = { session_resolve, session_connect,
                                                               session_secure, session_service };
        int r;

        for (size_t i = 0; i < ELEMENTS(probes); i++) {
                finding_clear(ret);
                *ret_step = session_step(session->side, (StepId) (STEP_INCOMING_DNS + i));
                r = probes[i](session, ret);
                if (r < 0)
                        return r;
                if (ret->status == STEP_FAILED)
                        return 0;
        }
        return 0;
}

StepId session_step(Side side, StepId incoming_step)
{
        return side == SIDE_INCOMING
                       ? incoming_step
                       : (StepId) (incoming_step - STEP_INCOMING_DNS + STEP_OUTGOING_DNS);
}

uint64_t session_login_delay(const Session *session)
{
        const Pop3Capabilities *c = session->pop3 ? pop3_capabilities(session->pop3) : NULL;

        return c && c->has_login_delay ? MIN(c->login_delay_sec, UINT64_C(86400)) * USEC_PER_SEC
                                       : 0;
}
