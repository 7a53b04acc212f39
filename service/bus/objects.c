/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See objects.h. Without a message being dispatched nothing is visible: our own signals do not come this way. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "bus/callers.h"
#include "bus/objects.h"
#include "core/account.h"
#include "core/setup.h"
#include "dbus/names.h"

static void path_make(const char *prefix, const char *id, char ret[PATH_SIZE])
{
        (void) snprintf(ret, PATH_SIZE, "%s/%s", prefix, id);
}

void setup_path(const Setup *setup, char ret[PATH_SIZE])
{
        path_make(PATH_SETUP, setup_id(setup), ret);
}

void account_path(const Account *account, char ret[PATH_SIZE])
{
        path_make(PATH_ACCOUNT, account_record(account)->id, ret);
}

void account_id_path(const char *id, char ret[PATH_SIZE])
{
        if (id)
                path_make(PATH_ACCOUNT, id, ret);
        else
                (void) snprintf(ret, PATH_SIZE, "/");
}

const char *path_id(const char *path, const char *prefix)
{
        size_t len = strlen(prefix);

        if (strncmp(path, prefix, len) != 0 || path[len] != '/' || !path[len + 1])
                return NULL;
        return path + len + 1;
}

static Setup *setup_at(Core *core, const char *path)
{
        const char *id = path_id(path, PATH_SETUP);

        return id ? core_setup(core, id) : NULL;
}

static Account *account_at(Core *core, const char *path)
{
        const char *id = path_id(path, PATH_ACCOUNT);

        return id ? core_account(core, id) : NULL;
}

const char *object_state(Core *core, const char *path)
{
        const Setup *setup = setup_at(core, path);
        const Account *account = account_at(core, path);

        if (setup)
                return setup_state_name(setup_state(setup));
        return account ? account_state_name(account_state(account)) : NULL;
}

static bool dispatched_may_see(Bus *bus, uid_t owner)
{
        sd_bus_message *m = sd_bus_get_current_message(bus->sd);

        return m && callers_may_see(bus->callers, sd_bus_message_get_sender(m), owner);
}

int setup_find(sd_bus *sd, const char *path, const char *interface, void *userdata,
               void **ret_found, sd_bus_error *ret_error)
{
        Bus *bus = userdata;
        Setup *setup = setup_at(bus->core, path);

        if (!setup || !dispatched_may_see(bus, setup_uid(setup)))
                return 0;
        /* A call to the object itself is a sign of life; being listed is not. */
        if (text_equal(sd_bus_message_get_path(sd_bus_get_current_message(sd)), path))
                setup_touch(setup);
        *ret_found = setup;
        return 1;
}

int account_find(sd_bus *sd, const char *path, const char *interface, void *userdata,
                 void **ret_found, sd_bus_error *ret_error)
{
        Bus *bus = userdata;
        Account *account = account_at(bus->core, path);

        if (!account || !dispatched_may_see(bus, account_owner(account)))
                return 0;
        *ret_found = account;
        return 1;
}

/* sd-bus also asks when something below the prefix is introspected, and takes whatever comes as its children. */
static bool enumerable(const char *prefix, const char *own)
{
        return text_equal(prefix, own) || text_equal(prefix, PATH_ROOT);
}

int setup_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                    sd_bus_error *ret_error)
{
        Bus *bus = userdata;
        _cleanup_list_ char **nodes = NULL;
        Setup *setup;

        for (size_t i = 0; enumerable(prefix, PATH_SETUP) && (setup = core_setup_at(bus->core, i));
             i++) {
                char path[PATH_SIZE];

                if (!dispatched_may_see(bus, setup_uid(setup)))
                        continue;
                setup_path(setup, path);
                if (list_append(&nodes, path, SIZE_MAX) < 0)
                        return -ENOMEM;
        }
        *ret_nodes = TAKE(nodes);
        return 0;
}

int account_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                      sd_bus_error *ret_error)
{
        Bus *bus = userdata;
        _cleanup_list_ char **nodes = NULL;
        Account *account;

        for (size_t i = 0;
             enumerable(prefix, PATH_ACCOUNT) && (account = core_account_at(bus->core, i)); i++) {
                char path[PATH_SIZE];

                if (!dispatched_may_see(bus, account_owner(account)))
                        continue;
                account_path(account, path);
                if (list_append(&nodes, path, SIZE_MAX) < 0)
                        return -ENOMEM;
        }
        *ret_nodes = TAKE(nodes);
        return 0;
}
