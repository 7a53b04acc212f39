/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Accounts as objects. */
#include "cli/account.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/cause.h"
#include "cli/output.h"
#include "dbus/names.h"

void account_complete(json_object *account, const char *path)
{
        const char *slash = strrchr(path, '/');

        value_set_text(account, "path", path);
        value_set_text(account, "id", slash ? slash + 1 : path);
        value_nothing_is_null(account, "cause");
}

int account_read(Cli *cli, const char *path, json_object **ret)
{
        int r;

        r = cli_properties(cli, path, INTERFACE_ACCOUNT, ret, NULL);
        if (r)
                return r;
        account_complete(*ret, path);
        return 0;
}

static int by_address(const void *a, const void *b)
{
        json_object *const *x = a, *const *y = b;

        return strcasecmp(value_text_or(*x, "address", ""), value_text_or(*y, "address", ""));
}

int objects_read(Cli *cli, json_object **ret)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *objects = NULL;
        int r;

        r = cli_call_texts(cli, PATH_ROOT, "org.freedesktop.DBus.ObjectManager",
                           "GetManagedObjects", &reply, NULL, NULL, NULL);
        if (r)
                return r;
        r = value_read(reply, &objects);
        if (r < 0 || !json_object_is_type(objects, json_type_object))
                return cli_failed(cli, r < 0 ? r : -EBADMSG, "Reading the service's answer");
        *ret = TAKE(objects);
        return 0;
}

int accounts_read(Cli *cli, json_object **ret)
{
        _cleanup_json_ json_object *objects = NULL, *accounts = NULL;
        int r;

        r = objects_read(cli, &objects);
        if (r)
                return r;
        accounts = json_object_new_array();
        json_object_object_foreach(objects, path, interfaces)
        {
                json_object *properties = value_object(interfaces, INTERFACE_ACCOUNT), *account;

                if (!properties)
                        continue;
                account = value_kebab(properties);
                account_complete(account, path);
                json_object_array_add(accounts, account);
        }
        json_object_array_sort(accounts, by_address);
        *ret = TAKE(accounts);
        return 0;
}

int account_path_by_address(Cli *cli, const char *address, char **ret, sd_bus_error *ret_error)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *path;
        int r;

        *ret = NULL;
        r = cli_call_texts(cli, PATH_ROOT, INTERFACE_MANAGER, "FindAccount", &reply, &error,
                           address, NULL);
        if (r == CALL_REFUSED && sd_bus_error_has_name(&error, ERROR_NOT_FOUND))
                return 0;
        if (r == CALL_REFUSED && ret_error) {
                sd_bus_error_move(ret_error, &error);
                return r;
        }
        if (r == CALL_REFUSED)
                return cli_refused(cli, &error);
        if (r)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        *ret = strdup(path);
        return *ret ? 0 : cli_failed(cli, -ENOMEM, "Remembering the account");
}

static int not_found(Cli *cli, const char *before, const char *name, const char *after)
{
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "%s %s%s", before, name, after) < 0)
                text = NULL;
        output_error(cli, ERROR_NOT_FOUND, text ?: "No memory.");
        return EXIT_USAGE;
}

static bool matches(json_object *account, const char *name)
{
        return strncasecmp(value_text_or(account, "id", ""), name, strlen(name)) == 0 ||
               strcmp(value_text_or(account, "path", ""), name) == 0;
}

static int find_by_id(Cli *cli, const char *name, json_object **ret)
{
        _cleanup_json_ json_object *accounts = NULL;
        json_object *found = NULL;
        int r;

        r = accounts_read(cli, &accounts);
        if (r)
                return r;
        for (size_t i = 0; i < value_length(accounts); i++) {
                json_object *account = json_object_array_get_idx(accounts, i);

                if (!*name || !matches(account, name))
                        continue;
                if (found)
                        return not_found(cli, "More than one account's id begins with", name, ".");
                found = account;
        }
        if (!found)
                return not_found(cli, "There is no account", name, "; \"waypost list\" shows all.");
        *ret = json_object_get(found);
        return 0;
}

int account_find(Cli *cli, const char *name, json_object **ret)
{
        _cleanup_free_ char *path = NULL;
        int r;

        if (!strchr(name, '@'))
                return find_by_id(cli, name, ret);
        r = account_path_by_address(cli, name, &path, NULL);
        if (r)
                return r;
        if (!path)
                return not_found(cli, "There is no account", name, "; \"waypost list\" shows all.");
        return account_read(cli, path, ret);
}

json_object *account_evidence(json_object *account)
{
        bool sending = strncmp(value_text_or(account, "cause", ""), "smtp.", 5) == 0;

        return value_object(account, sending ? "outgoing" : "incoming");
}

Exit account_exit(Cli *cli, json_object *account)
{
        _cleanup_json_ json_object *description = NULL;
        const char *cause = value_text(account, "cause");

        if (!cause || cause_describe(cli, cause, NULL, &description) != 0)
                return EXIT_OURS;
        return cause_exit(description);
}
