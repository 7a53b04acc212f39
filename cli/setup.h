/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One setup of the service, followed: its properties, its calls. Signals only say that something changed; what is true is read from the
 * properties. Answering what it needs is answer.c's, going through it with a person wizard.c's. */
#pragma once

#include "cli/lines.h"
#include "cli/secret.h"
#include "cli/view.h"

typedef struct Setup {
        Cli *cli;
        char *path;              /* NULL until the call that starts it has answered */
        char *account;           /* path, once committed */
        json_object *properties; /* as last read; keys as in JSON */
        View view;
        bool dirty;        /* something changed since */
        bool told;         /* its cause was shown already */
        bool sources_told; /* so was what each source of servers said */

        /* of answer.c */
        json_object *answered; /* key of a need -> whether it was answered */
        const char *asking;    /* key of the need that somebody is being asked about */
        bool moot;             /* that is no longer wanted */
        bool login_moved;      /* a login began or ended since */
        bool sent[2];          /* a password for incoming, outgoing */
        bool code_declined;

        char *other_address; /* of wizard.c: is wanted instead; NULL */
} Setup;

/* Sends @m, a call that answers with a setup's path; the signals from its first moment on are seen. */
int setup_start(Setup **ret, Cli *cli, sd_bus_message *m, sd_bus_error *ret_error);
/* Manager.StartSetup of @address. */
int setup_start_address(Setup **ret, Cli *cli, const char *address, json_object *options,
                        sd_bus_error *ret_error);
/* Follows one that is there already. */
int setup_follow(Setup **ret, Cli *cli, const char *path);
Setup *setup_free(Setup *setup);
static inline void setup_freep(Setup **p)
{
        *p = setup_free(*p);
}
#define _cleanup_setup_ _cleanup_(setup_freep)

/* The steps are shown while they go, and not when it is over: whoever calls this tells them in his own way. */
void setup_set_silent(Setup *setup);
/* Reads the properties anew and shows the steps. */
int setup_refresh(Setup *setup);

/* With CALL_REFUSED @ret_error says why. */
int setup_send_password(Setup *setup, const char *side, const Secret *secret,
                        sd_bus_error *ret_error);
int setup_set_servers(Setup *setup, json_object *servers);
/* Goes on with one of those that were found; @candidate is its id. */
int setup_choose(Setup *setup, const char *candidate);
/* An empty text for what failed. CALL_REFUSED, told nobody, when there is nothing to be tried again. */
int setup_retry(Setup *setup, const char *step);
/* From ready on: hands the account over. The path in @ret_account is the caller's. */
int setup_commit(Setup *setup, json_object *settings, char **ret_account);
int setup_report(Setup *setup, char **ret);
/* Ends it, even after Ctrl-C; silent. A final one does not mind. */
void setup_cancel(Setup *setup);

bool setup_state_is(Setup *setup, const char *state);
bool setup_is_committed(const Setup *setup);
/* Borrowed lists of objects. */
json_object *setup_steps(Setup *setup);
json_object *setup_needs(Setup *setup);
json_object *setup_candidates(Setup *setup);
/* The step that named the primary cause; NULL. */
json_object *setup_step_of_cause(Setup *setup);
/* The step that failed by the primary cause, or by any; NULL. */
json_object *setup_failed_step(Setup *setup);

/* The primary cause's description; *@ret is NULL when there is none. The caller owns it. */
int setup_cause(Setup *setup, json_object **ret);
/* The block that says why it failed. */
void setup_cause_lines(Setup *setup, json_object *description, Lines *to);
/* Prints it, unless whoever sits there has it before him. */
void setup_print_cause(Setup *setup, json_object *description);
/* The block that says what is needed. */
void setup_print_needs(Setup *setup);
/* The one JSON object, if it is wanted and there is something to say; @more (NULL) are further keys. Borrows. */
void setup_print_json(Setup *setup, json_object *description, json_object *more);
