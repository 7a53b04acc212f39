/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server's refusal or a library's complaint means: machine code first, then the provider's own words, then words in general, then the
 * bare status; and always where in the dialogue it was said (position beats words). The rules are data (rules.h); reading them is one of the
 * few globals of this floor, read-only afterwards. */
#pragma once

#include "probe/endpoint.h"
#include "probe/rules.h"
#include "wire/outcome.h"

typedef struct ReplyContext {
        Protocol protocol;
        Phase phase;
        bool tls;             /* the dialogue is encrypted */
        bool logged_in;       /* a login has succeeded before, in this dialogue */
        const char *provider; /* id, NULL when not known */
        const char *host;     /* of the server, NULL */
} ReplyContext;

/* The same for text that comes from anywhere, a log for instance; whatever is not known is NULL. */
typedef struct ReplyQuestion {
        const char *protocol; /* pop3, imap, smtp, oauth, tls, dns, tcp */
        const char *phase;    /* of the contract, or a command */
        const char *provider, *host;
        const char *succeeded; /* phases that went well before: "tls login" */
} ReplyQuestion;

typedef struct ReplyVerdict {
        const char *
                cause; /* "" when nothing is wrong or nothing is known; valid until replies_unload() */
        const char *provider; /* whose rule decided; NULL: a general one */
        Confidence confidence;
        unsigned rule; /* its number; UINT_MAX: the status alone */
} ReplyVerdict;

/* Reads the rules that are compiled in, and before them those of *.json in @directory (NULL, missing: none), by name. A file that cannot be
 * used is told in the log and left out. Replaces what was there. Returns 0, -ENOMEM, -EBADMSG (a bug of the build). What is below calls it with
 * NULL when nobody has. */
int replies_load(const char *directory);
/* For tests: reads @json instead of what is compiled in. */
int replies_load_text(const char *json, size_t len, char **ret_why);
void replies_unload(void);
/* Every cause that a rule names, with repetitions; NULL behind the last. */
const char *replies_cause_at(size_t index);

/* The cause's code; never NULL nor empty. @code without brackets, @text the server's words, @status the SMTP status or 0. */
const char *reply_judge(const ReplyContext *context, unsigned status, const char *code,
                        const char *text);
/* Judges @n lines as they came, with or without tag, status and code. */
void reply_explain(const ReplyQuestion *question, const char *const *lines, size_t n,
                   ReplyVerdict *ret);
