/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost discover: which servers an address has, who says so, and what to know before using them. Nobody signs in and no mail server is
 * talked to; every source is heard to its end. */
#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "cli/wizard.h"
#include "dbus/names.h"

/* "pop.example.org:995/tls" */
static void add_server(Table *table, json_object *server)
{
        char text[320] = "-";

        if (server)
                snprintf(text, sizeof(text), "%s:%u/%s", value_text_or(server, KEY_HOST, ""),
                         (unsigned) value_number(server, KEY_PORT, 0),
                         value_text_or(server, KEY_SECURITY, ""));
        table_add(table, text);
}

/* Where nobody vouches for a server, its owner has to be approved before a password goes there. */
static const char *trust_of(json_object *candidate)
{
        json_object *incoming = value_object(candidate, KEY_INCOMING),
                    *outgoing = value_object(candidate, KEY_OUTGOING);
        const char *in = value_text_or(incoming, KEY_TRUST, "-"),
                   *out = value_text_or(outgoing, KEY_TRUST, "-");

        if (strcmp(in, "none") == 0 || strcmp(out, "none") == 0)
                return "to be approved";
        return incoming ? in : out;
}

static void print_candidates(Cli *cli, json_object *candidates)
{
        static const char *const heads[] = { "SOURCE", "TRUST", "INCOMING", "OUTGOING", "USER" };
        _cleanup_table_ Table table = {};

        if (value_length(candidates) == 0)
                return;
        table_init(&table, heads, ELEMENTS(heads));
        for (size_t i = 0; i < value_length(candidates); i++) {
                json_object *c = json_object_array_get_idx(candidates, i),
                            *incoming = value_object(c, KEY_INCOMING),
                            *outgoing = value_object(c, KEY_OUTGOING);

                table_add(&table, value_text_or(c, KEY_SOURCE, "-"));
                table_add(&table, trust_of(c));
                add_server(&table, incoming);
                add_server(&table, outgoing);
                table_add(&table, value_text_or(incoming ? incoming : outgoing, KEY_USER, "-"));
        }
        output_result(cli, "\n");
        table_print(cli, &table);
}

static void print_list(Cli *cli, const char *title, json_object *list)
{
        if (value_length(list) == 0)
                return;
        output_result(cli, "\n%s\n", title);
        for (size_t i = 0; i < value_length(list); i++)
                output_result(cli, "  %s\n", value_item(list, i));
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

        print_candidates(cli, value_list(setup->properties, "candidates"));
        print_list(cli, "To know before", value_list(evidence, KEY_HINTS));
        if (filter)
                output_result(
                        cli, "\nMail for this domain passes through %s, which hides its servers.\n",
                        filter);
        print_list(cli, "Sources", value_list(evidence, KEY_SOURCES));
        print_list(cli, "Who was told what", value_list(evidence, KEY_DISCLOSED));
}

/* What stands instead of servers. */
static void print_instead(Cli *cli, Setup *setup)
{
        json_object *evidence = discovery_evidence(setup);
        const char *suggestion = value_text(evidence, KEY_SUGGESTION),
                   *alternative = value_text(evidence, KEY_ALTERNATIVE),
                   *page = value_text(evidence, KEY_HINT_URL);

        if (suggestion)
                output_result(cli, "Did you mean %s?\n", suggestion);
        if (alternative)
                output_result(cli, "%s%s%s\n", alternative, page ? " " : "", page ? page : "");
}

static int conclude(Cli *cli, Setup *setup, SetupEnd end, json_object **cause)
{
        int r;

        screen_end(cli);
        print_found(cli, setup);
        r = wizard_conclude(setup, end, "search", cause);
        if (*cause)
                print_instead(cli, setup);
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *cause = NULL, *options = json_object_new_object();
        _cleanup_answers_ Answers answers = {};
        _cleanup_setup_ Setup *setup = NULL;
        SetupEnd end;
        int r;

        json_object_object_add(options, KEY_DRY_RUN, json_object_new_boolean(true));
        value_set_text(options, KEY_UNTIL, "discovery");
        r = cli_open(cli);
        if (r == 0)
                r = setup_start_address(&setup, cli, arguments->operands[0], options, NULL);
        if (r)
                return r;
        r = wizard_drive(setup, &answers, &end);
        if (r == 0)
                r = conclude(cli, setup, end, &cause);
        setup_print_json(setup, cause, NULL);
        setup_cancel(setup);
        return r;
}

const Verb verb_discover = {
        .name = "discover",
        .operands = "ADDRESS",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show the servers of an address, and who says so",
        .text = "All sources are asked: the provider table, the provider itself, the ISPDB, DNS. The\n"
                "best comes first. No mail server is contacted, and nothing is changed.\n",
        .run = run,
};
