/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost add: the guided way from an address to fetched mail. Naming the address is the consent: it ends with Commit. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/ask.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/screen.h"
#include "cli/server.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

typedef struct Add {
        Cli *cli;
        const Arguments *arguments;
        Answers answers;
        char *address; /* as it was given or typed */
        Setup *setup;
        char *account;        /* path */
        json_object *details; /* of the account */
        json_object *run;
        json_object *cause; /* its description */
} Add;

static void add_deinit(Add *add)
{
        setup_free(add->setup);
        answers_deinit(&add->answers);
        free(add->address);
        free(add->account);
        json_object_put(add->details);
        json_object_put(add->run);
        json_object_put(add->cause);
}

/* --- beginning --------------------------------------------------------------------------------------------------- */

static int read_options(Add *add, json_object **ret)
{
        static const char *const flags[] = { KEY_RECEIVE_ONLY, KEY_DELETE_VERIFICATION,
                                             KEY_DRY_RUN };
        static const char *const protocols[] = { "pop3", "imap", "auto", NULL };
        _cleanup_json_ json_object *options = json_object_new_object();
        int r;

        r = argument_check(add->cli, add->arguments, KEY_PROTOCOL, protocols);
        if (r == 0)
                r = servers_from_options(add->cli, add->arguments, options);
        if (r)
                return r;
        if (argument_given(add->arguments, KEY_PROTOCOL))
                value_set_text(options, KEY_PROTOCOL, argument_text(add->arguments, KEY_PROTOCOL));
        for (size_t i = 0; i < ELEMENTS(flags); i++)
                if (argument_given(add->arguments, flags[i]))
                        json_object_object_add(options, flags[i], json_object_new_boolean(true));
        if (argument_given(add->arguments, KEY_RECEIVE_ONLY))
                json_object_object_del(options, KEY_OUTGOING);
        *ret = TAKE(options);
        return 0;
}

/* One address may have a second account with another server or user; without such a wish it would end at Commit, after all
 * the work: better said at once. */
static int check_new(Add *add, sd_bus_error *error)
{
        _cleanup_free_ char *path = NULL, *text = NULL;
        int r;

        if (argument_given(add->arguments, KEY_INCOMING) ||
            argument_given(add->arguments, "user-name") ||
            argument_given(add->arguments, KEY_DRY_RUN))
                return 0;
        r = account_path_by_address(add->cli, add->address, &path, error);
        if (r || !path)
                return r;
        if (asprintf(&text, "%s is set up already; \"waypost doctor %s\" checks it.", add->address,
                     add->address) < 0)
                text = NULL;
        output_error(add->cli, ERROR_ACCOUNT_EXISTS, text ?: "No memory.");
        return EXIT_USER_ACTION;
}

static int start(Add *add, json_object *options, sd_bus_error *error)
{
        int r = check_new(add, error);

        return r ?: setup_start_address(&add->setup, add->cli, add->address, options, error);
}

static int start_given(Add *add, json_object *options)
{
        add->address = strdup(add->arguments->operands[0]);
        return add->address ? start(add, options, NULL) : cli_failed(add->cli, -ENOMEM, "Starting");
}

/* Asks until it is an address; what is in add->address already is tried without. */
static int start_asked(Add *add, json_object *options, const char *question)
{
        _cleanup_lines_ Lines above = {};

        lines_add(&above, RANK_STAYS, "%s", question);
        for (;;) {
                _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
                _cleanup_free_ char *message = NULL;
                int r = 0;

                if (!add->address)
                        r = ask_text(add->cli, &above, "Address:", NULL, &add->address);
                if (r)
                        return r;
                if (!add->address || !*add->address)
                        return EXIT_NEEDED;
                r = start(add, options, &error);
                if (r != CALL_REFUSED)
                        return r;
                if (!sd_bus_error_has_name(&error, ERROR_INVALID_ADDRESS))
                        return cli_refused(add->cli, &error);
                free(TAKE(add->address));
                lines_deinit(&above);
                message = text_printable(error.message ?: "");
                lines_wrap(&above, output_columns(add->cli), "", message ?: "");
                lines_add(&above, RANK_STAYS, "It looks like name@example.org.");
        }
}

static void print_address(Add *add)
{
        output_progress(add->cli, "%s%s%s\n", output_colour(add->cli, COLOUR_BOLD), add->address,
                        output_colour(add->cli, COLOUR_NONE));
}

static int begin(Add *add, json_object *options)
{
        int r;

        if (add->arguments->n_operands > 0)
                r = start_given(add, options);
        else
                r = start_asked(add, options, "Which mail address shall be set up?");
        if (r == 0)
                print_address(add);
        return r;
}

/* All over with the other address that was typed; nothing of the first one stays. */
static int begin_again(Add *add, json_object *options)
{
        int r;

        free(add->address);
        add->address = TAKE(add->setup->other_address);
        setup_cancel(add->setup);
        add->setup = setup_free(add->setup);
        output_progress(add->cli, "\n");
        r = start_asked(add, options, "");
        if (r == 0)
                print_address(add);
        return r;
}

/* Until an end with the address that stays. */
static int drive(Add *add, json_object *options, SetupEnd *ret)
{
        int r;

        for (;;) {
                r = wizard_drive(add->setup, &add->answers, ret);
                if (r || *ret != SETUP_END_ANOTHER)
                        return r;
                r = begin_again(add, options);
                if (r)
                        return r;
        }
}

/* --- the end ----------------------------------------------------------------------------------------------------- */

