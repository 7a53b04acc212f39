/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost list: one line for each account. */
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"

static void print_table(Cli *cli, json_object *accounts)
{
        static const char *const heads[] = { "ADDRESS",      "STATE",    "CAUSE",
                                             "LAST SUCCESS", "NEXT RUN", "ID" };
        _cleanup_table_ Table table;
        uint64_t now = text_now();

        table_init(&table, heads, ELEMENTS(heads));
        for (size_t i = 0; i < value_length(accounts); i++) {
                json_object *a = json_object_array_get_idx(accounts, i);
                uint64_t next = value_number(a, "next-run", 0);
                char buffer[TEXT_SHORT];

                table_add(&table, value_text_or(a, "address", "?"));
                table_add(&table, value_text_or(a, "state", "?"));
                table_add(&table, value_text_or(a, "cause", "-"));
                table_add(&table, text_when(buffer, value_number(a, "last-success", 0), now));
                table_add(&table, next ? text_when(buffer, next, now) : "-");
                snprintf(buffer, sizeof(buffer), "%.8s", value_text_or(a, "id", "?"));
                table_add(&table, buffer);
        }
        table_print(cli, &table);
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *accounts = NULL;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = accounts_read(cli, &accounts);
        if (r)
                return r;
        if (cli->json)
                output_json(cli, accounts);
        else if (value_length(accounts) == 0)
                output_note(cli, "There is no account yet; \"waypost add ADDRESS\" makes one.\n");
        else
                print_table(cli, accounts);
        return 0;
}

const Verb verb_list = {
        .name = "list",
        .operands = "",
        .summary = "List your accounts and how they are",
        .run = run,
};
