/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost fetch: one fetch now, watched to its end. */
#include "cli/account.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *ended = NULL;
        bool wait = !argument_given(arguments, "no-wait");
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = run_fetch(cli, value_text_or(account, "path", "/"), wait, &ended);
        if (r == EXIT_INTERRUPTED)
                output_note(cli, "Interrupted. The service goes on fetching.\n");
        if (r)
                return r;
        output_json_if_asked(cli, ended);
        if (!wait)
                return 0;
        run_print(cli, ended);
        return run_conclude(cli, ended);
}

static const Option options[] = {
        { "no-wait", 0, NULL, "Only ask for it, do not wait for its end" },
        {},
};

const Verb verb_fetch = {
        .name = "fetch",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Fetch the mail of one account now",
        .options = options,
        .run = run,
};
