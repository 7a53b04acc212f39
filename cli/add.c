/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost add: the whole way from an address to fetched mail. Naming the address is the consent: it ends with Commit. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/server.h"
#include "cli/setup.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

typedef struct Add {
        Cli *cli;
        const Arguments *arguments;
        Answers answers;
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
        free(add->account);
        json_object_put(add->details);
        json_object_put(add->run);
        json_object_put(add->cause);
}

static int add_server(Add *add, const char *side, json_object *options)
{
        const char *text = argument_text(add->arguments, side),
                   *user = argument_text(add->arguments, "user-name");
        _cleanup_json_ json_object *server = NULL;
        int r;

        if (!text && !user)
                return 0;
        r = text ? server_parse(add->cli, add->arguments->verb, side, text, &server) : 0;
        if (r)
                return r;
        if (!server)
                server = json_object_new_object();
        if (user)
                value_set_text(server, KEY_USER, user);
        json_object_object_add(options, side, TAKE(server));
        return 0;
}

static void add_flag(Add *add, const char *key, json_object *options)
{
        if (argument_given(add->arguments, key))
                json_object_object_add(options, key, json_object_new_boolean(true));
}

static int read_options(Add *add, json_object **ret)
{
        _cleanup_json_ json_object *options = json_object_new_object();
        int r;

        r = add_server(add, KEY_INCOMING, options);
        if (r == 0 && !argument_given(add->arguments, KEY_RECEIVE_ONLY))
                r = add_server(add, KEY_OUTGOING, options);
        if (r)
                return r;
        add_flag(add, KEY_RECEIVE_ONLY, options);
        add_flag(add, KEY_DELETE_VERIFICATION, options);
        add_flag(add, KEY_DRY_RUN, options);
        *ret = TAKE(options);
        return 0;
}

/* The service looks at it, too; here it is a usage error, before anything has begun. */
static int check_keep(Add *add, const char *keep)
{
        size_t digits = keep ? strspn(keep, "0123456789") : 0;

        if (!keep || strcmp(keep, "server") == 0 || strcmp(keep, "none") == 0 ||
            (digits > 0 && strcmp(keep + digits, "d") == 0))
                return 0;
        return usage_error(add->cli, add->arguments->verb,
                           "--keep takes server, none or days like 30d, not %s.", keep);
}

static int read_settings(Add *add, json_object **ret)
{
        _cleanup_json_ json_object *settings = json_object_new_object();
        const char *keep = argument_text(add->arguments, KEY_KEEP),
                   *name = argument_text(add->arguments, KEY_DISPLAY_NAME);
        uint64_t interval = 0;
        int r;

        r = check_keep(add, keep);
        if (r == 0)
                r = argument_number(add->cli, add->arguments, KEY_INTERVAL, 1, 7 * 86400,
                                    &interval);
        if (r)
                return r;
        if (keep)
                value_set_text(settings, KEY_KEEP, keep);
        if (name)
                value_set_text(settings, KEY_DISPLAY_NAME, name);
        if (interval)
                json_object_object_add(settings, KEY_INTERVAL, json_object_new_uint64(interval));
        *ret = TAKE(settings);
        return 0;
}

static int start(Add *add, json_object *options)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(add->cli, &m, PATH_ROOT, INTERFACE_MANAGER, "StartSetup");
        if (r)
                return r;
        r = sd_bus_message_append(m, "s", add->arguments->operands[0]);
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(add->cli, r, "Making a call");
        r = setup_start(&add->setup, add->cli, m, NULL);
        if (r == 0)
                output_progress(add->cli, "%s\n", add->arguments->operands[0]);
        return r;
}

/* Why it ended other than well: told, and the status for it. */
static int conclude(Add *add, SetupEnd end)
{
        int r;

        switch (end) {
        case SETUP_END_READY:
        case SETUP_END_SUCCEEDED:
                return 0;
        case SETUP_END_NEEDED:
                setup_print_needs(add->setup);
                return EXIT_NEEDED;
        case SETUP_END_CANCELLED:
                output_note(add->cli, "waypost: The setup was cancelled.\n");
                return EXIT_OURS;
        case SETUP_END_FAILED:
                r = setup_cause(add->setup, &add->cause);
                if (r)
                        return r;
                if (!add->cause) {
                        output_note(add->cli, "waypost: The setup failed without a cause.\n");
                        return EXIT_OURS;
                }
                setup_print_cause(add->setup, add->cause);
                return cause_exit(add->cause);
        }
        return EXIT_OURS;
}

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

        output_result(add->cli, "\n%s%s is set up.%s\n",
                      output_result_colour(add->cli, COLOUR_BOLD), address,
                      output_result_colour(add->cli, COLOUR_NONE));
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
        r = setup_drive(add->setup, &add->answers, &end);
        if (r)
                return r;
        /* Without a proof that it sends, it still receives. */
        status = conclude(add, end);
        if (status == EXIT_INTERRUPTED)
                return status;
        r = fetch(add);
        if (r == EXIT_INTERRUPTED || add->cli->gone)
                return r;
        if (account_read(add->cli, add->account, &add->details) == 0)
                print_what_next(add);
        return status ?: r;
}

