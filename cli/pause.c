/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost pause and resume: one call for each account named. */
#include "cli/account.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "dbus/names.h"

/* What came of it is how the account is afterwards. */
static int call_one(Cli *cli, const char *name, const char *member, json_object *changed)
{
        _cleanup_json_ json_object *account = NULL, *after = NULL;
        int r;

        r = account_find(cli, name, &account);
        if (r == 0)
                r = cli_call_texts(cli, value_text_or(account, "path", "/"), INTERFACE_ACCOUNT,
                                   member, NULL, NULL, NULL, NULL);
        if (r == 0)
                r = account_read(cli, value_text_or(account, "path", "/"), &after);
        if (r)
                return r;
        output_result(cli, "%s is %s.\n", value_text_or(after, "address", "It"),
                      value_text_or(after, "state", "changed"));
        json_object_array_add(changed, TAKE(after));
        return 0;
}

static int call_all(Cli *cli, const Arguments *arguments, const char *member)
{
        _cleanup_json_ json_object *changed = json_object_new_array();
        int r;

        r = cli_open(cli);
        for (unsigned i = 0; r == 0 && i < arguments->n_operands; i++)
                r = call_one(cli, arguments->operands[i], member, changed);
        if (r == 0)
                output_json_if_asked(cli, changed);
        return r;
}

static int run_pause(Cli *cli, const Arguments *arguments)
{
        return call_all(cli, arguments, "Pause");
}

static int run_resume(Cli *cli, const Arguments *arguments)
{
        return call_all(cli, arguments, "Resume");
}

const Verb verb_pause = {
        .name = "pause",
        .operands = "ACCOUNT...",
        .min_operands = 1,
        .max_operands = MAX_OPERANDS,
        .summary = "Fetch no more until resume",
        .run = run_pause,
};

const Verb verb_resume = {
        .name = "resume",
        .operands = "ACCOUNT...",
        .min_operands = 1,
        .max_operands = MAX_OPERANDS,
        .summary = "Fetch again",
        .run = run_resume,
};
