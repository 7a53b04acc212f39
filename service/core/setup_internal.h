/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The inside of a setup, for its four files: setup.c (the object and what callers may do), setup_options.c (reading their
 * dictionaries), setup_work.c (the fiber: one function over remembered steps), verification.c (handover and the mail). */
#pragma once

#include "core/core_internal.h"
#include "probe/discovery.h"
#include "probe/session.h"

enum { NEEDS_MAX = 8, REACH_STEPS = 4 /* dns, port, tls, service */ };

typedef enum SetupKind {
        SETUP_ADD,
        SETUP_PROBE,    /* one endpoint, no account */
        SETUP_CHECK,    /* an account's own servers, nothing changes */
        SETUP_PASSWORD, /* the same, and the new secret is stored when it was accepted */
        SETUP_REPAIR,   /* the same, and what opens the account is asked for */
} SetupKind;

typedef struct Need {
        const char *kind;
        Side side;
        Dict details;
        bool answered;
} Need;

/* At one server, from its name to its greeting. */
typedef struct Attempt {
        const Endpoint *endpoint;   /* the discovery's or by_hand; NULL: there is none */
        const Candidate *candidate; /* it is of; NULL by hand */
        Finding findings[REACH_STEPS];
        size_t at;      /* the step that is under way */
        size_t reached; /* the step it failed at */
        Outcome no;     /* and what it was answered there */
        DnsAddresses *addresses;
        uint64_t step_begun;
} Attempt;

/* One side's way. Both run at the same time. */
typedef struct SetupSide {
        Setup *setup;
        Side side;
        bool wanted;
        Endpoint by_hand;           /* whole, by the user or of the account; host NULL: none */
        Wish wish;                  /* what the user gave, where the rest is found */
        Endpoint endpoint;          /* the one that is being verified */
        const Candidate *candidate; /* it came from; NULL by hand */
        Trust trust;
        bool approved; /* the user approved this host */
        /* before a login, setup_reach.c */
        Attempt now, best;
        const Endpoint *tried[LIMIT_CANDIDATES + 1]; /* and failed */
        size_t n_tried;
        bool probing;    /* the attempt is under way */
        bool live, told; /* Steps show it while it goes; have they shown one */
        bool given_up;   /* no server is left */
        Session session;
        Secret *secret; /* given for this side */
        Fiber *fiber;
} SetupSide;

struct SetupOptions {
        bool dry_run, detached, receive_only, delete_verification;
        bool has_until;
        StepId until;
        bool pop3, imap; /* what may fetch the mail */
};

struct Setup {
        Core *core;
        char id[ID_SIZE];
        uid_t uid;
        bool dropped;    /* need not stay readable any longer */
        unsigned n_held; /* calls that wait in here: it is not freed under them */
        char *creator;
        char *address_text;
        MailAddress *address; /* NULL for a probe */
        SetupKind kind;
        SetupOptions options;
        SetupState state;
        Finding findings[N_STEPS];
        uint64_t step_begun[N_STEPS], step_waited[N_STEPS];
        Need needs[NEEDS_MAX];
        size_t n_needs;
        const char *cause;
        Discovery *discovery; /* NULL: none was needed */
        Fiber *search;        /* runs it */
        Dict **candidate_dicts;
        char chosen[9]; /* candidate id by Choose(), "" any */
        SetupSide sides[2];
        struct Authorization *authorization; /* a sign-in in the browser; NULL: none is under way */
        struct Grant *grant;                 /* what it, or the account, has; NULL */
        bool repair_password, repair_authorization; /* the caller's word for how */
        bool preparing;  /* a side finds out how to sign in: once is enough for both */
        Secret *doubted; /* looks wrong, and was said only once; NULL */
        Transcript *transcript;
        uint64_t serial, touched_usec, ended_usec;
        char account_id[ID_SIZE]; /* "" none */
        Fiber *fiber;
        FiberQueue input; /* woken by every input of the caller */
        /* commit */
        bool committing, handed_over;
        int commit_result;
        FiberQueue committed;
        AccountRecord record;
        /* verification */
        char token[33], code[7];
        bool code_confirmed;
};

/* --- setup.c: what the fiber tells ------------------------------------------------------------------------ */

