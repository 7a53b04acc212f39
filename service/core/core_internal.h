/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of core/ share and nobody above sees. */
#pragma once

#include "base/heap.h"
#include "core/account.h"
#include "core/core.h"
#include "core/maildir.h"
#include "core/setup.h"
#include "probe/provider.h"
#include "probe/session.h"
#include "proto/verification.h"

typedef struct Scheduler Scheduler;
typedef struct Push Push;
struct Parked;

/* A client that an issuer gave us, for the next try. */
typedef struct Registration {
        char *issuer, *client;
} Registration;

/* Work that nobody waits for. */
typedef struct Errand Errand;

enum { ACCOUNT_BUCKETS = 4096, OWNERS_CACHED = 256 };

/* A user's name, while the accounts are loaded. */
typedef struct OwnerCache {
        bool known;
        uid_t uid;
        char *name;
} OwnerCache;

struct Core {
        const Config *config; /* borrowed */
        Observer observer;
        bool started, stopping;
        Vault *vault;
        Store *store;
        Dns *dns;
        Tls *tls;
        Http *http;
        Providers *providers;      /* the table of providers, the administrator's first */
        Means means;               /* for a closer look at what fails */
        struct Searches *searches; /* of each uid in the last minute */
        size_t n_searches;
        struct SignIn *sign_ins;  /* under way */
        FiberQueue sign_in_queue; /* one of them has ended */
        Pool *disk;               /* fsync, renames, removal */
        Scheduler *scheduler;
        Fiber *network_watch;
        bool online;        /* as the network watch has seen last */
        uint64_t addresses; /* and which ones */
        Push *push;         /* dialogues that wait for news */
        Account **accounts;
        size_t n_accounts;
        Account *accounts_by_id[ACCOUNT_BUCKETS];
        OwnerCache owners[OWNERS_CACHED];
        Setup **setups;
        size_t n_setups;
        Registration registrations[8];
        size_t n_registrations;
        Errand *errands;
        Fiber *rekeying; /* seals secrets anew after the key was changed */
        Fiber *janitor;  /* ends setups whose time is over */
        FiberQueue janitor_queue;
        char why[160]; /* behind ret_why */
};

/* Remembers a sentence for @ret_why. Returns the condition for the caller's return statement. */
int core_why(Core *core, const char **ret_why, int condition, const char *format, ...)
        _printf_(4, 5);
/* Returns 0, or SETUP_INVALID_KEY with @ret_why when @dict has a key that is not among @keys, or one of another type. */
int core_check_keys(Core *core, const Dict *dict, const DictKey *keys, size_t n_keys,
                    const char **ret_why);
int core_add_setup(Core *core, Setup *setup);
/* Tells the observer and takes it out of the list; the caller frees it. */
void core_remove_setup(Core *core, Setup *setup);
int core_add_account(Core *core, Account *account);
void core_remove_account(Core *core, Account *account);
/* Running setups of one uid, and accounts. */
size_t core_count_setups(Core *core, uid_t uid);
size_t core_count_accounts(Core *core, uid_t uid);
/* The account that has the same (uid, protocol, host, user), or NULL. */
Account *core_account_same(Core *core, uid_t uid, const Endpoint *incoming);
void core_wake_janitor(Core *core);
/* Who shares connections with whom: the provider's id, or the host itself. Borrowed. */
const char *core_lane_name(Core *core, const char *host);
/* Octets that @uid may still store, as far as known. */
uint64_t core_quota(Core *core, uid_t uid);
/* The same for a run of @account: near the limit the folders are counted, at once when @asked for, else not each time. Suspends. */
int core_count_quota(Core *core, Account *account, bool asked, uint64_t *ret);
/* A setup of @uid has ended: of many ended ones the oldest goes before its time. */
void core_setup_ended(Core *core, uid_t uid);
/* Counts one search of @uid; every setup that finds servers, and every probe, makes connections for whoever asks. Not
 * counted: root, and whoever runs the service for himself. Returns 1 when it may go on, 0 when there were too many in this minute, -ENOMEM. */
int core_search_allowed(Core *core, uid_t uid);