static int fetch(Add *add)
{
        int r;

        if (argument_given(add->arguments, "no-wait"))
                return 0;
        r = run_fetch(add->cli, add->account, true, &add->run);
        if (r)
                return r;
        run_print(add->cli, add->run);
        return run_conclude(add->cli, add->run);
}

static void print_what_next(Add *add)
{
        const char *location = value_text(add->details, "location"),
                   *address = value_text_or(add->details, "address", "");
        uint64_t interval = value_number(add->details, "interval", 0);
        char every[TEXT_SHORT];

        output_result(add->cli, "\n%s%s is set up.%s\n", output_colour(add->cli, COLOUR_BOLD),
                      address, output_colour(add->cli, COLOUR_NONE));
        if (location)
                output_result(add->cli, "  Its mail is in %s\n", location);
        if (interval)
                output_result(add->cli, "  It is fetched every %s from now on.\n",
                              text_duration(every, interval * USEC_PER_SEC));
        if (!value_flag(add->details, "can-send"))
                output_result(add->cli, "  Sending was not proved.\n");
        output_result(add->cli, "  \"waypost doctor %s\" tells what is wrong when mail stops.\n",
                      address);
}

/* From ready to the end; what happens now leaves an account behind. */
static int hand_over(Add *add, json_object *settings)
{
        SetupEnd end;
        int r, status;

        r = setup_commit(add->setup, settings, &add->account);
        if (r)
                return r;
        r = wizard_drive(add->setup, &add->answers, &end);
        if (r)
                return r;
        /* Without a proof that it sends, it still receives. */
        status = wizard_conclude(add->setup, end, "setup", &add->cause);
        if (status == EXIT_INTERRUPTED)
                return status;
        screen_end(add->cli);
        r = fetch(add);
        if (r == EXIT_INTERRUPTED || add->cli->gone)
                return r;
        if (account_read(add->cli, add->account, &add->details) == 0)
                print_what_next(add);
        return status ?: r;
}

static void print_json(Add *add)
{
        _cleanup_json_ json_object *more = json_object_new_object();

        if (add->account)
                value_set_text(more, "account", add->account);
        value_set_from(more, "id", add->details);
        value_set_from(more, "location", add->details);
        json_object_object_add(more, "run", json_object_get(add->run));
        setup_print_json(add->setup, add->cause, more);
}

static void interrupted(Cli *cli, bool committed)
{
        screen_end(cli);
        if (committed)
                output_note(cli, "Interrupted. The account is added and stays; \"waypost remove\" "
                                 "takes it away.\n");
        else
                output_note(cli, "Interrupted. Nothing was added.\n");
}

static int work(Add *add, json_object *options, json_object *settings)
{
        bool dry = argument_given(add->arguments, KEY_DRY_RUN);
        SetupEnd end;
        int r;

        r = drive(add, options, &end);
        if (r == 0)
                r = wizard_conclude(add->setup, end, "setup", &add->cause);
        if (r == 0 && dry) {
                screen_end(add->cli);
                output_result(add->cli,
                              "\nAll of it works. Nothing was added: this was a dry run.\n");
        }
        if (r == 0 && !dry)
                r = hand_over(add, settings);
        if (r == EXIT_INTERRUPTED)
                interrupted(add->cli, add->setup && setup_is_committed(add->setup));
        if (!add->setup)
                return r;
        print_json(add);
        setup_cancel(add->setup);
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_(add_deinit) Add add = { .cli = cli, .arguments = arguments };
        _cleanup_json_ json_object *options = NULL, *settings = NULL;
        int r;

        if (arguments->n_operands == 0 && !cli->interactive)
                return usage_error(cli, arguments->verb, "What is missing: ADDRESS");
        r = read_options(&add, &options);
        if (r == 0)
                r = settings_read(cli, arguments, &settings);
        if (r == 0)
                r = answers_read(cli, arguments, &add.answers);
        if (r == 0)
                r = cli_open(cli);
        add.answers.may_retry = add.answers.may_set_servers = add.answers.may_start_over = true;
        if (r == 0)
                r = begin(&add, options);
        if (r == EXIT_INTERRUPTED)
                interrupted(cli, false);
        return r ?: work(&add, options, settings);
}

static const Option options[] = {
        ANSWER_OPTIONS,
        { "incoming", 0, "HOST:PORT/SECURITY",
          "The server to fetch from; SECURITY is tls or starttls" },
        { "outgoing", 0, "HOST:PORT/SECURITY", "The server to send through" },
        { "user-name", 0, "NAME", "The name to sign in with, if not the address" },
        { "protocol", 0, "pop3|imap|auto",
          "What mail is fetched by; auto: POP3 where there is both" },
        { "receive-only", 0, NULL, "Do not set up sending" },
        SETTING_OPTIONS,
        { "delete-verification", 0, NULL, "Delete the verification mail once it was found" },
        { "dry-run", 0, NULL, "Check everything, add nothing" },
        { "no-wait", 0, NULL, "Do not wait for the first fetch" },
        {},
};

const Verb verb_add = {
        .name = "add",
        .operands = "[ADDRESS]",
        .max_operands = 1,
        .summary = "Set up an account and fetch its mail from then on",
        .text = "Finds the servers, verifies each step, signs in, proves by a mail to yourself that\n"
                "mail flows both ways, and fetches for the first time. What is missing is asked for at\n"
                "the terminal, also the password, which is never taken from the command line.\n",
        .options = options,
        .run = run,
};