/* Marks a step and tells the observer. */
void setup_step_begin(Setup *setup, StepId step);
/* The same, and what it waits for is shown meanwhile: takes @waits_for, adds since and budget-usec (0: not known). */
void setup_step_begin_with(Setup *setup, StepId step, Dict *waits_for, uint64_t budget_usec);
/* A running step has something to say that is no end. */
void setup_step_say(Setup *setup, StepId step, const char *cause);
/* Takes @finding's evidence and cause over; adds the time that the step worked. */
void setup_step_end(Setup *setup, StepId step, Finding *finding);
/* A finding that was made earlier; it is copied and keeps its time. Returns 0, -ENOMEM. */
int setup_step_put(Setup *setup, StepId step, const Finding *finding);
void setup_step_skip(Setup *setup, StepId step);
/* A step whose finding stands needs no work. */
bool setup_step_stands(const Setup *setup, StepId step);
bool setup_step_passed(const Setup *setup, StepId step);
/* Back to pending, without a word if it was. */
void setup_step_forget(Setup *setup, StepId step);
void setup_set_state(Setup *setup, SetupState state);
void setup_update_cause(Setup *setup);
/* Shows a need and waits until @satisfied says so; @details is moved from. @step shows as waiting meanwhile with @cause (may be
 * NULL). Suspends. Returns 0, -ECANCELED, -ENOMEM. */
int setup_ask(Setup *setup, StepId step, const char *kind, Side side, Dict *details,
              const char *cause, bool (*satisfied)(Setup *setup, Side side, const Need *need));
/* The same without waiting: shown until it is hidden. Returns 0, -ENOMEM, -ENOBUFS. */
int setup_need_show(Setup *setup, const char *kind, Side side, Dict *details);
void setup_need_hide(Setup *setup, const char *kind, Side side);
int setup_publish_candidates(Setup *setup);
void setup_account_changed(Setup *setup);
void setup_close_sessions(Setup *setup);
/* The secret for a side: its own, or the incoming one. Borrowed. */
Secret *setup_secret(Setup *setup, Side side);
bool setup_same_secret(const Setup *setup);
/* A side signs in by the grant: there is one for its server, and no password was given. */
bool setup_uses_grant(const Setup *setup, Side side);
/* What is known of whoever runs the side's server; NULL nothing. */
const Provider *setup_provider(const Setup *setup, Side side);
/* Only app passwords open the side's server. */
bool setup_wants_app_password(const Setup *setup, Side side);

/* --- setup_options.c ---------------------------------------------------------------------------------------- */

int setup_read_options(Setup *setup, const Dict *options, const char **ret_why);
/* {host, port, security, protocol, user} for @side. */
int setup_read_server(Setup *setup, Side side, const Dict *server, const char **ret_why);
/* The same in two steps, where one of several dictionaries may still be refused. */
int setup_parse_server(Setup *setup, Side side, const Dict *server, Wish *ret,
                       const char **ret_why);
void setup_apply_server_take(Setup *setup, Side side, Wish *wish);
/* Commit's and Configure's: keep, interval, display-name. */
int account_read_settings(Core *core, AccountRecord *record, const Dict *settings,
                          const char **ret_why);

/* --- setup_discovery.c: address and discovery ------------------------------------------------------------------ */

int work_address(Setup *setup);
/* Begins the step, and the search where one is needed. */
int discovery_begin(Setup *setup);
/* Suspends until it is decided, and ends the step. */
int work_discovery(Setup *setup);
const Ranking *setup_ranking(const Setup *setup);
/* May more servers be found? */
bool setup_search_open(const Setup *setup);
/* Sees to it that the search runs: it may have been enough for a while. Returns 0, or why it failed. */
int setup_search_on(Setup *setup);
void setup_search_end(Setup *setup);
void setup_forget_discovery(Setup *setup);

/* --- setup_reach.c: one side's way to a server that speaks --------------------------------------------------------- */

void attempt_clear(Attempt *attempt);
/* Forgets the attempts, where the side has not got through. */
void side_begin(SetupSide *s);
/* Suspends. Returns 0, also when no server could be reached: the steps tell. */
int side_reach(SetupSide *s);
bool side_reached(const SetupSide *s);
/* While discovery goes on: each side works on the best server known so far. */
int sides_follow(Setup *setup);
/* The same, until each side has its server or has none left. Suspends. */
int sides_watch(Setup *setup);
/* From now on Steps show what the sides do. */
int sides_show(Setup *setup);
int need_hosts(SetupSide *s, Dict *details);
/* Suspends until it is given. */
int ask_server_approval(SetupSide *s, StepId step, const char *cause);

/* --- setup_work.c ------------------------------------------------------------------------------------------- */

bool setup_step_wanted(const Setup *setup, StepId step);
int side_start(SetupSide *s);
/* What the servers of its account have shown is stored with that. Suspends. Returns 0, negative errno. */
int setup_note_certificates(Setup *setup);
/* The whole way to ready or failed; @arg is the setup. */
int setup_work(void *arg);

/* --- verification.c ----------------------------------------------------------------------------------------- */

/* Handover and the verification mail; @arg is the setup. */
int setup_work_handover(void *arg);
/* Sends the verification mail anew for an account that was handed over; @arg is the setup. */
int setup_work_verification(void *arg);
