/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Following one setup: its steps as lines, its needs as questions. Signals only say that something changed; what is true is
 * read from the properties. */
#pragma once

#include "cli/cli.h"
#include "cli/secret.h"

/* What may be answered without asking, and whether to ask. */
typedef struct Answers {
        Secret *password, *outgoing_password; /* NULL: not given */
        bool yes;                             /* servers are approved */
        const char *certificate;              /* the SPKI SHA-256 that is approved, in hex; NULL */
        bool password_optional; /* an empty answer ends the matter without a complaint */
} Answers;

void answers_deinit(Answers *answers);
#define _cleanup_answers_ _cleanup_(answers_deinit)
/* Reads --password-file, --outgoing-password-file, --yes and --approve-certificate. */
struct Arguments;
int answers_read(Cli *cli, const struct Arguments *arguments, Answers *ret);

typedef enum SetupEnd {
        SETUP_END_READY, /* Commit is allowed, or a dry run is through */
        SETUP_END_SUCCEEDED,
        SETUP_END_FAILED,
        SETUP_END_CANCELLED,
        SETUP_END_NEEDED, /* nobody answers what is needed */
} SetupEnd;

typedef struct Setup Setup;

/* Sends @m, a call that answers with a setup's path; the signals from its first moment on are seen. */
int setup_start(Setup **ret, Cli *cli, sd_bus_message *m, sd_bus_error *ret_error);
Setup *setup_free(Setup *setup);
static inline void setup_freep(Setup **p)
{
        *p = setup_free(*p);
}
#define _cleanup_setup_ _cleanup_(setup_freep)

/* Steps are not printed one by one as they end: whoever draws them does so himself. */
void setup_set_silent(Setup *setup);
/* Answers needs and prints steps until one of the ends. */
int setup_drive(Setup *setup, const Answers *answers, SetupEnd *ret);
/* From ready on: hands the account over. The path in @ret_account is the caller's. Drive on to see the end of it. */
int setup_commit(Setup *setup, json_object *settings, char **ret_account);
/* Ends it, even after Ctrl-C; silent. A final one does not mind. */
void setup_cancel(Setup *setup);

/* Of the last reading; keys as in JSON. Borrowed. */
json_object *setup_properties(Setup *setup);
bool setup_is_committed(const Setup *setup);
const char *setup_account(const Setup *setup);

/* The primary cause's description; *@ret is NULL when there is none. The caller owns it. */
int setup_cause(Setup *setup, json_object **ret);
/* The block that says why it failed. */
void setup_print_cause(Setup *setup, json_object *description);
/* The block that says what is needed. */
void setup_print_needs(Setup *setup);
/* Puts address, state, the cause's keys, account, steps, needs and candidates into @to. */
void setup_to_json(Setup *setup, json_object *description, json_object *to);
