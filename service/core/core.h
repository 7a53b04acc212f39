/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service is without a bus: its accounts, its setups, what they share. bus/ fills the Observer and asks; core/ never
 * sees sd-bus. Everything here runs on the loop's thread. */
#pragma once

#include "base/pool.h"
#include "core/config.h"
#include "core/store.h"
#include "core/vault.h"
#include "probe/finding.h"
#include "probe/provider.h"
#include "wire/dns.h"
#include "wire/http.h"
#include "wire/tls.h"

typedef struct Core Core;
typedef struct Setup Setup;
typedef struct Account Account;
typedef struct SetupOptions SetupOptions;

/* What changed, as bits: bus/ turns each into PropertiesChanged. */
enum {
        SETUP_CHANGED_STATE = 1 << 0,
        SETUP_CHANGED_STEPS = 1 << 1,
        SETUP_CHANGED_NEEDS = 1 << 2,
        SETUP_CHANGED_CANDIDATES = 1 << 3,
        SETUP_CHANGED_CAUSE = 1 << 4,
        SETUP_CHANGED_ACCOUNT = 1 << 5,
};
enum {
        ACCOUNT_CHANGED_STATE = 1 << 0,   /* State, Cause, Since */
        ACCOUNT_CHANGED_SUCCESS = 1 << 1, /* LastSuccess, MessagesFetched */
        ACCOUNT_CHANGED_NEXT_RUN = 1 << 2,
        ACCOUNT_CHANGED_RUN = 1 << 3, /* at most 4 a second for each account */
        ACCOUNT_CHANGED_SETTINGS =
                1 << 4, /* Interval, PollMinimum, Keep, DisplayName, Incoming, Outgoing, Location */
        ACCOUNT_CHANGED_CAN_SEND = 1 << 5,
        ACCOUNT_CHANGED_WARNINGS = 1 << 6,
};

/* Called on the loop, on or off a fiber; must not suspend and must not free what it is told about. */
typedef struct Observer {
        void (*setup_added)(void *userdata, Setup *setup);
        void (*setup_changed)(void *userdata, Setup *setup, unsigned what);
        void (*setup_step)(void *userdata, Setup *setup, StepId step);
        void (*setup_removed)(void *userdata, Setup *setup); /* freed right after */
        void (*account_added)(void *userdata, Account *account);
        void (*account_changed)(void *userdata, Account *account, unsigned what);
        void (*account_removed)(void *userdata, Account *account); /* freed right after */
        void (*run_finished)(void *userdata, Account *account, const RunRecord *run);
        void (*mail_arrived)(void *userdata, Account *account, uint64_t messages, uint64_t bytes);
        void *userdata;
} Observer;

/* Opens vault, store and wire, loads the accounts; nothing runs yet. Returns 0 or what they return (logged). */
int core_new(Core **ret, const Config *config);
/* From here on the observer is told and due accounts are fetched. @observer is copied; NULL: nobody is told. */
int core_start(Core *core, const Observer *observer);
/* Cancels all setups and runs, waits for the store. */
Core *core_free(Core *core);
DEFINE_CLEANUP(Core, core_free);
const Config *core_config(Core *core);
/* The table of providers. Borrowed. */
const Providers *core_providers(const Core *core);

/* Borrowed; NULL when there is none. Ids are the last element of the object path. */
Setup *core_setup(Core *core, const char *id);
Account *core_account(Core *core, const char *id);
Account *core_account_by_address(Core *core, uid_t uid, const char *address);
/* Somebody of @uid has come: are the accounts of that number still his? To be called before he is shown anything. */
void core_check_owner(Core *core, uid_t uid);
/* Looks at an issuer that the administrator has a client for, as a sign-in would: oauth-issuer, methods, scopes, secret-expires; or cause and
 * error. Suspends. 0, -ENOENT without such a client, negative errno. */
int core_test_client(Core *core, const char *issuer, Dict *ret);
/* Walks all in a stable order: index 0, 1, ... until NULL. */
Setup *core_setup_at(Core *core, size_t index);
Account *core_account_at(Core *core, size_t index);
