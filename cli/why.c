/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost why: why no mail is coming, from what the service knows already; it asks nobody. doctor asks the servers. */
#include <errno.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/run.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "dbus/names.h"

/* The words of doctor's screen. */
static const char *mark_of(const char *verdict)
{
        return strcmp(verdict, "passed") == 0   ? "ok"
               : strcmp(verdict, "warned") == 0 ? "!"
                                                : "FAIL";
}

static json_object *answer_of(json_object *checks)
{
        size_t n = value_length(checks);

        return n > 0 ? json_object_array_get_idx(checks, n - 1) : NULL;
}

static void print_checks(Cli *cli, json_object *checks)
{
        static const char *const heads[] = { "", "CHECK", "WHAT IS KNOWN" };
        _cleanup_table_ Table table;

        table_init(&table, heads, ELEMENTS(heads));
        for (size_t i = 0; i + 1 < value_length(checks); i++) {
                json_object *check = json_object_array_get_idx(checks, i);

                table_add(&table, mark_of(value_text_or(check, KEY_VERDICT, "")));
                table_add(&table, value_text_or(check, KEY_CHECK, ""));
                table_add(&table, value_text_or(check, KEY_TEXT, ""));
        }
        table_print(cli, &table);
}

/* The answer's cause as the catalogue has it; else its own words. */
static int print_answer(Cli *cli, json_object *answer, Exit *ret)
{
        _cleanup_json_ json_object *description = NULL;
        const char *cause = value_text(answer, KEY_CAUSE);
        bool failed = strcmp(value_text_or(answer, KEY_VERDICT, ""), "failed") == 0;
        int r;

        output_result(cli, "\n");
        if (!cause || !failed) {
                output_result(cli, "%s\n", value_text_or(answer, KEY_TEXT, ""));
                return 0;
        }
        r = cause_describe(cli, cause, NULL, &description);
        if (r)
                return r;
        cause_print(cli, description, NULL);
        *ret = cause_exit(description);
        return 0;
}

static int read_checks(Cli *cli, const char *path, json_object **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, path, INTERFACE_ACCOUNT, "Why");
        return r ? r : records_read(cli, m, ret);
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *checks = NULL;
        Exit code = EXIT_SUCCESS;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = read_checks(cli, value_text_or(account, "path", "/"), &checks);
        if (r)
                return r;
        if (cli->json) {
                output_json(cli, checks);
                return EXIT_SUCCESS;
        }
        print_checks(cli, checks);
        r = print_answer(cli, answer_of(checks), &code);
        return r ? r : (int) code;
}

const Verb verb_why = {
        .name = "why",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Why no mail is coming",
        .run = run,
};
