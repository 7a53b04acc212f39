/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check that changes nothing: an account is checked with its own servers and stored password, another address in a dry run, a server alone
 * without an account. */
#include "cli/check.h"

#include <string.h>

#include "cli/account.h"
#include "cli/server.h"
#include "dbus/names.h"

static int call_probe(Cli *cli, const Arguments *arguments, const char *text, sd_bus_message **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_json_ json_object *server = NULL, *options = json_object_new_object();
        const char *protocol = argument_text(arguments, KEY_PROTOCOL), *security;
        int r;

        r = server_parse(cli, arguments->verb, arguments->verb->name, text, &server);
        if (r == 0)
                r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "Probe");
        if (r)
                return r;
        security = value_text(server, KEY_SECURITY);
        if (security)
                value_set_text(options, KEY_SECURITY, security);
        if (protocol)
                value_set_text(options, KEY_PROTOCOL, protocol);
        r = sd_bus_message_append(m, "sq", value_text_or(server, KEY_HOST, ""),
                                  (uint16_t) value_number(server, KEY_PORT, 0));
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        *ret = TAKE(m);
        return 0;
}

static int start_dry(Cli *cli, const Arguments *arguments, Setup **ret, sd_bus_error *ret_error)
{
        _cleanup_json_ json_object *options = json_object_new_object();
        int r;

        json_object_object_add(options, KEY_DRY_RUN, json_object_new_boolean(true));
        r = servers_from_options(cli, arguments, options);
        return r ?: setup_start_address(ret, cli, arguments->operands[0], options, ret_error);
}

int check_start(Cli *cli, const Arguments *arguments, Setup **ret, bool *ret_probe,
                sd_bus_error *ret_error)
{
        static const char *const protocols[] = { "pop3", "imap", "smtp", NULL };
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_json_ json_object *account = NULL;
        _cleanup_free_ char *path = NULL;
        const char *what = arguments->operands[0];
        int r;

        r = argument_check(cli, arguments, KEY_PROTOCOL, protocols);
        if (r)
                return r;
        *ret_probe = server_looks_like(what);
        if (*ret_probe)
                r = call_probe(cli, arguments, what, &m);
        else if (strchr(what, '@'))
                r = account_path_by_address(cli, what, &path, ret_error);
        else
                r = account_find(cli, what, &account);
        if (r)
                return r;
        if (!*ret_probe && !path && !account)
                return start_dry(cli, arguments, ret, ret_error);
        if (!*ret_probe)
                r = cli_message(cli, &m, path ?: value_text_or(account, "path", "/"),
                                INTERFACE_ACCOUNT, "Check");
        return r ?: setup_start(ret, cli, m, NULL);
}