/* Runs @func(@arg) on a fiber of its own, that ends with the core at the latest; then @release(@arg). Takes @arg with 0. */
int core_start_errand(Core *core, const char *name, int (*func)(void *arg),
                      void (*release)(void *arg), void *arg);
/* What the table says that a mail server takes without offering it; NULL none. */
const char *core_unlisted_mechanism(const Core *core, const char *host);
/* To which addresses issuers may resolve. */
unsigned core_issuer_policy(const Core *core);

/* --- signing in (sign_in.c) -------------------------------------------------------------------------------- */

/* One login on an open @session, with the ledger around it: a secret that was refused too often is not sent (@ret tells), a refusal
 * that judged the secret counts, a success clears. Returns 0 with @ret filled, negative errno. Suspends. */
int core_sign_in(Core *core, uid_t uid, Session *session, const Secret *secret, Finding *ret);
/* The same from the first step on: resolves, connects, secures. */
int core_open_and_sign_in(Core *core, uid_t uid, Session *session, const Secret *secret,
                          Finding *ret);

/* Runs on a fiber for as long as the service does (network_watch.c). @arg: the core. */
int network_watch_work(void *arg);

/* --- setup (setup.c) --------------------------------------------------------------------------------------- */

Setup *setup_free(Setup *setup);
DEFINE_CLEANUP(Setup, setup_free);
/* When it must be ended or freed: clock_now() units. */
uint64_t setup_due(const Setup *setup);
/* When it ended, 0: it has not; and that its time as an ended one is over. */
uint64_t setup_ended(const Setup *setup);
void setup_drop(Setup *setup);
/* Ends (cancels) or frees it when its time is over. Returns true when it was freed. */
bool setup_expire(Setup *setup);

/* --- account (account.c) ----------------------------------------------------------------------------------- */

/* A time that is over in which an account had a cause. */
typedef struct Trouble {
        AccountState state;
        uint64_t since_usec, ended_usec; /* since 1970 */
} Trouble;

struct Account {
        Core *core;
        Trouble past;                      /* the last one */
        bool relapsed;                     /* what stands now is that one again: told already */
        CertificateRecord certificates[2]; /* by Side */
        unsigned forecast[2];              /* the last one told, in days; 0 none */
        AccountRecord record;
        AccountState state;
        char **warnings;
        HeapEntry due;       /* in the scheduler's heap; clock_now() units */
        Account *next_by_id; /* in its bucket */
        /* while it is due and waits for its turn, see core/lane.h */
        struct Lane *lane;
        Account *line_next, *line_before;
        bool waiting;
        unsigned eager; /* how often its interval is halved */
        uint64_t bytes_gone,
                counted_usec; /* of what was fetched, the owner has thrown away; when that was counted */
        bool run_arrived;  /* the last run has delivered something */
        bool known_before; /* and it was not the first one */
        Fiber *fiber;      /* the run under way */
        bool run_manual, removing;
        bool disowned;        /* its uid has another login name by now */
        bool gone;            /* deleted from the store, and about to be freed */
        bool run_skipped;     /* the next run tries also what was skipped */
        bool run_left;        /* the last one has left mail for the next, which follows soon */
        uint64_t next_run_id; /* shown to callers: counts up */
        Dict run;             /* the contract's Run */
        RunRecord run_record;
        uint64_t run_published_usec;
        /* POP3 locks the maildrop: a fetch and a look for the verification mail exclude one another. */
        bool maildrop_busy;
        unsigned maildrop_waiters;
        FiberQueue maildrop_queue;
        unsigned secrets_under_way; /* changes of its secrets that are not durable yet */
        struct Grant *grant;        /* NULL: it signs in by password */
        Secret *doubted;       /* a new password that looks wrong, and was said only once; NULL */
        struct Parked *parked; /* its dialogue that waits for news; NULL none */
        uint64_t push_not_before_usec; /* its server does not keep such a dialogue */
        uint64_t last_login_usec;      /* clock_now() units, for LOGIN-DELAY */
        uint64_t broken_usec;          /* when the last dialogue ended without QUIT; 0 it did not */
        /* A fetch that comes across the verification mail tells the setup that looks for it. */
        char verify_token[33]; /* "" none */
        VerificationMatch verify_match;
        FiberQueue *verify_queue; /* the setup's; NULL none */
};

