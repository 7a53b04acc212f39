/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Giving a setup what it needs: from what came with the command line, else by asking. */
#pragma once

#include "cli/setup.h"

/* What may be answered without asking, and what may be tried after a failure. */
typedef struct Answers {
        Secret *password, *outgoing_password; /* NULL: not given */
        bool yes;                             /* servers are approved */
        const char *domain;                   /* those of this one are; NULL */
        const char *certificate;              /* the SPKI SHA-256 that is approved, in hex; NULL */
        bool sign_in; /* a sign-in is wanted also where nobody can be asked: what to open is printed */
        const char *flow;       /* of it: "code", "device"; NULL: what there is */
        bool password_optional; /* an empty answer ends the matter without a complaint */
        bool may_retry;         /* a failure can be answered, too: again, with another password */
        bool may_set_servers;   /* with other servers */
        bool may_start_over;    /* with another address */
} Answers;

void answers_deinit(Answers *answers);
#define _cleanup_answers_ _cleanup_(answers_deinit)
/* Reads --password-file, --outgoing-password-file, --sign-in, --yes, --approve-domain and --approve-certificate. */
struct Arguments;
int answers_read(Cli *cli, const struct Arguments *arguments, Answers *ret);
/* The options of those, for the tables of verbs. */
#define ANSWER_OPTIONS                                                                         \
        { "password-file", 0, "FILE", "Read the password from FILE (- is standard input)" },   \
                { "outgoing-password-file", 0, "FILE", "Another password for sending" },       \
                { "sign-in", 0, "HOW",                                                         \
                  "Sign in by browser or device, where the provider has it" },                 \
                { "yes", 'y', NULL, "Approve servers of other domains (never certificates)" }, \
                { "approve-domain", 0, "DOMAIN", "Approve servers of this domain" },           \
        {                                                                                      \
                "approve-certificate", 0, "SHA256",                                            \
                        "Accept the certificate with this SPKI SHA-256"                        \
        }

/* Answers the first need that has no answer yet. @ret_missing: one of them nobody could or would answer. */
int answer_needs(Setup *setup, const Answers *answers, bool *ret_given, bool *ret_missing);
/* Waits for a change; for the verification mail's code at the same time, if there is somebody to type it. */
int answer_wait(Setup *setup);
/* Shows the servers that were found, those with one for @side (NULL: any), asks for one of them or others and goes on with those;
 * *@ret_given false when nothing was typed. */
int answer_other_servers(Setup *setup, const char *side, bool *ret_given);
/* Asks for another password after one that was refused; *@ret_given likewise. */
int answer_password_again(Setup *setup, const char *side, bool *ret_given);
