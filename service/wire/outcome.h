/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Outcome: what the world answered to one call of wire or talk. Data, not an error: a call that returns 1 has filled
 * it. Only probe/ turns outcomes into findings and causes. */
#pragma once

#include "base/limits.h"
#include "base/util.h"
#include "wire/certificate.h"

typedef enum OutcomeKind {
        OUTCOME_NONE,    /* nothing was refused */
        OUTCOME_DNS,     /* no answer that helps: @dns */
        OUTCOME_POLICY,  /* every address (or the port) is one that we do not connect to */
        OUTCOME_CONNECT, /* no address answered: @error is the most telling, @dial has each */
        OUTCOME_HANDSHAKE, /* TLS did not come about: @alert, @text (OpenSSL's reason), @first (what came instead) */
        OUTCOME_CERTIFICATE, /* TLS stands, the certificate does not verify: @certificate */
        OUTCOME_TIMEOUT,     /* a deadline passed while we waited in @phase */
        OUTCOME_CLOSED,      /* the other side closed in @phase */
        OUTCOME_RESET,       /* the connection broke in @phase: @error */
        OUTCOME_TOO_LONG,    /* a line or document passed its ceiling */
        OUTCOME_INJECTED,    /* bytes waited behind the STARTTLS answer */
        OUTCOME_NOT_OFFERED, /* the server lacks @text ("STLS", "AUTH PLAIN") */
        OUTCOME_REPLY,       /* the server said no: @text, @code, @status */
        OUTCOME_GARBAGE,     /* not the protocol that was asked for: @first, @text */
        OUTCOME_HTTP, /* an HTTP status that is not 200, or a redirect that is not followed: @status, @text */
} OutcomeKind;

typedef enum Phase {
        PHASE_NONE,
        PHASE_RESOLVE,
        PHASE_CONNECT,
        PHASE_HANDSHAKE,
        PHASE_GREETING,
        PHASE_CAPABILITY, /* CAPA, EHLO */
        PHASE_STARTTLS,
        PHASE_USER,
        PHASE_LOGIN, /* PASS, AUTH */
        PHASE_STAT,
        PHASE_LIST,
        PHASE_UIDL,
        PHASE_TOP,
        PHASE_RETRIEVE,
        PHASE_DELETE,
        PHASE_QUIT,
        PHASE_MAIL,
        PHASE_RCPT,
        PHASE_DATA,     /* DATA itself and the message */
        PHASE_DATA_END, /* the reply after the final dot: a timeout here means unknown, not failed */
        PHASE_RESET,
        PHASE_ID, /* IMAP from here on, with LOGIN, LIST, RETRIEVE, DELETE, QUIT from above */
        PHASE_SELECT,
        PHASE_SEARCH,
        PHASE_IDLE,
        PHASE_HTTP,
        PHASE_METADATA, /* an authorization server's description of itself, and so on */
        PHASE_REGISTER,
        PHASE_AUTHORIZE,
        PHASE_TOKEN,
        PHASE_DEVICE,
        PHASE_REVOKE,
} Phase;

typedef enum DnsStatus {
        DNS_OK,
        DNS_NXDOMAIN,
        DNS_NO_DATA,
        DNS_SERVFAIL, /* SERVFAIL, REFUSED and answers that make no sense */
        DNS_TIMEOUT,
        DNS_NO_RESOLVER, /* none configured, or none reachable */
} DnsStatus;

typedef struct DialAttempt {
        char address[48]; /* presentation form, no brackets */
        int error; /* 0 connected; errno; ETIMEDOUT our limit; EADDRNOTAVAIL forbidden by policy; ECANCELED lost the race */
        uint64_t usec;   /* from its own start to its end */
        char by[48];     /* who said by ICMP that there is no way: a router, the host; "" nobody */
        bool prohibited; /* it is forbidden, was said: a firewall */
        bool ours;       /* and it was this machine that said so */
} DialAttempt;

typedef struct DialReport {
        DialAttempt attempts[LIMIT_ADDRESSES];
        unsigned n_attempts;
        int winner; /* index, -1 for none */
} DialReport;

typedef struct Outcome {
        OutcomeKind kind;
        Phase phase;
        int error; /* errno value, positive */
        DnsStatus dns;
        unsigned status; /* SMTP or HTTP status number */
        unsigned alert;  /* TLS alert that we got, 0 none */
        char code[48];   /* POP3 response code without brackets, SMTP enhanced code; "" none */
        char text[LIMIT_REPLY_TEXT +
                  1];        /* the server's own words, printable; lines joined by " / " */
        char sasl[32];       /* the status of a token that the server dislikes; "" none */
        char sasl_text[384]; /* and all that it said about it, printable */
        bool unjudged;       /* a login ended before the server knew enough to judge the secret */
        char raw[LIMIT_REPLY_TEXT +
                 1]; /* the same as it came, for judging: any charset, no NUL; "" when @text says it all */
        unsigned char first[64]; /* the first octets that came instead of what was expected */
        size_t first_len;
        DialReport dial;
        Certificate *certificate; /* owned */
} Outcome;

void outcome_deinit(Outcome *outcome);
#define _cleanup_outcome_ _cleanup_(outcome_deinit)
/* Empties it for the next call. */
void outcome_reset(Outcome *outcome);
/* Fills kind and phase, leaving the rest; returns 1 for the caller's return statement. */
int outcome_set(Outcome *outcome, OutcomeKind kind, Phase phase);
/* Stores foreign text: printable, and as it came where that is something else. */
void outcome_set_text(Outcome *outcome, const void *text, size_t len);
/* The words to judge by. */
static inline const char *outcome_words(const Outcome *outcome)
{
        return outcome->raw[0] ? outcome->raw : outcome->text;
}
int outcome_copy(Outcome *to, const Outcome *from);
/* "connect", "greeting", "login", ...: the phase names of the contract. Never NULL. */
const char *phase_name(Phase phase);
const char *outcome_kind_name(OutcomeKind kind);
