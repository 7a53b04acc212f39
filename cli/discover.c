/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost discover: which servers an address has, who says so, and what to know before using them. Nobody signs in and no mail server is
 * talked to; every source is heard to its end. */
#include <stdio.h>
#include <string.h>

#include "cli/candidate.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

enum { NAME_COLUMNS = 15 };

static void print_candidates(Cli *cli, json_object *candidates, const char *address)
{
        _cleanup_lines_ Lines lines = {};

        if (value_length(candidates) == 0)
                return;
        output_result(cli, "\nServers, the best first\n");
        for (size_t i = 0; i < value_length(candidates); i++)
                candidate_lines(cli, &lines, i, json_object_array_get_idx(candidates, i), address);
        output_result_lines(cli, &lines);
}

/* "srv: 2 found, 12 ms": who, after which time, what. */
static void add_source(Cli *cli, Lines *lines, const char *line)
{
        const char *what = strstr(line, ": "), *end = what ? strrchr(what, ',') : NULL;
        _cleanup_free_ char *said = NULL;
        char first[64];

        if (!what)
                return;
        /* What was not waited for has no time. */
        if (!end || strstr(end, " ms") == NULL)
                end = what + strlen(what);
        said = strndup(what + 2, (size_t) (end - what - 2));
        snprintf(first, sizeof(first), "  %-*.*s %8s  ", NAME_COLUMNS, (int) (what - line), line,
                 *end ? end + 2 : "-");
        if (said)
                lines_wrap(lines, output_columns(cli), first, said);
}

static void print_sources(Cli *cli, json_object *sources)
{
        _cleanup_lines_ Lines lines = {};

        if (value_length(sources) == 0)
                return;
        output_result(cli, "\nWho was asked, and what they said\n");
        for (size_t i = 0; i < value_length(sources); i++)
                add_source(cli, &lines, value_item(sources, i));
        output_result_lines(cli, &lines);
}

static void print_list(Cli *cli, const char *title, json_object *list)
{
        _cleanup_lines_ Lines lines = {};

        if (value_length(list) == 0)
                return;
        output_result(cli, "\n%s\n", title);
        for (size_t i = 0; i < value_length(list); i++)
                lines_wrap(&lines, output_columns(cli), "  ", value_item(list, i));
        output_result_lines(cli, &lines);
}

static json_object *discovery_evidence(Setup *setup)
{
        json_object *steps = setup_steps(setup);

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (strcmp(value_text_or(step, KEY_ID, ""), "discovery") == 0)
                        return value_object(step, "evidence");
        }
        return NULL;
}

static void print_found(Cli *cli, Setup *setup)
{
        json_object *evidence = discovery_evidence(setup);
        const char *filter = value_text(evidence, KEY_FILTER);

        print_candidates(cli, value_list(setup->properties, "candidates"),
                         value_text_or(setup->properties, "address", ""));
        print_list(cli, "To know before", value_list(evidence, KEY_HINTS));
        if (filter)
                output_result(
                        cli, "\nMail for this domain passes through %s, which hides its servers.\n",
                        filter);
        print_sources(cli, value_list(evidence, KEY_SOURCES));
        print_list(cli, "Who was told what", value_list(evidence, KEY_DISCLOSED));
}

static int conclude(Cli *cli, Setup *setup, SetupEnd end, json_object **cause)
{
        screen_end(cli);
        print_found(cli, setup);
        setup->sources_told = true;
        return wizard_conclude(setup, end, "search", cause);
}

static int run(Cli *cli, const Arguments *arguments)
{
        static const char *const protocols[] = { "pop3", "imap", "auto", NULL };
        _cleanup_json_ json_object *options = json_object_new_object();
        _cleanup_answers_ Answers answers = {};
        _cleanup_setup_ Setup *setup = NULL;
        int r;

        json_object_object_add(options, KEY_DRY_RUN, json_object_new_boolean(true));
        value_set_text(options, KEY_UNTIL, "discovery");
        if (argument_text(arguments, KEY_PROTOCOL))
                value_set_text(options, KEY_PROTOCOL, argument_text(arguments, KEY_PROTOCOL));
        r = argument_check(cli, arguments, KEY_PROTOCOL, protocols);
        if (r)
                return r;
        r = cli_open(cli);
        if (r == 0)
                r = setup_start_address(&setup, cli, arguments->operands[0], options, NULL);
        if (r)
                return r;
        return wizard_run(setup, &answers, conclude);
}

static const Option options[] = {
        { "protocol", 0, "pop3|imap|auto", "How the mail is to be fetched; default auto: both" },
        {},
};

const Verb verb_discover = {
        .name = "discover",
        .operands = "ADDRESS",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show the servers of an address, and who says so",
        .text = "All sources are asked: the provider table, the provider itself, the ISPDB, DNS. The\n"
                "best comes first. Nobody signs in, and nothing is changed.\n",
        .options = options,
        .run = run,
};
