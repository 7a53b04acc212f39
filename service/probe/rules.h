/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules by which replies are judged, as data (data/replies.json and the administrator's additions). A *sign* is anything that can be
 * seen in a reply or its place: a concept (a thing said, by any of many words), a machine code, a fact of the line. A rule is a cause and the
 * signs it wants and does not want; the first that holds decides. Signs are found in one pass over the text. */
#pragma once

#include "base/util.h"

enum { RULES_SIGNS = 1024, RULES_PROVIDERS = 64 };

typedef enum Confidence { CONFIDENCE_LOW, CONFIDENCE_MEDIUM, CONFIDENCE_HIGH } Confidence;

/* Where a line was seen; bits. */
enum {
        PLACE_DNS = 1 << 0,
        PLACE_CONNECT = 1 << 1,
        PLACE_TLS = 1 << 2,
        PLACE_GREETING = 1 << 3,
        PLACE_CAPABILITY = 1 << 4,
        PLACE_STARTTLS = 1 << 5,
        PLACE_LOGIN = 1 << 6,
        PLACE_MAILBOX = 1 << 7,
        PLACE_MAIL = 1 << 8,
        PLACE_RCPT = 1 << 9,
        PLACE_DATA = 1 << 10,
        PLACE_OAUTH = 1 << 11,
        PLACE_UIDL = 1 << 12,      /* beside PLACE_MAILBOX */
        PLACE_HANDSHAKE = 1 << 13, /* beside PLACE_TLS */
        PLACE_ANY = (1 << 14) - 1,

        SPEAKS_POP3 = 1 << 0,
        SPEAKS_IMAP = 1 << 1,
        SPEAKS_SMTP = 1 << 2,
        SPEAKS_OAUTH = 1 << 3,
        SPEAKS_TLS = 1 << 4,
        SPEAKS_DNS = 1 << 5,
        SPEAKS_TCP = 1 << 6,
        SPEAKS_ANY = (1 << 7) - 1,
};

/* Facts of a line that are no words; their names in rules begin with '@'. */
typedef enum Fact {
        FACT_WIRE,     /* it begins as a reply of a mail protocol does */
        FACT_POSITIVE, /* +OK, OK, 2yz, 3yz */
        FACT_ERR,      /* -ERR */
        FACT_NO,       /* NO */
        FACT_BAD,      /* BAD */
        FACT_BYE,      /* BYE */
        FACT_4XX,      /* 4yz or 4.x.y */
        FACT_5XX,      /* 5yz or 5.x.y */
        FACT_POP3,     /* the protocol, told or seen */
        FACT_IMAP,
        FACT_SMTP,
        FACT_ASTERISKS,  /* a run of them, as some firewalls write */
        FACT_OTHER_MAIL, /* the greeting of another mail protocol than the one told */
        FACT_NOT_MAIL,   /* HTTP, HTML, SSH */
        FACT_CLEAR,      /* known not to be encrypted */
        FACT_LOGGED_IN,  /* a login has succeeded before */
        FACT_BARE,       /* no words behind the status */
        FACT_ANYWHERE,   /* the place is not known: rules for one place only may say !anywhere */
        FACT_MAX,
} Fact;

/* "low", "medium", "high". */
const char *confidence_name(Confidence confidence);

typedef struct Rules Rules;

typedef struct Signs {
        uint64_t seen[RULES_SIGNS / 64];
        unsigned place, speaks;
        uint64_t providers;
} Signs;

typedef struct RulesVerdict {
        const char *cause;    /* the rules' own */
        const char *provider; /* that the rule is for; NULL: for all */
        Confidence confidence;
        unsigned rule; /* its number, for tests */
} RulesVerdict;

int rules_new(Rules **ret);
Rules *rules_free(Rules *rules);
DEFINE_CLEANUP(Rules, rules_free);
/* Adds a document's concepts, providers and rules behind those that are there: what the administrator added goes first. Returns 0, -ENOMEM,
 * -EBADMSG (@ret_why tells, owned by the caller; the document is left out whole or in part: free @rules). */
int rules_add(Rules *rules, const char *json, size_t len, char **ret_why);
/* Once, after the last rules_add(). Returns 0, -ENOMEM, -EBADMSG. */
int rules_compile(Rules *rules, char **ret_why);

void rules_set_fact(Signs *signs, Fact fact);
bool rules_fact_seen(const Signs *signs, Fact fact);
/* An unknown code is no sign. */
void rules_see_code(const Rules *rules, Signs *signs, const char *code, size_t len);
/* @plain as plain_text() makes it. */
void rules_see_text(const Rules *rules, Signs *signs, const char *plain, size_t len);
/* By name, or by a host of the provider's; unknown ones and NULL are no sign. */
void rules_see_provider(const Rules *rules, Signs *signs, const char *name);
void rules_see_host(const Rules *rules, Signs *signs, const char *host);
/* Returns false when no rule holds. */
bool rules_judge(const Rules *rules, const Signs *signs, RulesVerdict *ret);
/* For tests: every cause that a rule names; NULL behind the last. */
const char *rules_cause_at(const Rules *rules, size_t index);
