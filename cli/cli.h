/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One run of the client: its connection, its loop, what it may print where.
 * Functions here and in the verbs return 0 or the exit status; whoever returns a status other than 0 has said why on standard error. */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "cli/value.h"

typedef enum Exit {
        EXIT_FINE = 0,
        EXIT_OURS = 1, /* our own failure: no bus, no service, a bug */
        EXIT_USAGE = 2,
        EXIT_USER_ACTION = 3, /* stopped by a cause that the user can mend */
        EXIT_TEMPORARY = 4,   /* that time mends */
        EXIT_PERMANENT = 5,   /* that only provider or administrator can mend */
        EXIT_NEEDED = 6,      /* something is needed that was not given */
        EXIT_INTERRUPTED = 130,
} Exit;

typedef enum OpenLine { LINE_NONE, LINE_PROMPT } OpenLine;

typedef struct Cli Cli;
typedef void (*SignalHandler)(void *userdata, sd_bus_message *signal);

struct Cli {
        sd_event *event;
        sd_bus *bus;
        char *owner; /* unique name of the service, once it is known */
        SignalHandler handler;
        void *handler_userdata;
        int (*between)(
                void *userdata); /* after each round of the loop; 0 or an exit status that ends the wait */
        void *between_userdata;
        struct Screen *screen; /* what is redrawn; NULL while there is nothing */

        bool user, all, json, quiet; /* as asked for */
        bool text_only;              /* standard output is for a text alone: steps go elsewhere */
        bool interactive; /* somebody can be asked: standard input and error are terminals */
        bool utf8;
        bool live;      /* steps and progress go to a terminal that can be redrawn */
        bool colour;    /* and that has colours */
        bool json_done; /* the one object was written */
        OpenLine line;  /* what stands unfinished on the terminal */

        bool interrupted, gone;
};

/* Fills @cli from the environment; options come later. */
void cli_init(Cli *cli);
/* To be called once the options are known. */
void cli_init_output(Cli *cli);
void cli_deinit(Cli *cli);

/* Connects and listens to all that the service tells us. */
int cli_open(Cli *cli);
/* @handler sees every signal of the service from now on; NULL: nobody. */
void cli_listen(Cli *cli, SignalHandler handler, void *userdata);
/* @between is called after each round of cli_wait(); NULL: nothing. */
void cli_look_between(Cli *cli, int (*between)(void *userdata), void *userdata);

/* Lets the loop work once: returns when something happened or after @timeout_usec (UINT64_MAX: never). */
int cli_wait(Cli *cli, uint64_t timeout_usec);
/* For what must still be said to the service after Ctrl-C. */
void cli_forget_interruption(Cli *cli);

/* A new call, not yet sent. */
int cli_message(Cli *cli, sd_bus_message **ret, const char *path, const char *interface,
                const char *member);
enum { CALL_REFUSED = -1 };
/* Sends @m and waits for the reply, the loop running. Without @ret_error an error reply is told and its exit status returned;
 * with it, it is handed over and CALL_REFUSED is returned. @ret_reply may be NULL. */
int cli_call(Cli *cli, sd_bus_message *m, sd_bus_message **ret_reply, sd_bus_error *ret_error);
/* Calls without arguments, or with texts only ("ss"). */
int cli_call_texts(Cli *cli, const char *path, const char *interface, const char *member,
                   sd_bus_message **ret_reply, sd_bus_error *ret_error, const char *a,
                   const char *b);
/* All properties of an object, keys as in JSON. The caller owns them. */
int cli_properties(Cli *cli, const char *path, const char *interface, json_object **ret,
                   sd_bus_error *ret_error);

/* Tells an error reply in one sentence and returns its exit status. */
int cli_refused(Cli *cli, const sd_bus_error *error);
/* Tells that we failed by @error (negative errno) while doing @what; returns EXIT_OURS. */
int cli_failed(Cli *cli, int error, const char *what);
