/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One onboarding under way: steps, findings, needs. Its work is one function over remembered steps on a fiber of its own; all calls
 * here return at once unless they say "Suspends.".
 * Conditions (small positive values): see SetupCondition; bus/ turns each into its error. */
#pragma once

#include "base/dict.h"
#include "core/core.h"
#include "core/record.h"
#include "probe/finding.h"

typedef enum SetupState {
        SETUP_STATE_RUNNING,
        SETUP_STATE_WAITING,
        SETUP_STATE_READY,
        SETUP_STATE_FAILED,
        SETUP_STATE_SUCCEEDED,
        SETUP_STATE_CANCELLED,
} SetupState;

typedef enum SetupCondition {
        SETUP_INVALID_STATE = 1, /* not now */
        SETUP_STALE,             /* the token is not the one shown */
        SETUP_INVALID_KEY,       /* unknown key or bad value: named in @ret_key */
        SETUP_INVALID_ADDRESS,
        SETUP_QUOTA,
        SETUP_ACCOUNT_EXISTS, /* core_account_by_address() finds it, or setup_conflict() */
        SETUP_NOT_FOUND,      /* no such step or candidate */
        SETUP_NOT_SUPPORTED,
        SETUP_SECRET_SPACES, /* an app password with blanks in it */
        SETUP_SECRET_SHAPE,  /* no app password of this provider looks like that */
} SetupCondition;

/* @options and server dictionaries are the caller's a{sv}: checked here against the closed tables. @user_name is uid's login name (may be
 * NULL). On SETUP_INVALID_KEY @ret_why (static or owned by the core until the next call) names the key and what is wrong with it.
 * The setup is announced by setup_added before this returns; its fiber starts from the loop, after the caller has replied. */
int setup_start(Setup **ret, Core *core, uid_t uid, const char *address, const Dict *options,
                const char **ret_why);
/* Manager.Probe: the steps for one endpoint, a dry run. */
int setup_start_probe(Setup **ret, Core *core, uid_t uid, const char *host, uint16_t port,
                      const Dict *options, const char **ret_why);
/* Account.Check and Account.SetPassword: the account's own servers and stored secrets, or the new one for @side ("", "incoming",
 * "outgoing"), which replaces the old one once it has been accepted. */
int setup_start_check(Setup **ret, Account *account);
/* Account.Repair: asks for what opens the account again; @options: method ("password", "authorization"). */
int setup_start_repair(Setup **ret, Account *account, const Dict *options, const char **ret_why);
int setup_start_password(Setup **ret, Account *account, const char *side, Secret *secret,
                         const char **ret_why);

const char *setup_id(const Setup *setup);
uid_t setup_uid(const Setup *setup);
const char *setup_address(const Setup *setup);
SetupState setup_state(const Setup *setup);
const char *setup_state_name(SetupState state);
const Finding *setup_finding(const Setup *setup, StepId step);
size_t setup_n_needs(const Setup *setup);
/* @ret_details is borrowed. */
const char *setup_need(const Setup *setup, size_t index, const Dict **ret_details);
size_t setup_n_candidates(const Setup *setup);
const Dict *setup_candidate(const Setup *setup, size_t index);
/* The primary cause, NULL for none. */
const char *setup_cause(const Setup *setup);
/* The account that handover made (or that is checked); NULL for none or when it was removed since. */
const char *setup_account_id(const Setup *setup);
uint64_t setup_serial(const Setup *setup);
bool setup_detached(const Setup *setup);
/* Bus name of the creating connection, kept for bus/ (ends the setup when it leaves). */
int setup_set_creator(Setup *setup, const char *unique_name);
const char *setup_creator(const Setup *setup);
/* Any call counts as life: the 60 minutes begin again. */
void setup_touch(Setup *setup);

int setup_choose(Setup *setup, const char *candidate);
int setup_set_servers(Setup *setup, const Dict *servers, const char **ret_why);
int setup_approve(Setup *setup, const char *token);
/* @side: "", "incoming", "outgoing". Allowed in every state but the final ones; a new secret for a failed login runs it again.
 * SETUP_SECRET_SPACES, SETUP_SECRET_SHAPE: nothing was taken; the same secret a second time is taken as it is. */
int setup_set_password(Setup *setup, const char *side, Secret *secret, const char **ret_why);
/* Begins a sign-in in the browser ("code": redirect-port, redirect-host) or by a code on another device ("device"), by the key flow. @ret is what has to be
 * shown. Suspends. SETUP_INVALID_STATE when none is asked for, SETUP_INVALID_KEY, SETUP_NOT_SUPPORTED. */
int setup_authorize(Setup *setup, const Dict *options, Dict *ret, const char **ret_why);
/* The redirect that came back. SETUP_STALE, SETUP_INVALID_KEY: it was none of ours and nothing happened. */
int setup_complete_authorization(Setup *setup, const char *redirect, const char **ret_why);
int setup_confirm_code(Setup *setup, const char *code);
/* "" retries what failed. */
int setup_retry(Setup *setup, const char *step);
/* Stores the account and hands it to the scheduler; the verification goes on in the setup's own fiber. Suspends.
 * 0 and the account's id in @ret_id; SETUP_INVALID_STATE, SETUP_ACCOUNT_EXISTS (@ret_id is the other one), SETUP_QUOTA; negative errno. */
int setup_commit(Setup *setup, const Dict *options, char ret_id[ID_SIZE], const char **ret_why);
/* Ends it; everything it holds is gone when this returns, except that an ended setup stays readable for 5 minutes. Before handover nothing
 * stays behind; after it the account stays. Final states: 0 and nothing happens. */
int setup_cancel(Setup *setup);
/* Transcript, findings, candidates as text fit for a support ticket; the caller frees it. 0, -ENOMEM. */
int setup_report(Setup *setup, char **ret);
