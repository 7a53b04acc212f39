/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost show: all that is known of one account. */
#include <inttypes.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static void print_text(Cli *cli, json_object *account, const char *key)
{
        const char *text = value_text(account, key);

        if (text)
                output_result(cli, "  %-17s %s\n", key, text);
}

static void print_time(Cli *cli, json_object *account, const char *key)
{
        uint64_t when = value_number(account, key, 0);
        char at[TEXT_SHORT], ago[TEXT_SHORT];

        if (when)
                output_result(cli, "  %-17s %s (%s)\n", key, text_time(at, when),
                              text_when(ago, when, text_now()));
        else
                output_result(cli, "  %-17s never\n", key);
}

static void print_server(Cli *cli, json_object *account, const char *key)
{
        json_object *server = value_object(account, key);
        const char *host = value_text(server, KEY_HOST), *user = value_text(server, KEY_USER);

        if (!host)
                return;
        output_result(cli, "  %-17s %s:%" PRIu64 ", %s%s%s", key, host,
                      value_number(server, KEY_PORT, 0), value_text_or(server, KEY_SECURITY, "?"),
                      user ? ", as " : "", user ?: "");
        output_result(cli, "\n");
}

static void print_interval(Cli *cli, json_object *account)
{
        char every[TEXT_SHORT], least[TEXT_SHORT];
        uint64_t interval = value_number(account, "interval", 0),
                 minimum = value_number(account, "poll-minimum", 0);

        output_result(cli, "  %-17s every %s", "interval",
                      text_duration(every, interval * USEC_PER_SEC));
        if (minimum)
                output_result(cli, " (the server allows every %s)",
                              text_duration(least, minimum * USEC_PER_SEC));
        output_result(cli, "\n");
}

static void print_account(Cli *cli, json_object *account)
{
        json_object *warnings = value_list(account, "warnings"),
                    *folders = value_list(account, KEY_FOLDERS);

        output_result(cli, "%s%s%s\n", output_colour(cli, COLOUR_BOLD),
                      value_text_or(account, "address", "?"), output_colour(cli, COLOUR_NONE));
        print_text(cli, account, "display-name");
        print_text(cli, account, "state");
        print_text(cli, account, "cause");
        print_time(cli, account, "since");
        print_time(cli, account, "last-success");
        print_time(cli, account, "next-run");
        print_interval(cli, account);
        print_server(cli, account, KEY_INCOMING);
        print_server(cli, account, KEY_OUTGOING);
        output_result(cli, "  %-17s %s\n", "can-send",
                      value_flag(account, "can-send") ? "yes" : "not proved");
        print_text(cli, account, "keep");
        for (size_t i = 0; i < value_length(folders); i++)
                output_result(cli, "  %-17s %s\n", "folder", value_item(folders, i));
        print_text(cli, account, "delivery");
        print_text(cli, account, "location");
        output_result(cli, "  %-17s %" PRIu64 "\n", "messages-fetched",
                      value_number(account, "messages-fetched", 0));
        for (size_t i = 0; i < value_length(warnings); i++)
                output_result(cli, "  %-17s %s\n", "warning", value_item(warnings, i));
        print_text(cli, account, "id");
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *description = NULL;
        const char *cause;
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r)
                return r;
        cause = value_text(account, "cause");
        r = cause ? cause_describe(cli, cause, account_evidence(account), &description) : 0;
        if (r)
                return r;
        cause_to_json(description, account);
        if (cli->json) {
                output_json(cli, account);
                return 0;
        }
        print_account(cli, account);
        if (description)
                cause_print(cli, description, NULL);
        return 0;
}

const Verb verb_show = {
        .name = "show",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Show all that is known of one account",
        .run = run,
};