static void print_json(Add *add)
{
        _cleanup_json_ json_object *object = json_object_new_object();

        if (!add->cli->json || add->cli->json_done || !setup_properties(add->setup))
                return;
        setup_to_json(add->setup, add->cause, object);
        if (add->account)
                value_set_text(object, "account", add->account);
        value_set_from(object, "id", add->details);
        value_set_from(object, "location", add->details);
        json_object_object_add(object, "run", json_object_get(add->run));
        output_json(add->cli, object);
}

static void interrupted(Add *add)
{
        output_end_line(add->cli);
        if (setup_is_committed(add->setup))
                output_note(add->cli, "Interrupted. The account is added and stays; \"waypost "
                                      "remove\" takes it away.\n");
        else
                output_note(add->cli, "Interrupted. Nothing was added.\n");
}

/* One address may have a second account with another server or user; without such a wish it would end at Commit, after all
 * the work: better said at once. What FindAccount does not like, StartSetup will say better. */
static int check_new(Add *add)
{
        _cleanup_free_ char *path = NULL, *text = NULL;
        const char *address = add->arguments->operands[0];
        int r;

        if (argument_given(add->arguments, KEY_INCOMING) ||
            argument_given(add->arguments, "user-name") ||
            argument_given(add->arguments, KEY_DRY_RUN))
                return 0;
        r = account_path_by_address(add->cli, address, &path);
        if (r || !path)
                return r;
        if (asprintf(&text, "%s is set up already; \"waypost doctor %s\" checks it.", address,
                     address) < 0)
                text = NULL;
        output_error(add->cli, ERROR_ACCOUNT_EXISTS, text ?: "No memory.");
        return EXIT_USER_ACTION;
}

static int work(Add *add, json_object *options, json_object *settings)
{
        bool dry = argument_given(add->arguments, KEY_DRY_RUN);
        SetupEnd end;
        int r;

        r = check_new(add);
        if (r == 0)
                r = start(add, options);
        if (r)
                return r;
        r = setup_drive(add->setup, &add->answers, &end);
        if (r == 0)
                r = conclude(add, end);
        if (r == 0 && dry)
                output_result(add->cli,
                              "\nAll of it works. Nothing was added: this was a dry run.\n");
        if (r == 0 && !dry)
                r = hand_over(add, settings);
        if (r == EXIT_INTERRUPTED)
                interrupted(add);
        print_json(add);
        setup_cancel(add->setup);
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_(add_deinit) Add add = { .cli = cli, .arguments = arguments };
        _cleanup_json_ json_object *options = NULL, *settings = NULL;
        int r;

        r = read_options(&add, &options);
        if (r == 0)
                r = read_settings(&add, &settings);
        if (r == 0)
                r = answers_read(cli, arguments, &add.answers);
        if (r == 0)
                r = cli_open(cli);
        return r ?: work(&add, options, settings);
}

static const Option options[] = {
        { "password-file", 0, "FILE", "Read the password from FILE (- is standard input)" },
        { "outgoing-password-file", 0, "FILE", "Another password for sending" },
        { "incoming", 0, "HOST:PORT/SECURITY",
          "The server to fetch from; SECURITY is tls or starttls" },
        { "outgoing", 0, "HOST:PORT/SECURITY", "The server to send through" },
        { "user-name", 0, "NAME", "The name to sign in with, if not the address" },
        { "receive-only", 0, NULL, "Do not set up sending" },
        { "yes", 'y', NULL, "Approve servers of other domains (never certificates)" },
        { "approve-certificate", 0, "SHA256", "Accept the certificate with this SPKI SHA-256" },
        { "keep", 0, "server|none|Nd", "Leave fetched mail on the server (default), delete it, or after N days" },
        { "interval", 0, "SECONDS", "How often to fetch" },
        { "display-name", 0, "TEXT", "Your name in mail that you send" },
        { "delete-verification", 0, NULL, "Delete the verification mail once it was found" },
        { "dry-run", 0, NULL, "Check everything, add nothing" },
        { "no-wait", 0, NULL, "Do not wait for the first fetch" },
        {},
};

const Verb verb_add = {
        .name = "add",
        .operands = "ADDRESS",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Set up an account and fetch its mail from then on",
        .text = "Finds the servers, verifies each step, signs in, proves by a mail to yourself that\n"
                "mail flows both ways, and fetches for the first time. Without --password-file the\n"
                "password is asked for at the terminal, never taken from the command line.\n",
        .options = options,
        .run = run,
};
