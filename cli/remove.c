/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost remove: takes an account away. The mail that was fetched stays. */
#include <errno.h>
#include <stdio.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static int confirm(Cli *cli, const Arguments *arguments, json_object *account, bool *ret)
{
        _cleanup_free_ char *question = NULL;

        *ret = true;
        if (argument_given(arguments, "yes"))
                return 0;
        if (!cli->interactive) {
                output_error(cli, BUS_NAME ".Client.Needed",
                             "Nothing was removed: give --yes when nobody can be asked.");
                return EXIT_NEEDED;
        }
        if (asprintf(&question, "Remove the account %s? The fetched mail stays in %s.",
                     value_text_or(account, "address", "?"),
                     value_text_or(account, "location", "its folder")) < 0)
                return cli_failed(cli, -ENOMEM, "Asking");
        return terminal_confirm(cli, question, ret);
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *result = NULL;
        bool yes;
        int r;

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
        result = json_object_new_object();
        value_set_from(result, "address", account);
        value_set_from(result, "location", account);
        value_set_text(result, "account", value_text(account, "path"));
        json_object_object_add(result, "removed", json_object_new_boolean(yes));
        output_json_if_asked(cli, result);
        if (!yes)
                output_result(cli, "Nothing was removed.\n");
        else
                output_result(cli, "%s is removed. The mail fetched so far stays in %s\n",
                              value_text_or(account, "address", "The account"),
                              value_text_or(account, "location", "its folder"));
        return 0;
}

static const Option options[] = {
        { "yes", 'y', NULL, "Do not ask" },
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
