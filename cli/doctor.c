/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost doctor: what works, what does not, why, and what to do. Changes nothing: an account is checked with its own servers
 * and stored password, another address in a dry run, a server alone without an account. */
#include <stdio.h>
#include <string.h>

#include "cli/cause.h"
#include "cli/check.h"
#include "cli/output.h"
#include "cli/picture.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/warning.h"
#include "cli/wizard.h"
#include "dbus/names.h"

enum { WATCH_MIN = 5, WATCH_MAX = 86400 };

/* One look. */
typedef struct Doctor {
        Setup *setup;
        json_object *cause, *warnings, *account; /* the account's properties; NULL: it is none */
        SetupEnd end;
        bool probe;
} Doctor;

static void doctor_deinit(Doctor *doctor)
{
        setup_free(doctor->setup);
        json_object_put(doctor->cause);
        json_object_put(doctor->warnings);
        json_object_put(doctor->account);
        *doctor = (Doctor){};
}

static bool only_password_needed(Setup *setup)
{
        json_object *needs = setup_needs(setup);

        for (size_t i = 0; i < value_length(needs); i++)
                if (strcmp(value_text_or(json_object_array_get_idx(needs, i), "kind", ""),
                           NEED_PASSWORD) != 0)
                        return false;
        return true;
}

static bool is_fine(const Doctor *doctor)
{
        switch (doctor->end) {
        case SETUP_END_READY:
        case SETUP_END_SUCCEEDED:
                return true;
        case SETUP_END_NEEDED:
                /* A server alone was asked about: what could be seen without a password was seen. */
                return doctor->probe && only_password_needed(doctor->setup);
        case SETUP_END_CANCELLED:
        case SETUP_END_ANOTHER:
        case SETUP_END_FAILED:
                return false;
        }
        return false;
}

/* --- exit statuses ------------------------------------------------------------------------------------------------- */

/* By the part of the code before the dot, from 10 on; documented in the manual, so only added to. */
static int family_exit(const char *code)
{
        static const char *const families[] = {
                "input",  "local",     "dns",      "net",    "tls",          "auth",
                "access", "limit",     "mailbox",  "server", "smtp",         "oauth",
                "fetch",  "discovery", "delivery", "policy", "verification",
        };

        for (size_t i = 0; code && i < ELEMENTS(families); i++) {
                size_t len = strlen(families[i]);

                if (strncmp(code, families[i], len) == 0 && code[len] == '.')
                        return 10 + (int) i;
        }
        return EXIT_PERMANENT;
}

static int doctor_exit(Cli *cli, const Arguments *arguments, const Doctor *doctor)
{
        const char *by = argument_text(arguments, "exit-by");

        if (is_fine(doctor))
                return 0;
        switch (doctor->end) {
        case SETUP_END_NEEDED:
                return EXIT_NEEDED;
        case SETUP_END_READY:
        case SETUP_END_SUCCEEDED:
        case SETUP_END_CANCELLED:
        case SETUP_END_ANOTHER:
                return EXIT_OURS;
        case SETUP_END_FAILED:
                break;
        }
        if (!doctor->cause)
                return EXIT_OURS;
        return by && strcmp(by, "family") == 0 ? family_exit(value_text(doctor->cause, KEY_CAUSE))
                                               : (int) cause_exit(doctor->cause);
}

/* --- one look ------------------------------------------------------------------------------------------------------ */

/* What the service does not even look at has a cause all the same. */
static int look_at_address(Cli *cli, const Arguments *arguments, const sd_bus_error *error,
                           Doctor *ret)
{
        _cleanup_json_ json_object *evidence = NULL;

        if (!sd_bus_error_has_name(error, ERROR_INVALID_ADDRESS))
                return cli_refused(cli, error);
        evidence = json_object_new_object();
        value_set_text(evidence, KEY_ADDRESS, arguments->operands[0]);
        ret->end = SETUP_END_FAILED;
        return cause_describe(cli, "input.address-syntax", evidence, &ret->cause);
}

/* What the account itself has to say besides: notes of its last run, a changed key. */
static int add_warnings(Cli *cli, Doctor *ret)
{
        json_object *codes = value_list(ret->account, "warnings");

        for (size_t i = 0; i < value_length(codes); i++) {
                _cleanup_json_ json_object *description = NULL;
                json_object *warning;
                int r;

                /* The step of this very check tells more. */
                if (strcmp(value_item(codes, i), "tls.cert-expiring") == 0)
                        continue;
                r = cause_describe(cli, value_item(codes, i), NULL, &description);
                if (r)
                        return r;
                warning = json_object_new_object();
                value_set_text(warning, "code", value_item(codes, i));
                value_set_text(warning, "step", NULL);
                value_set_text(warning, "text",
                               value_text_or(description, KEY_TITLE, value_item(codes, i)));
                json_object_array_add(ret->warnings, warning);
        }
        return 0;
}

