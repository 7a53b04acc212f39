/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See core.h. Lists, quotas, the ledger of refused logins, and the janitor that ends setups whose time is over. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/push.h"
#include "probe/cause.h"
#include "probe/reply.h"

int core_why(Core *core, const char **ret_why, int condition, const char *format, ...)
{
        va_list ap;

        va_start(ap, format);
        vsnprintf(core->why, sizeof(core->why), format, ap);
        va_end(ap);
        if (ret_why)
                *ret_why = core->why;
        return condition;
}

const Config *core_config(Core *core)
{
        return core->config;
}

const Providers *core_providers(const Core *core)
{
        return core->providers;
}

unsigned core_policy(const Core *core, bool approved)
{
        const Config *c = core->config;

        return (c->allow_private || approved || c->user ? ADDRESS_PRIVATE : 0) |
               (c->allow_local || c->user ? ADDRESS_LOCAL : 0);
}

/* --- lists --------------------------------------------------------------------------------------------------------- */

static int pointers_append(void ***list, size_t *n, void *item)
{
        void **grown = reallocarray(*list, *n + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        grown[(*n)++] = item;
        *list = grown;
        return 0;
}

static void pointers_remove(void **list, size_t *n, const void *item)
{
        for (size_t i = 0; i < *n; i++)
                if (list[i] == item) {
                        memmove(list + i, list + i + 1, (*n - i - 1) * sizeof(*list));
                        (*n)--;
                        return;
                }
}

int core_add_setup(Core *core, Setup *setup)
{
        return pointers_append((void ***) &core->setups, &core->n_setups, setup);
}

void core_remove_setup(Core *core, Setup *setup)
{
        pointers_remove((void **) core->setups, &core->n_setups, setup);
        if (core->observer.setup_removed)
                core->observer.setup_removed(core->observer.userdata, setup);
}

/* Ids are random: their first digits spread them. */
static Account **account_bucket(Core *core, const char *id)
{
        unsigned hash = 0;

        for (size_t i = 0; i < 8 && id[i]; i++)
                hash = hash * 31 + (unsigned char) id[i];
        return &core->accounts_by_id[hash % ACCOUNT_BUCKETS];
}

int core_add_account(Core *core, Account *account)
{
        Account **bucket = account_bucket(core, account->record.id);
        int r = pointers_append((void ***) &core->accounts, &core->n_accounts, account);

        if (r < 0)
                return r;
        account->next_by_id = *bucket;
        *bucket = account;
        if (core->observer.account_added)
                core->observer.account_added(core->observer.userdata, account);
        return 0;
}

void core_remove_account(Core *core, Account *account)
{
        Account **at = account_bucket(core, account->record.id);

        while (*at && *at != account)
                at = &(*at)->next_by_id;
        if (*at)
                *at = account->next_by_id;
        pointers_remove((void **) core->accounts, &core->n_accounts, account);
        if (core->observer.account_removed)
                core->observer.account_removed(core->observer.userdata, account);
}

Setup *core_setup(Core *core, const char *id)
{
        for (size_t i = 0; i < core->n_setups; i++)
                if (strcmp(setup_id(core->setups[i]), id) == 0)
                        return core->setups[i];
        return NULL;
}

Account *core_account(Core *core, const char *id)
{
        for (Account *account = *account_bucket(core, id); account; account = account->next_by_id)
                if (strcmp(account->record.id, id) == 0)
                        return account;
        return NULL;
}

Account *core_account_by_address(Core *core, uid_t uid, const char *address)
{
        for (size_t i = 0; i < core->n_accounts; i++) {
                const AccountRecord *record = &core->accounts[i]->record;

                if (account_owner(core->accounts[i]) == uid &&
                    text_equal_nocase(record->address, address))
                        return core->accounts[i];
        }
        return NULL;
}

Account *core_account_same(Core *core, uid_t uid, const Endpoint *incoming)
{
        for (size_t i = 0; i < core->n_accounts; i++) {
                const AccountRecord *record = &core->accounts[i]->record;

                if (account_owner(core->accounts[i]) == uid &&
                    record->incoming.protocol == incoming->protocol &&
                    text_equal(record->incoming.host, incoming->host) &&
                    text_equal(record->incoming.user, incoming->user))
                        return core->accounts[i];
        }
        return NULL;
}

Setup *core_setup_at(Core *core, size_t index)
{
        return index < core->n_setups ? core->setups[index] : NULL;
}

Account *core_account_at(Core *core, size_t index)
{
        return index < core->n_accounts ? core->accounts[index] : NULL;
}

size_t core_count_setups(Core *core, uid_t uid)
{
        size_t n = 0;

        for (size_t i = 0; i < core->n_setups; i++) {
                SetupState state = setup_state(core->setups[i]);

                n += setup_uid(core->setups[i]) == uid && state != SETUP_STATE_SUCCEEDED &&
                     state != SETUP_STATE_CANCELLED;
        }
        return n;
}

size_t core_count_accounts(Core *core, uid_t uid)
{
        size_t n = 0;

        for (size_t i = 0; i < core->n_accounts; i++)
                n += account_owner(core->accounts[i]) == uid;
        return n;
}

const char *core_lane_name(Core *core, const char *host)
{
        const Provider *provider = provider_by_host(core->providers, host);

        return provider ? provider->id : host;
}

/* --- errands --------------------------------------------------------------------------------------------------------- */

enum { ERRANDS_MAX = 64 };

struct Errand {
        Errand *next;
        Fiber *fiber;
        void (*release)(void *arg);
        void *arg;
};

static void errand_free(Errand *errand)
{
        errand->fiber = fiber_cancel(errand->fiber);
        errand->release(errand->arg);
        free(errand);
}

/* Frees those that have ended, or @all. Returns how many are left. */
static size_t errands_sweep(Core *core, bool all)
{
        Errand **at = &core->errands;
        size_t n = 0;

        while (*at) {
                Errand *errand = *at;

                if (all || fiber_ended(errand->fiber)) {
                        *at = errand->next;
                        errand_free(errand);
                } else {
                        at = &errand->next;
                        n++;
                }
        }
        return n;
}

int core_start_errand(Core *core, const char *name, int (*func)(void *arg),
                      void (*release)(void *arg), void *arg)
{
        Errand *errand;
        int r;

        if (errands_sweep(core, core->stopping) >= ERRANDS_MAX || core->stopping)
                return -EBUSY;
        errand = calloc(1, sizeof(*errand));
        if (!errand)
                return -ENOMEM;
        errand->release = release;
        errand->arg = arg;
        r = fiber_start(&errand->fiber, name, func, arg);
        if (r < 0) {
                free(errand);
                return r;
        }
        errand->next = core->errands;
        core->errands = errand;
        return 0;
}

const char *core_unlisted_mechanism(const Core *core, const char *host)
{
        const Provider *provider = provider_by_host(core->providers, host);

        return provider ? provider->sasl_unlisted : NULL;
}

unsigned core_issuer_policy(const Core *core)
{
        return core_policy(core, false);
}

/* --- the janitor --------------------------------------------------------------------------------------------------- */

void core_wake_janitor(Core *core)
{
        fiber_queue_wake_all(&core->janitor_queue);
}

/* Each caller who vanishes leaves an ended setup: without a bound they would be as many as he has connections to spend. */
void core_setup_ended(Core *core, uid_t uid)
{
        uint64_t n = 0;
        Setup *oldest = NULL;

        for (size_t i = 0; uid != 0 && i < core->n_setups; i++) {
                Setup *setup = core->setups[i];

                if (setup_uid(setup) != uid || !setup_ended(setup))
                        continue;
                n++;
                if (!oldest || setup_ended(setup) < setup_ended(oldest))
                        oldest = setup;
        }
        if (n > MAX((uint64_t) LIMIT_SETUPS_KEPT, 2 * core->config->setups_per_uid))
                setup_drop(oldest);
        core_wake_janitor(core);
}

static uint64_t janitor_sweep(Core *core)
{
        uint64_t due = USEC_INFINITY;

        for (size_t i = 0; i < core->n_setups;) {
                Setup *setup = core->setups[i];

                if (setup_expire(setup))
                        continue;
                due = MIN(due, MAX(setup_due(setup), clock_now() + USEC_PER_SEC));
                i++;
        }
        return due;
}

static int janitor_work(void *arg)
{
        Core *core = arg;
        int r = 0;

        while (r == 0 || r == -ETIME) {
                uint64_t due = janitor_sweep(core), now = clock_now();

                FIBER_DEADLINE(due == USEC_INFINITY ? USEC_INFINITY : due - MIN(due, now));
                r = fiber_queue_wait(&core->janitor_queue);
        }
        return r;
}

/* --- a new key ----------------------------------------------------------------------------------------------------------- */

/* While it lasts both keys open; a crash in between goes on at the next start. Accounts may come and go meanwhile: new ones have the new key. */
static int rekey_work(void *arg)
{
        Core *core = arg;
        size_t n = 0, n_failed = 0;
        int r;

        for (size_t i = 0; i < core->n_accounts; i++) {
                char id[ID_SIZE];

                memcpy(id, core->accounts[i]->record.id, ID_SIZE);
                while ((r = account_reseal(core->accounts[i])) == -EAGAIN) {
                        r = fiber_sleep(10 * USEC_PER_MSEC);
                        if (r < 0 || i >= core->n_accounts)
                                return r;
                }
                if (r == -ECANCELED)
                        return r;
                /* One that was removed at this moment, and the next is in its place. */
                if (i >= core->n_accounts || strcmp(core->accounts[i]->record.id, id) != 0)
                        i--;
                else if (r < 0)
                        n_failed += log_fault(r, "sealing the secrets of %s anew",
                                              core->accounts[i]->record.address) < 0;
                n += r == 0;
        }
        /* The old key stays while anything needs it, or may. */
        if (n_failed > 0)
                return 0;
        log_notice("the secrets of %zu accounts are sealed under the new key", n);
        return vault_drop_old_key(core->vault);
}

/* --- life ---------------------------------------------------------------------------------------------------------- */

static int core_load_account(void *userdata, const AccountRecord *record)
{
        Core *core = userdata;
        _cleanup_(account_freep) Account *account = NULL;
        int r;

        r = account_new(&account, core, record);
        if (r == 0)
                r = account_load_certificates(account);
        if (r == 0) {
                account_set_warnings(account, NULL);
                r = core_add_account(core, account);
        }
        if (r == 0)
                account_load_owner(TAKE(account));
        return r;
}

static int core_load_grant(void *userdata, const char *id)
{
        Account *account = core_account(userdata, id);

        return account ? account_load_grant(account) : 0;
}

static int core_open(Core *core)
{
        int r;

        r = causes_load();
        if (r < 0)
                return log_fault(r, "reading the catalogue of causes");
        r = replies_load(core->config->replies_directory);
        if (r < 0)
                return log_fault(r, "reading the rules for replies");
        r = vault_open(&core->vault, core->config->state_directory);
        if (r < 0)
                return log_fault(r, "opening the vault in %s", core->config->state_directory);
        r = store_open(&core->store, core->config->state_directory);
        if (r == -EEXIST) {
                log_error("another waypostd works in %s", core->config->state_directory);
                return r;
        }
        if (r < 0)
                return log_fault(r, "opening the database in %s", core->config->state_directory);
        r = tls_new(&core->tls, core->config->ca_file);
        if (r < 0)
                return log_fault(r, "reading the trusted certificates");
        r = dns_new(&core->dns, NULL);
        if (r == 0)
                r = http_new(&core->http, core->dns, core->config->ca_file);
        if (r == 0)
                http_share_trust(core->http, core->tls);
        if (r == 0)
                r = providers_new(&core->providers, core->config->providers_directory);
        core->means = (Means){ .http = core->http,
                               .providers = core->providers,
                               .controls = core->config->controls,
                               .connectivity_url = core->config->connectivity_url,
                               .connectivity_response = core->config->connectivity_response };
        if (r == 0)
                r = pool_new(&core->disk, (unsigned) core->config->disk_threads, NULL);
        if (r == 0)
                r = scheduler_new(&core->scheduler, core);
        if (r == 0)
                r = push_new(&core->push, core);
        if (r < 0)
                return log_fault(r, "starting");
        r = store_accounts(core->store, core_load_account, core);
        owners_forget(core);
        if (r >= 0)
                r = store_granted(core->store, core_load_grant, core);
        return r < 0 ? log_fault(r, "loading the accounts") : 0;
}

int core_new(Core **ret, const Config *config)
{
        _cleanup_(core_freep) Core *core = calloc(1, sizeof(*core));
        int r;

        if (!core)
                return -ENOMEM;
        core->config = config;
        r = core_open(core);
        if (r < 0)
                return r;
        *ret = TAKE(core);
        return 0;
}

int core_start(Core *core, const Observer *observer)
{
        int r;

        if (observer)
                core->observer = *observer;
        core->started = true;
        r = scheduler_start(core->scheduler);
        if (r == 0 && vault_has_old_key(core->vault))
                r = fiber_start(&core->rekeying, "rekey", rekey_work, core);
        if (r == 0)
                r = fiber_start(&core->network_watch, "network", network_watch_work, core);
        return r < 0 ? r : fiber_start(&core->janitor, "janitor", janitor_work, core);
}

Core *core_free(Core *core)
{
        if (!core)
                return NULL;
        core->observer = (Observer){}; /* whoever frees us knows that all is going */
        core->janitor = fiber_cancel(core->janitor);
        core->rekeying = fiber_cancel(core->rekeying);
        core->network_watch = fiber_cancel(core->network_watch);
        core->stopping = true;
        errands_sweep(core, true);
        while (core->n_setups > 0)
                setup_free(core->setups[--core->n_setups]);
        core->scheduler = scheduler_free(core->scheduler);
        core->push = push_free(core->push);
        while (core->n_accounts > 0)
                account_free(core->accounts[--core->n_accounts]);
        core->store = store_close(core->store);
        core->disk = pool_free(core->disk);
        core->http = http_free(core->http);
        core->providers = providers_free(core->providers);
        owners_forget(core);
        free(core->searches);
        core->searches = NULL;
        core->n_searches = 0;
        core->dns = dns_free(core->dns);
        core->tls = tls_free(core->tls);
        core->vault = vault_free(core->vault);
        replies_unload();
        causes_unload();
        for (size_t i = 0; i < ELEMENTS(core->registrations); i++) {
                free(core->registrations[i].issuer);
                free(core->registrations[i].client);
        }
        free(core->setups);
        free(core->accounts);
        free(core);
        return NULL;
}
