/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost report: what was found and said, as a text for whoever shall help; it has no secrets. Of a setup under way as it stands; else of
 * a fresh check. Standard output is for the text alone. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/account.h"
#include "cli/check.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

/* The path of the setup under way that @name means, by address or path; NULL for none. */
static int find_setup(Cli *cli, const char *name, char **ret)
{
        _cleanup_json_ json_object *objects = NULL;
        int r;

        r = objects_read(cli, &objects);
        if (r)
                return r;
        *ret = NULL;
        json_object_object_foreach(objects, path, interfaces)
        {
                json_object *setup = value_object(interfaces, INTERFACE_SETUP);
                const char *state = value_text_or(setup, "State", "");

                if (!setup || *ret || strcmp(state, SETUP_SUCCEEDED) == 0 ||
                    strcmp(state, SETUP_CANCELLED) == 0)
                        continue;
                if (strcmp(path, name) == 0 ||
                    strcasecmp(value_text_or(setup, "Address", ""), name) == 0)
                        *ret = strdup(path);
        }
        return 0;
}

/* Servers' words are in it: nothing of them may steer the terminal. */
static void print_lines(Cli *cli, char *text)
{
        for (char *line = text, *end; *line; line = end) {
                _cleanup_free_ char *printable = NULL;

                end = line + strcspn(line, "\n");
                if (*end)
                        *end++ = '\0';
                printable = text_printable(line);
                output_result(cli, "%s\n", printable ?: "");
        }
}

static int print(Cli *cli, Setup *setup)
{
        _cleanup_json_ json_object *object = json_object_new_object();
        _cleanup_free_ char *text = NULL;
        int r;

        r = setup_report(setup, &text);
        if (r)
                return r;
        screen_end(cli);
        value_set_text(object, "report", text);
        output_json_if_asked(cli, object);
        print_lines(cli, text);
        return 0;
}

/* The end of the check is in the text: it is no failure of ours to have found a cause. */
static int report_of_check(Cli *cli, const Arguments *arguments)
{
        _cleanup_answers_ Answers answers = { .password_optional = true };
        _cleanup_setup_ Setup *setup = NULL;
        bool probe;
        SetupEnd end;
        int r;

        r = answers_read(cli, arguments, &answers);
        if (r == 0)
                r = check_start(cli, arguments, &setup, &probe, NULL);
        if (r)
                return r;
        output_progress(cli, "%s\n", arguments->operands[0]);
        r = wizard_drive(setup, &answers, &end);
        if (r == 0)
                r = print(cli, setup);
        setup_cancel(setup);
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_setup_ Setup *setup = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = find_setup(cli, arguments->operands[0], &path);
        if (r)
                return r;
        if (!path)
                return report_of_check(cli, arguments);
        r = setup_follow(&setup, cli, path);
        return r ?: print(cli, setup);
}

static const Option options[] = {
        ANSWER_OPTIONS,
        CHECK_OPTIONS,
        {},
};

const Verb verb_report = {
        .name = "report",
        .operands = "ADDRESS|ACCOUNT|HOST:PORT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Write what was found as a text for whoever shall help",
        .text = "A setup under way is told as it stands. Else everything is checked anew, as doctor\n"
                "does. The text has no passwords, but addresses and what the servers said.\n",
        .options = options,
        .run = run,
        .text_only = true,
};