static int look_at_account(Cli *cli, Doctor *ret)
{
        const char *path = value_text(ret->setup->properties, "account");
        int r;

        if (!path || strcmp(path, "/") == 0)
                return 0;
        r = cli_properties(cli, path, INTERFACE_ACCOUNT, &ret->account, NULL);
        return r ?: add_warnings(cli, ret);
}

/* One line on the account's life until now; NULL for none. */
static char *account_line(json_object *account)
{
        char success[TEXT_SHORT], next[TEXT_SHORT], since[TEXT_SHORT], *line = NULL;
        uint64_t now = text_now(), due = value_number(account, "next-run", 0);

        if (!account || asprintf(&line, "%s since %s; last fetched %s, next %s",
                                 value_text_or(account, "state", "?"),
                                 text_time(since, value_number(account, "since", 0)),
                                 text_when(success, value_number(account, "last-success", 0), now),
                                 due ? text_when(next, due, now) : "not planned") < 0)
                return NULL;
        return line;
}

static int look(Cli *cli, const Arguments *arguments, const Answers *answers, Doctor *ret)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = check_start(cli, arguments, &ret->setup, &ret->probe, &error);
        if (r == CALL_REFUSED)
                return look_at_address(cli, arguments, &error, ret);
        if (r)
                return r;
        /* The picture has them all; beside JSON they are told as they end. */
        if (!cli->json)
                setup_set_silent(ret->setup);
        r = wizard_drive(ret->setup, answers, &ret->end);
        screen_end(cli);
        if (r)
                return r;
        ret->warnings = warnings_of_steps(setup_steps(ret->setup));
        r = look_at_account(cli, ret);
        return r ?: setup_cause(ret->setup, &ret->cause);
}

static void print_json(const Doctor *doctor)
{
        _cleanup_json_ json_object *more = json_object_new_object();

        json_object_object_add(more, "warnings", json_object_get(doctor->warnings));
        setup_print_json(doctor->setup, doctor->cause, more);
}

static void print_look(Cli *cli, const Arguments *arguments, const Doctor *doctor)
{
        _cleanup_free_ char *below = account_line(doctor->account);

        picture_print(cli, arguments->operands[0], below,
                      doctor->setup ? doctor->setup->properties : NULL, doctor->cause,
                      doctor->warnings);
        if (is_fine(doctor))
                output_result(cli, "\n%s%s%s\n", output_colour(cli, COLOUR_GREEN),
                              doctor->probe ? "The server answers as it should; nobody signed in."
                                            : "All of it works.",
                              output_colour(cli, COLOUR_NONE));
        else if (doctor->end == SETUP_END_NEEDED) {
                if (only_password_needed(doctor->setup))
                        output_result(cli, "\nSo far it works.\n");
                setup_print_needs(doctor->setup);
        } else if (doctor->end == SETUP_END_CANCELLED)
                output_note(cli, "waypost: The check was cancelled.\n");
        else if (!doctor->cause)
                output_note(cli, "waypost: The check failed without a cause.\n");
}

/* --- over and over --------------------------------------------------------------------------------------------------- */

/* What one look is compared by with the next: {"state", "cause", step id: "status cause", "warning CODE": text}. */
static json_object *summary(const Doctor *doctor)
{
        json_object *properties = doctor->setup->properties, *to = json_object_new_object(),
                    *steps = value_list(properties, "steps");

        value_set_text(to, "result",
                       is_fine(doctor) ? "works"
                                       : value_text_or(properties, "cause", "unfinished"));
        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                _cleanup_free_ char *text = NULL;

                if (asprintf(&text, "%s %s", value_text_or(step, "status", ""),
                             value_text_or(step, KEY_CAUSE, "")) >= 0)
                        value_set_text(to, value_text_or(step, "id", "?"), text);
        }
        for (size_t i = 0; i < value_length(doctor->warnings); i++) {
                json_object *warning = json_object_array_get_idx(doctor->warnings, i);
                _cleanup_free_ char *key = NULL;

                if (asprintf(&key, "%s %s", value_text_or(warning, "step", ""),
                             value_text_or(warning, "code", "")) >= 0)
                        value_set_text(to, key, value_text(warning, "text"));
        }
        return to;
}

