/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost doctor: what works, what does not, why, and what to do. Changes nothing: an account is checked with its own servers
 * and stored password, another address in a dry run, a server alone without an account. */
#include <errno.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/server.h"
#include "cli/setup.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

/* A dictionary for StartSetup or Probe from what the options say. */
static int read_options(Cli *cli, const Arguments *arguments, json_object *to)
{
        static const char *const sides[] = { KEY_INCOMING, KEY_OUTGOING };
        const char *user = argument_text(arguments, "user-name");

        json_object_object_add(to, KEY_DRY_RUN, json_object_new_boolean(true));
        for (size_t i = 0; i < ELEMENTS(sides); i++) {
                const char *text = argument_text(arguments, sides[i]);
                json_object *server = NULL;
                int r;

                if (text) {
                        r = server_parse(cli, arguments->verb, sides[i], text, &server);
                        if (r)
                                return r;
                } else if (user) {
                        server = json_object_new_object();
                }
                if (user)
                        value_set_text(server, KEY_USER, user);
                if (server)
                        json_object_object_add(to, sides[i], server);
        }
        return 0;
}

static int call_start(Cli *cli, const Arguments *arguments, const char *address,
                      sd_bus_message **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_json_ json_object *options = json_object_new_object();
        int r;

        r = read_options(cli, arguments, options);
        if (r == 0)
                r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "StartSetup");
        if (r)
                return r;
        r = sd_bus_message_append(m, "s", address);
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        *ret = TAKE(m);
        return 0;
}

static int call_probe(Cli *cli, const Arguments *arguments, const char *text, sd_bus_message **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_json_ json_object *server = NULL, *options = json_object_new_object();
        const char *protocol = argument_text(arguments, KEY_PROTOCOL), *security;
        int r;

        r = server_parse(cli, arguments->verb, "doctor", text, &server);
        if (r == 0)
                r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "Probe");
        if (r)
                return r;
        security = value_text(server, KEY_SECURITY);
        if (security)
                value_set_text(options, KEY_SECURITY, security);
        if (protocol)
                value_set_text(options, KEY_PROTOCOL, protocol);
        r = sd_bus_message_append(m, "sq", value_text_or(server, KEY_HOST, ""),
                                  (uint16_t) value_number(server, KEY_PORT, 0));
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        *ret = TAKE(m);
        return 0;
}

static int call_check(Cli *cli, const char *path, sd_bus_message **ret)
{
        return cli_message(cli, ret, path, INTERFACE_ACCOUNT, "Check");
}

static int choose(Cli *cli, const Arguments *arguments, sd_bus_message **ret, bool *ret_probe)
{
        _cleanup_json_ json_object *account = NULL;
        _cleanup_free_ char *path = NULL;
        const char *what = arguments->operands[0];
        int r;

        *ret_probe = server_looks_like(what);
        if (*ret_probe)
                return call_probe(cli, arguments, what, ret);
        if (!strchr(what, '@')) {
                r = account_find(cli, what, &account);
                return r ?: call_check(cli, value_text_or(account, "path", "/"), ret);
        }
        r = account_path_by_address(cli, what, &path);
        if (r)
                return r;
        return path ? call_check(cli, path, ret) : call_start(cli, arguments, what, ret);
}

typedef struct Doctor {
        Setup *setup;
        json_object *cause;
        bool probe;
} Doctor;

static void doctor_deinit(Doctor *doctor)
{
        setup_free(doctor->setup);
        json_object_put(doctor->cause);
}

static bool only_password_needed(Setup *setup)
{
        json_object *needs = value_list(setup_properties(setup), "needs");

        for (size_t i = 0; i < value_length(needs); i++)
                if (strcmp(value_text_or(json_object_array_get_idx(needs, i), "kind", ""),
                           NEED_PASSWORD) != 0)
                        return false;
        return true;
}

