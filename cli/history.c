/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost history: the last fetches of one account, the newest first. */
#include <errno.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static void print_table(Cli *cli, json_object *runs)
{
        static const char *const heads[] = { "STARTED",   "TOOK",  "THERE", "NEW",
                                             "DELIVERED", "BYTES", "WHY",   "RESULT" };
        _cleanup_table_ Table table;

        table_init(&table, heads, ELEMENTS(heads));
        for (size_t i = 0; i < value_length(runs); i++) {
                json_object *run = json_object_array_get_idx(runs, i);
                uint64_t started = value_number(run, KEY_STARTED, 0),
                         ended = value_number(run, KEY_ENDED, 0);
                char buffer[TEXT_SHORT];

                table_add(&table, text_time(buffer, started));
                table_add(&table, ended >= started ? text_duration(buffer, ended - started) : "-");
                table_add_number(&table, value_number(run, KEY_LISTED, 0));
                table_add_number(&table, value_number(run, KEY_FRESH, 0));
                table_add_number(&table, value_number(run, KEY_DELIVERED, 0));
                table_add(&table, text_size(buffer, value_number(run, KEY_BYTES, 0)));
                table_add(&table, value_flag(run, KEY_MANUAL) ? "asked" : "planned");
                table_add(&table, value_text(run, KEY_CAUSE) ?: ended ? "ok" : "running");
        }
        table_print(cli, &table);
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *runs = NULL;
        uint64_t count = 20;
        int r;

        r = argument_number(cli, arguments, "number", 1, 100000, &count);
        if (r == 0)
                r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = history_read(cli, value_text_or(account, "path", "/"), count, &runs);
        if (r)
                return r;
        if (cli->json)
                output_json(cli, runs);
        else if (value_length(runs) == 0)
                output_note(cli, "It has not been fetched yet.\n");
        else
                print_table(cli, runs);
        return 0;
}

static const Option options[] = {
        { "number", 'n', "N", "How many at most (20)" },
        {},
};

const Verb verb_history = {
        .name = "history",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show the last fetches of one account",
        .options = options,
        .run = run,
};
