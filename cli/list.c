/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost list: one line for each account. When mail came last is read out of the last fetches. */
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

enum { RUNS = 200 }; /* as many as the service tells */

/* The end of the newest run that brought mail. */
static int add_last_mail(Cli *cli, json_object *account)
{
        _cleanup_json_ json_object *runs = NULL;
        json_object *last = NULL;
        int r;

        r = history_read(cli, value_text_or(account, "path", "/"), RUNS, &runs);
        if (r)
                return r;
        for (size_t i = 0; i < value_length(runs) && !last; i++) {
                json_object *run = json_object_array_get_idx(runs, i);

                if (value_number(run, KEY_DELIVERED, 0) > 0)
                        last = json_object_new_uint64(value_number(run, KEY_ENDED, 0));
        }
        json_object_object_add(account, "last-mail", last);
        return 0;
}

static void add_owner(Table *table, uint64_t uid)
{
        const struct passwd *user = getpwuid((uid_t) uid);
        char number[24];

        snprintf(number, sizeof(number), "%" PRIu64, uid);
        table_add(table, user ? user->pw_name : number);
}

static void print_table(Cli *cli, json_object *accounts)
{
        static const char *const heads[] = { "ADDRESS",  "STATE", "CAUSE", "LAST MAIL",
                                             "NEXT RUN", "ID",    "OWNER" };
        _cleanup_table_ Table table;
        uint64_t now = text_now();

        table_init(&table, heads, ELEMENTS(heads) - !cli->all);
        for (size_t i = 0; i < value_length(accounts); i++) {
                json_object *a = json_object_array_get_idx(accounts, i);
                uint64_t next = value_number(a, "next-run", 0),
                         last = value_number(a, "last-mail", 0);
                char buffer[TEXT_SHORT];

                table_add(&table, value_text_or(a, "address", "?"));
                table_add(&table, value_text_or(a, "state", "?"));
                table_add(&table, value_text_or(a, "cause", "-"));
                table_add(&table, last ? text_when(buffer, last, now) : "-");
                table_add(&table, next ? text_when(buffer, next, now) : "-");
                snprintf(buffer, sizeof(buffer), "%.8s", value_text_or(a, "id", "?"));
                table_add(&table, buffer);
                if (cli->all)
                        add_owner(&table, value_number(a, "owner", 0));
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
        for (size_t i = 0; r == 0 && i < value_length(accounts); i++)
                r = add_last_mail(cli, json_object_array_get_idx(accounts, i));
        if (r)
                return r;
        if (cli->json)
                output_json(cli, accounts);
        else if (value_length(accounts) == 0)
                output_note(cli, "There is no account yet; \"waypost add\" makes one.\n");
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
