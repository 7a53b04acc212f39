/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One dialogue with one server, step by step, each step concluding in a finding: the engine that setup, doctor and fetch
 * share. Every probe suspends and returns 0 with @ret filled (passed, warned or failed) or a negative errno. A probe is only
 * called when the one before it passed. */
#pragma once

#include "base/secret.h"
#include "base/transcript.h"
#include "probe/endpoint.h"
#include "probe/finding.h"
#include "probe/provider.h"
#include "talk/imap.h"
#include "talk/pop3.h"
#include "talk/smtp.h"
#include "wire/dial.h"
#include "wire/dns.h"
#include "wire/http.h"
#include "wire/tls.h"

/* What a closer look at a failure may use beside the server itself. */
typedef struct Means {
        Http *http;                 /* to ask what time it is; NULL: not asked */
        const Providers *providers; /* whose servers have nothing to do with this one; NULL: none */
        bool controls;              /* may they be asked? */
        const char *connectivity_url, *connectivity_response; /* see Config; NULL: not asked */
} Means;

typedef struct Session {
        Side side;
        const Endpoint *endpoint; /* borrowed */
        Dns *dns;
        Tls *tls;
        unsigned policy;        /* AddressPolicy bits */
        Transcript *transcript; /* may be NULL; borrowed */
        /* for the login */
        bool token; /* its secret is an OAuth access token, no password */
        const char *
                unlisted; /* a mechanism that this provider takes without offering it; borrowed, NULL none */
        unsigned
                refusals_allowed; /* how often the server may say no to this secret; 0 counts as 1 */
        const Means *means;       /* NULL: no closer look is taken; borrowed */
        bool thorough;            /* try each address family by itself, too */
        unsigned
                relax; /* TlsRelax bits: the handshake is to learn from, and TLS never comes to stand */
        /* what has been reached so far, owned */
        DnsAddresses *addresses;
        Stream *stream; /* between port and greeting */
        Pop3 *pop3;
        Smtp *smtp;
        Imap *imap;
        Certificate *certificate;
        bool tls_on, logged_in;
        Outcome no; /* to the last probe that failed */
        uint64_t messages, octets;
} Session;

/* A dialogue is open. */
bool session_is_open(const Session *session);
/* Closes what is open and forgets what was learnt; endpoint and the rest of the borrowed things stay. */
void session_close(Session *session);
static inline void session_deinit(Session *session)
{
        session_close(session);
}
#define _cleanup_session_ _cleanup_(session_deinit)

int session_resolve(Session *session, Finding *ret);
int session_connect(Session *session, Finding *ret);
/* Implicit TLS: the handshake. STARTTLS: greeting, capability, STARTTLS, handshake. */
int session_secure(Session *session, Finding *ret);
/* Greeting (when not read yet), capability, and whether one can sign in here at all. */
int session_service(Session *session, Finding *ret);
/* One login: one attempt, and a second by the next mechanism only where the first one ended before the server had looked at the secret and
 * another refusal is allowed. The evidence says how many were refused ("refusals"). */
bool session_may_try_twice(const Session *session);
int session_login(Session *session, const Secret *secret, Finding *ret);
/* POP3: STAT, and what CAPA says of keeping mail. IMAP: ID, EXAMINE INBOX, the folders. */
int session_mailbox(Session *session, Finding *ret);
/* SMTP: MAIL, RCPT, RSET with @address as both. */
int session_sender(Session *session, const char *address, Finding *ret);
/* Ends the dialogue politely, in two seconds at most. */
void session_quit(Session *session);

/* Looks closer at the failure of @step, which @finding tells and session->no: may replace its cause by a better one, and adds evidence.
 * Never signs in. Suspends, at most DIAGNOSE_USEC; in what failed at once, hardly longer than a round trip. Returns 0, negative errno. */
#define DIAGNOSE_USEC (6 * USEC_PER_SEC)
int session_diagnose(Session *session, StepId step, Finding *finding);
/* A second session with the same server, for looking only: same endpoint and addresses, nothing learnt. Returns 0, -ENOMEM. */
int session_look_again(Session *ret, const Session *from);

/* All steps up to and without the login, stopping at the first that does not pass (@ret tells; @ret_step which). For a redial and
 * for the fetch. */
int session_open(Session *session, Finding *ret, StepId *ret_step);
/* The steps of a side, in order: SIDE_INCOMING + index gives incoming.dns ... */
/* @from's dialogue becomes @to's, which keeps whom it is with; @from is as after session_close(). */
void session_move(Session *to, Session *from);
StepId session_step(Side side, StepId incoming_step);
/* LOGIN-DELAY in microseconds, 0 none. */
uint64_t session_login_delay(const Session *session);
