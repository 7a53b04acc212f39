/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether an account still belongs to the one who made it. Numbers of users are given away again; the login name that is stored beside the
 * number tells. An account whose number has another name by now belongs to nobody: it is not fetched, and only root sees it. */
#include <pwd.h>

#include "base/log.h"
#include "base/text.h"
#include "core/core_internal.h"

#define OWNER_CHANGED "local.owner-changed"

int owner_name(uid_t uid, char **ret)
{
        char buffer[4096];
        struct passwd entry, *found = NULL;
        int r;

        r = getpwuid_r(uid, &entry, buffer, sizeof(buffer), &found);
        if (r != 0)
                return -r;
        return found ? text_set(ret, found->pw_name) : 0;
}

uid_t account_owner(const Account *account)
{
        return account->disowned ? (uid_t) -1 : account->record.uid;
}

/* While all accounts are loaded, thousands of them may be one user's: he is looked up once. */
static int owner_known(Core *core, uid_t uid, char **ret)
{
        OwnerCache *cache = &core->owners[uid % OWNERS_CACHED];
        int r;

        if (core->started)
                return owner_name(uid, ret);
        if (!cache->known || cache->uid != uid) {
                r = text_set(&cache->name, NULL);
                if (r == 0)
                        r = owner_name(uid, &cache->name);
                if (r < 0)
                        return r;
                cache->uid = uid;
                cache->known = true;
        }
        return text_set(ret, cache->name);
}

void owners_forget(Core *core)
{
        for (size_t i = 0; i < OWNERS_CACHED; i++) {
                free(core->owners[i].name);
                core->owners[i] = (OwnerCache){};
        }
}

/* A number without a name is nobody else's: a user who was deleted, a directory that does not answer yet. */
static bool owner_fits(const Account *account)
{
        const AccountRecord *record = &account->record;
        _cleanup_free_ char *name = NULL;
        int r;

        if (account->core->config->user)
                return true;
        r = owner_known(account->core, record->uid, &name);
        if (r < 0) {
                (void) log_fault(r, "looking up user %u", (unsigned) record->uid);
                return !account->disowned;
        }
        return !name || text_equal(name, record->user_name);
}

bool account_check_owner(Account *account)
{
        bool fits = owner_fits(account);

        if (fits == !account->disowned)
                return fits;
        account->disowned = !fits;
        account_set_cause(account, fits ? NULL : OWNER_CHANGED);
        if (account->core->started)
                scheduler_plan(account->core->scheduler, account, 0);
        return fits;
}

void account_load_owner(Account *account)
{
        account->disowned = text_equal(account->record.cause, OWNER_CHANGED);
        (void) account_check_owner(account);
}

void core_check_owner(Core *core, uid_t uid)
{
        for (size_t i = 0; i < core->n_accounts; i++)
                if (core->accounts[i]->record.uid == uid)
                        (void) account_check_owner(core->accounts[i]);
}