static void print_fine(Cli *cli, const Doctor *doctor)
{
        output_result(cli, "\n%s%s%s\n", output_result_colour(cli, COLOUR_GREEN),
                      doctor->probe ? "The server answers as it should; nobody signed in."
                                    : "All of it works.",
                      output_result_colour(cli, COLOUR_NONE));
}

static int conclude_needed(Cli *cli, Doctor *doctor)
{
        bool password = only_password_needed(doctor->setup);

        /* A server alone was asked about: what could be seen without a password was seen. */
        if (password && doctor->probe) {
                print_fine(cli, doctor);
                return 0;
        }
        if (password)
                output_result(cli, "\nSo far it works.\n");
        setup_print_needs(doctor->setup);
        return EXIT_NEEDED;
}

static int conclude(Cli *cli, Doctor *doctor, SetupEnd end)
{
        int r;

        r = setup_cause(doctor->setup, &doctor->cause);
        if (r)
                return r;
        switch (end) {
        case SETUP_END_READY:
        case SETUP_END_SUCCEEDED:
                print_fine(cli, doctor);
                return 0;
        case SETUP_END_CANCELLED:
                output_note(cli, "waypost: The check was cancelled.\n");
                return EXIT_OURS;
        case SETUP_END_NEEDED:
                return conclude_needed(cli, doctor);
        case SETUP_END_FAILED:
                break;
        }
        if (!doctor->cause) {
                output_note(cli, "waypost: The check failed without a cause.\n");
                return EXIT_OURS;
        }
        setup_print_cause(doctor->setup, doctor->cause);
        return cause_exit(doctor->cause);
}

static void print_json(Cli *cli, Doctor *doctor)
{
        _cleanup_json_ json_object *object = json_object_new_object();

        if (!cli->json || cli->json_done || !setup_properties(doctor->setup))
                return;
        setup_to_json(doctor->setup, doctor->cause, object);
        output_json(cli, object);
}

static int run(Cli *cli, const Arguments *arguments)
{
        static const char *const protocols[] = { "pop3", "smtp", NULL };
        _cleanup_(doctor_deinit) Doctor doctor = {};
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_answers_ Answers answers = {};
        SetupEnd end;
        int r;

        r = argument_check(cli, arguments, KEY_PROTOCOL, protocols);
        if (r == 0)
                r = answers_read(cli, arguments, &answers);
        if (r == 0)
                r = cli_open(cli);
        if (r == 0)
                r = choose(cli, arguments, &m, &doctor.probe);
        if (r)
                return r;
        answers.password_optional = true;
        r = setup_start(&doctor.setup, cli, m, NULL);
        if (r)
                return r;
        output_progress(cli, "%s\n", arguments->operands[0]);
        r = setup_drive(doctor.setup, &answers, &end);
        if (r == 0)
                r = conclude(cli, &doctor, end);
        print_json(cli, &doctor);
        setup_cancel(doctor.setup);
        return r;
}

static const Option options[] = {
        { "password-file", 0, "FILE", "Read the password from FILE (- is standard input)" },
        { "outgoing-password-file", 0, "FILE", "Another password for sending" },
        { "incoming", 0, "HOST:PORT/SECURITY", "Check this server instead of the one found" },
        { "outgoing", 0, "HOST:PORT/SECURITY", "Likewise for sending" },
        { "user-name", 0, "NAME", "The name to sign in with, if not the address" },
        { "protocol", 0, "pop3|smtp", "What HOST:PORT speaks, if the port does not tell" },
        { "yes", 'y', NULL, "Approve servers of other domains (never certificates)" },
        { "approve-certificate", 0, "SHA256", "Accept the certificate with this SPKI SHA-256" },
        {},
};

const Verb verb_doctor = {
        .name = "doctor",
        .operands = "ADDRESS|HOST:PORT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Find out what works, what does not, why, and what to do",
        .text = "An account is checked with its own servers and stored password. Any other address\n"
                "is tried without adding it; without a password, up to the sign-in. HOST:PORT, or\n"
                "HOST:PORT/starttls, is looked at alone. Nothing is changed.\n",
        .options = options,
        .run = run,
};