/* Copies the record. */
int account_new(Account **ret, Core *core, const AccountRecord *record);
Account *account_free(Account *account);
DEFINE_CLEANUP(Account, account_free);
void account_changed(Account *account, unsigned what);
/* Sets State from Cause by the one table, with Since; NULL: all is well. One log line and one signal for each change.
 * Returns true when it changed. Not stored here. */
bool account_set_cause(Account *account, const char *cause);
/* Causes that do not stop it, separated by blanks; NULL none. */
void account_set_warnings(Account *account, const char *causes);
AccountState account_state_of_cause(const char *cause);
/* --- the servers' certificates (certificate_care.c) --- */

/* How long an approved exception holds. */
#define APPROVAL_USEC (365 * USEC_PER_DAY)

/* What a handshake that was accepted has shown. */
typedef struct CertificateSeen {
        const char *spki;
        uint64_t not_after_usec;
        bool approved; /* it does not verify */
} CertificateSeen;

/* Those that are stored. On the loop. */
int account_load_certificates(Account *account);
/* Stores it when it is news, and tells the forecast. Suspends. Returns 0, negative errno. */
int account_note_certificate(Account *account, Side side, const CertificateSeen *seen);
/* Appends the codes. */
int account_certificate_warnings(const Account *account, char ***to);

/* Waits for the maildrop. Suspends. Returns 0; -ENOENT: the account is being removed, and freed soon; -ECANCELED, -ETIME. */
int account_take_maildrop(Account *account);
void account_give_maildrop(Account *account);
/* The sealed secret of a side, opened. Returns 0, -ENOENT, -EBADMSG. */
int account_secret(Account *account, Side side, Secret **ret);
/* Seals and stores what is given (NULL keeps nothing: pass both). Suspends. */
int account_store_secrets(Account *account, const Secret *incoming, const Secret *outgoing);
/* Does a side sign in by the account's grant? */
bool account_uses_grant(Account *account, Side side);
/* A grant takes the place of what it signed in by before, in one transaction; @keep_outgoing: the outgoing side's own password stays. Takes a reference. Suspends. */
int account_store_grant(Account *account, struct Grant *grant, bool keep_outgoing);
/* Seals all that is stored of it anew, under the key that counts now. Suspends. -EAGAIN while it is being changed. */
int account_reseal(Account *account);
/* Reads the stored grant. Once, after the account was loaded. */
int account_load_grant(Account *account);
/* Address policy for servers that a setup verified before. */
unsigned core_policy(const Core *core, bool approved);

/* --- owner (owner.c) --------------------------------------------------------------------------------------- */

/* The login name of @uid; leaves *@ret alone when it has none. Returns 0, -ENOMEM, negative errno of the lookup. */
int owner_name(uid_t uid, char **ret);
/* Compares the owner's login name of now with the stored one. A mismatch blocks the account, a match lets it go on. Returns true when it fits. */
bool account_check_owner(Account *account);
/* The same for one that was just loaded. */
void account_load_owner(Account *account);
/* After loading: names are asked anew each time. */
void owners_forget(Core *core);

/* --- scheduler (scheduler.c) ------------------------------------------------------------------------------- */

int scheduler_new(Scheduler **ret, Core *core);
/* Cancels all runs. */
Scheduler *scheduler_free(Scheduler *scheduler);
DEFINE_CLEANUP(Scheduler, scheduler_free);
int scheduler_start(Scheduler *scheduler);
/* Plans the account's next run by its state, interval, back-off and minimum; a paused or stopped one gets none. */
void scheduler_plan(Scheduler *scheduler, Account *account, uint64_t not_before_usec);
void scheduler_now(Scheduler *scheduler, Account *account);
void scheduler_forget(Scheduler *scheduler, Account *account);
/* There is a network (again, or another one), or there is none. */
void scheduler_network(Scheduler *scheduler, bool online);

/* --- fetch (fetch.c) --------------------------------------------------------------------------------------- */

/* One run, on a fiber: dialogue, delivery, record. @arg is the account. */
int fetch_run(void *arg);
