/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost password: gives an account another password. The service tries it first; the old one stays until it was accepted. */
#include <string.h>

#include "cli/account.h"
#include "cli/ask.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

/* Both sides when there is one password for them; "" stands for that. */
static const char *side_of(const Arguments *arguments)
{
        return argument_given(arguments, KEY_OUTGOING)   ? KEY_OUTGOING
               : argument_given(arguments, KEY_INCOMING) ? KEY_INCOMING
                                                         : "";
}

static int get_secret(Cli *cli, const Arguments *arguments, json_object *account, Secret **ret)
{
        const char *file = argument_text(arguments, "password-file");
        _cleanup_lines_ Lines above = {};
        int r;

        if (file)
                return secret_read_file(cli, ret, file);
        if (!cli->interactive) {
                output_error(cli, BUS_NAME ".Client.Needed",
                             "Give the password by --password-file when nobody can be asked.");
                return EXIT_NEEDED;
        }
        lines_add(&above, RANK_STAYS, "The new password of %s%s.",
                  value_text_or(account, "address", "?"),
                  argument_given(arguments, KEY_OUTGOING) ? " for sending" : "");
        r = ask_secret(cli, &above, "Password:", NULL, ret);
        if (r == 0 && secret_is_empty(*ret)) {
                output_note(cli, "Nothing was changed.\n");
                return EXIT_NEEDED;
        }
        return r;
}

/* As an argument of the call: the account's SetPassword has no other form. The bus hands it to the service alone. */
static int start(Cli *cli, json_object *account, const char *side, const Secret *secret,
                 Setup **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, value_text_or(account, "path", "/"), INTERFACE_ACCOUNT,
                        "SetPassword");
        if (r)
                return r;
        r = sd_bus_message_sensitive(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", side);
        if (r >= 0)
                r = secret_append(secret, m);
        if (r < 0)
                return cli_failed(cli, r, "Passing the password");
        return setup_start(ret, cli, m, NULL);
}

static int conclude(Cli *cli, Setup *setup, SetupEnd end, json_object **cause)
{
        int r;

        screen_end(cli);
        r = wizard_conclude(setup, end, "check", cause);
        if (r == 0)
                output_result(cli, "\nThe new password works and is stored.\n");
        else
                output_note(cli, "The old password stays.\n");
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL;
        _cleanup_answers_ Answers answers = { .may_retry = true };
        _cleanup_secret_ Secret *secret = NULL;
        _cleanup_setup_ Setup *setup = NULL;
        int r;

        if (argument_given(arguments, KEY_INCOMING) && argument_given(arguments, KEY_OUTGOING))
                return usage_error(cli, arguments->verb, "Neither side means both.");
        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = get_secret(cli, arguments, account, &secret);
        if (r == 0)
                r = start(cli, account, side_of(arguments), secret, &setup);
        if (r)
                return r;
        output_progress(cli, "%s\n", value_text_or(account, "address", ""));
        return wizard_run(setup, &answers, conclude);
}

static const Option options[] = {
        { "password-file", 0, "FILE", "Read the password from FILE (- is standard input)" },
        { "incoming", 0, NULL, "Only the one for fetching" },
        { "outgoing", 0, NULL, "Only the one for sending" },
        {},
};

const Verb verb_password = {
        .name = "password",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Give an account a new password, once it was tried",
        .options = options,
        .run = run,
};
