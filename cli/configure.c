/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost configure: changes what an account's owner may choose. */
#include "cli/account.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

static int configure(Cli *cli, const char *path, json_object *settings)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, path, INTERFACE_ACCOUNT, "Configure");
        if (r)
                return r;
        r = value_append_dict(m, settings);
        return r < 0 ? cli_failed(cli, r, "Making a call") : cli_call(cli, m, NULL, NULL);
}

static void tell(Cli *cli, json_object *account)
{
        char every[TEXT_SHORT];

        output_json_if_asked(cli, account);
        output_result(cli, "%s: fetched every %s, keep %s%s%s\n",
                      value_text_or(account, "address", "?"),
                      text_duration(every, value_number(account, "interval", 0) * USEC_PER_SEC),
                      value_text_or(account, "keep", "?"),
                      value_text(account, "display-name") ? ", as " : "",
                      value_text_or(account, "display-name", ""));
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL, *settings = NULL, *after = NULL;
        const char *path;
        int r;

        r = settings_read(cli, arguments, &settings);
        if (r)
                return r;
        if (json_object_object_length(settings) == 0)
                return usage_error(
                        cli, arguments->verb,
                        "What shall be changed? Give --keep, --interval, --delivery or --display-name.");
        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r)
                return r;
        path = value_text_or(account, "path", "/");
        r = configure(cli, path, settings);
        if (r == 0)
                r = account_read(cli, path, &after);
        if (r == 0)
                tell(cli, after);
        return r;
}

static const Option options[] = {
        SETTING_OPTIONS,
        {},
};

const Verb verb_configure = {
        .name = "configure",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Change how an account is fetched",
        .options = options,
        .run = run,
};