static void print_change(Cli *cli, const char *what, const char *before, const char *now)
{
        _cleanup_json_ json_object *line = NULL;
        char time[TEXT_SHORT];

        if (!cli->json) {
                output_result(cli, "%s  %-17s %s\n", text_time(time, text_now()), what,
                              now ?: "over");
                return;
        }
        line = json_object_new_object();
        json_object_object_add(line, "time", json_object_new_int64((int64_t) text_now()));
        value_set_text(line, "what", what);
        value_set_text(line, "before", before);
        value_set_text(line, "now", now);
        output_json_line(cli, line);
}

static void print_changes(Cli *cli, json_object *before, json_object *now)
{
        json_object_object_foreach(now, key, value)
        {
                const char *old = value_text(before, key), *new = json_object_get_string(value);

                if (!old || (new &&strcmp(old, new) != 0))
                        print_change(cli, key, old, new);
        }
        json_object_object_foreach(before, gone, unused)
        {
                (void) unused;
                if (!value_has(now, gone))
                        print_change(cli, gone, value_text(before, gone), NULL);
        }
}

static int wait_seconds(Cli *cli, uint64_t seconds)
{
        uint64_t until = text_now() + seconds * USEC_PER_SEC, now;
        int r = 0;

        while (r == 0 && (now = text_now()) < until)
                r = cli_wait(cli, until - now);
        return r;
}

static int watch(Cli *cli, const Arguments *arguments, const Answers *answers, uint64_t seconds)
{
        _cleanup_json_ json_object *before = NULL, *empty = json_object_new_object();
        int r = 0;

        while (r == 0) {
                _cleanup_(doctor_deinit) Doctor doctor = {};
                json_object *now;

                r = look(cli, arguments, answers, &doctor);
                if (doctor.setup && r == 0) {
                        now = summary(&doctor);
                        if (before)
                                print_changes(cli, before, now);
                        else if (cli->json)
                                print_changes(cli, empty, now);
                        else
                                print_look(cli, arguments, &doctor);
                        json_object_put(before);
                        before = now;
                }
                if (doctor.setup)
                        setup_cancel(doctor.setup);
                if (r == 0)
                        r = wait_seconds(cli, seconds);
        }
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        static const char *const exits[] = { "class", "family", NULL };
        _cleanup_(doctor_deinit) Doctor doctor = {};
        _cleanup_answers_ Answers answers = {};
        uint64_t seconds = 0;
        int r;

        r = argument_check(cli, arguments, "exit-by", exits);
        if (r == 0)
                r = argument_number(cli, arguments, "watch", WATCH_MIN, WATCH_MAX, &seconds);
        if (r == 0)
                r = answers_read(cli, arguments, &answers);
        if (r == 0)
                r = cli_open(cli);
        if (r)
                return r;
        answers.password_optional = true;
        if (seconds > 0)
                return watch(cli, arguments, &answers, seconds);
        r = look(cli, arguments, &answers, &doctor);
        if (r == 0) {
                print_look(cli, arguments, &doctor);
                r = doctor_exit(cli, arguments, &doctor);
        }
        if (doctor.setup) {
                print_json(&doctor);
                setup_cancel(doctor.setup);
        } else if (doctor.cause) {
                _cleanup_json_ json_object *object = json_object_new_object();

                value_set_text(object, KEY_STATE, SETUP_FAILED);
                cause_to_json(doctor.cause, object);
                output_json_if_asked(cli, object);
        }
        return r;
}

static const Option options[] = {
        ANSWER_OPTIONS,
        CHECK_OPTIONS,
        { "watch", 0, "SECONDS", "Look again and again, and print only what has changed" },
        { "exit-by", 0, "class|family",
          "What the exit status tells of the cause (default: class)" },
        {},
};

const Verb verb_doctor = {
        .name = "doctor",
        .operands = "ADDRESS|ACCOUNT|HOST:PORT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Find out what works, what does not, why, and what to do",
        .text = "An account is checked with its own servers and stored password. Any other address\n"
                "is tried without adding it; without a password, up to the sign-in. HOST:PORT, or\n"
                "HOST:PORT/starttls, is looked at alone. Nothing is changed.\n"
                "\nWith --exit-by=family the exit status tells the part of the cause's code before the dot:\n"
                "10 input, 11 local, 12 dns, 13 net, 14 tls, 15 auth, 16 access, 17 limit, 18 mailbox,\n"
                "19 server, 20 smtp, 21 oauth, 22 fetch, 23 discovery, 24 delivery, 25 policy,\n"
                "26 verification.\n",
        .options = options,
        .run = run,
};
