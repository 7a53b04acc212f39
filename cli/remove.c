/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost remove: takes an account away. The mail that was fetched stays unless told otherwise; it belongs to the account's
 * owner, so it is his client that deletes it, and only what is in new/ and cur/. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/account.h"
#include "cli/ask.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static int confirm(Cli *cli, const Arguments *arguments, json_object *account, bool *ret)
{
        const char *location = value_text_or(account, "location", "its folder");
        _cleanup_lines_ Lines above = {};
        _cleanup_free_ char *line = NULL;

        *ret = true;
        if (argument_given(arguments, "yes"))
                return 0;
        if (!cli->interactive) {
                output_error(cli, BUS_NAME ".Client.Needed",
                             "Nothing was removed: give --yes when nobody can be asked.");
                return EXIT_NEEDED;
        }
        if (asprintf(&line,
                     argument_given(arguments, "delete-mail") ? "All mail in %s is deleted with it."
                                                              : "The fetched mail stays in %s.",
                     location) < 0)
                return cli_failed(cli, -ENOMEM, "Asking");
        lines_add(&above, RANK_STAYS, "Remove the account %s%s%s?", output_colour(cli, COLOUR_BOLD),
                  value_text_or(account, "address", "?"), output_colour(cli, COLOUR_NONE));
        lines_wrap(&above, output_columns(cli), "", line);
        return ask_yes(cli, &above, "Go on?", NULL, ret);
}

static DIR *open_folder(const char *location, const char *name)
{
        _cleanup_close_ int fd = -1;
        _cleanup_free_ char *path = NULL;
        DIR *dir;

        if (asprintf(&path, "%s/%s", location, name) < 0)
                return NULL;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        dir = fd < 0 ? NULL : fdopendir(fd);
        if (dir)
                fd = -1;
        return dir;
}

/* Negative errno of the first file that could not be deleted; the others are. */
static int delete_in(const char *location, const char *name)
{
        DIR *dir = open_folder(location, name);
        struct dirent *entry;
        int r = 0;

        if (!dir)
                return errno == ENOENT ? 0 : -errno;
        while ((entry = readdir(dir)))
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
                    unlinkat(dirfd(dir), entry->d_name, 0) < 0 && r == 0)
                        r = -errno;
        closedir(dir);
        return r;
}

static int delete_mail(Cli *cli, json_object *account)
{
        const char *location = value_text(account, "location");
        int a, b;

        if (!location)
                return 0;
        a = delete_in(location, "new");
        b = delete_in(location, "cur");
        return a || b ? cli_failed(cli, a ?: b, "Deleting the mail") : 0;
}

static void tell(Cli *cli, json_object *account, bool yes, bool deleted)
{
        _cleanup_json_ json_object *result = json_object_new_object();

        value_set_from(result, "address", account);
        value_set_from(result, "location", account);
        value_set_text(result, "account", value_text(account, "path"));
        json_object_object_add(result, "removed", json_object_new_boolean(yes));
        json_object_object_add(result, "mail-deleted", json_object_new_boolean(deleted));
        output_json_if_asked(cli, result);
        if (!yes)
                output_result(cli, "Nothing was removed.\n");
        else if (deleted)
                output_result(cli, "%s is removed, and its mail with it.\n",
                              value_text_or(account, "address", "The account"));
        else
                output_result(cli, "%s is removed. The mail fetched so far stays in %s\n",
                              value_text_or(account, "address", "The account"),
                              value_text_or(account, "location", "its folder"));
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL;
        bool yes, deleted = false;
        int r, s = 0;

        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = confirm(cli, arguments, account, &yes);
        if (r)
                return r;
        if (yes)
                r = cli_call_texts(cli, value_text_or(account, "path", "/"), INTERFACE_ACCOUNT,
                                   "Remove", NULL, NULL, NULL, NULL);
        if (r)
                return r;
        if (yes && argument_given(arguments, "delete-mail")) {
                s = delete_mail(cli, account);
                deleted = s == 0;
        }
        tell(cli, account, yes, deleted);
        return s;
}

static const Option options[] = {
        { "yes", 'y', NULL, "Do not ask" },
        { "delete-mail", 0, NULL, "Delete the fetched mail, too" },
        {},
};

const Verb verb_remove = {
        .name = "remove",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Remove an account; its fetched mail stays",
        .options = options,
        .run = run,
};
