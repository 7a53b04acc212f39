/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost authorize: signs an account in again in the browser, or by a code on another device. Same account, same mail. */
#include <string.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

static int start(Cli *cli, json_object *account, Setup **ret)
{
        _cleanup_json_ json_object *options = json_object_new_object();
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        value_set_text(options, KEY_METHOD, "authorization");
        r = cli_message(cli, &m, value_text_or(account, "path", "/"), INTERFACE_ACCOUNT, "Repair");
        if (r)
                return r;
        r = value_append_dict(m, options);
        return r < 0 ? cli_failed(cli, r, "Making a call") : setup_start(ret, cli, m, NULL);
}

static int conclude(Cli *cli, Setup *setup, SetupEnd end, json_object **cause)
{
        int r;

        screen_end(cli);
        r = wizard_conclude(setup, end, "check", cause);
        if (r == 0)
                output_result(cli,
                              "\nThe account is signed in; fetching goes on where it stopped.\n");
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL;
        _cleanup_answers_ Answers answers = {
                .flow = argument_given(arguments, "device") ? FLOW_DEVICE : NULL,
                .sign_in = true,
                .may_retry = true,
        };
        _cleanup_setup_ Setup *setup = NULL;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = start(cli, account, &setup);
        if (r)
                return r;
        output_progress(cli, "%s\n", value_text_or(account, "address", ""));
        return wizard_run(setup, &answers, conclude);
}

static const Option options[] = {
        { "device", 0, NULL, "By a code typed on another device, without a browser here" },
        {},
};

const Verb verb_authorize = {
        .name = "authorize",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Sign an account in again, in the browser",
        .text = "The page to sign in at is opened or shown. Whoever uses another computer's browser pastes\n"
                "the address that it ends at. The account and its mail stay as they are.\n",
        .options = options,
        .run = run,
};
