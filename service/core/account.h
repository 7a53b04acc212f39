/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a setup leaves behind: one account, its state, its runs. Functions return at once unless they say "Suspends.". */
#pragma once

#include "core/core.h"
#include "core/record.h"

typedef enum AccountState {
        ACCOUNT_STATE_ACTIVE,
        ACCOUNT_STATE_FAILING,
        ACCOUNT_STATE_NEEDS_PASSWORD,
        ACCOUNT_STATE_NEEDS_AUTHORIZATION,
        ACCOUNT_STATE_NEEDS_APPROVAL,
        ACCOUNT_STATE_BLOCKED,
        ACCOUNT_STATE_PAUSED,
} AccountState;

/* Borrowed; strings live until the next change. */
const AccountRecord *account_record(const Account *account);
/* Whose it is: the uid of the record, or (uid_t) -1, which is nobody, once that uid has been given to somebody else. */
uid_t account_owner(const Account *account);
AccountState account_state(const Account *account);
const char *account_state_name(AccountState state);
/* Since 1970, 0: none planned. */
uint64_t account_next_run_usec(const Account *account);
/* The run under way as the contract's Run dictionary; empty when none is. Borrowed. */
const Dict *account_run(const Account *account);
/* Codes of causes that do not stop it (EXPIRE 0, a certificate that ends soon). Borrowed, may be NULL. */
char *const *account_warnings(const Account *account);
/* The contract's Incoming and Outgoing: the endpoint, and what is known of its certificate. Returns 0, -ENOMEM. */
int account_server_dict(const Account *account, Side side, Dict *to);

/* Makes it due now, @with_skipped also for messages that could not be read three times. 0 and the id of the run that will do it (a running one is joined); ACCOUNT_INVALID_STATE when paused or stopped
 * by a cause that a fetch cannot mend. */
enum { ACCOUNT_INVALID_STATE = 1, ACCOUNT_INVALID_KEY = 2 };
/* What opens a side's server: its password, or an access token that is good for a while. Whether it may be told is the caller's business.
 * Suspends. 0; 1 with @finding: there is none; negative errno. */
int account_credential(Account *account, bool outgoing, Secret **ret, Finding *finding);
int account_fetch_now(Account *account, bool with_skipped, uint64_t *ret_run);
/* These store the change. Each suspends. 0, the conditions above, negative errno. */
int account_pause(Account *account);
int account_resume(Account *account);
/* Keys: keep (server, none), interval (seconds), display-name. @ret_why names the key. */
int account_configure(Account *account, const Dict *settings, const char **ret_why);
/* Stops its run, deletes the account and what is known of its messages; the mail stays unless @with_mail. @account is freed on success.
 * Suspends. */
int account_remove(Account *account, bool with_mail);
/* The newest first, at most @max. On the loop, does not suspend. */
int account_history(Account *account, unsigned max,
                    int (*each)(void *userdata, const RunRecord *run), void *userdata);
/* Why no mail comes: the checks in their order, the answer last; keys check, verdict, cause, text. On the loop, does not suspend. */
int account_why(Account *account, int (*each)(void *userdata, const Dict *check), void *userdata);
/* A run as the contract's dictionary (RunFinished, History). */
int run_to_dict(const RunRecord *run, Dict *to);
