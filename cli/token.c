/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost token: prints an account's password or access token, for other mail programs (PassCmd, passwordeval). Standard output is for it
 * alone. Off unless the administrator has switched it on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "dbus/names.h"

enum { TOKEN_MAX = 16 * 1024 };

static int ask(Cli *cli, json_object *account, const char *side, sd_bus_message **ret)
{
        _cleanup_json_ json_object *options = json_object_new_object();
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        value_set_text(options, KEY_SIDE, side);
        r = cli_message(cli, &m, value_text_or(account, "path", "/"), INTERFACE_ACCOUNT,
                        "GetCredential");
        if (r)
                return r;
        r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        /* Whoever sits there may be asked to authenticate. */
        (void) sd_bus_message_set_allow_interactive_authorization(m, cli->interactive);
        return cli_call(cli, m, ret, NULL);
}

/* To the end of the pipe. Returns how many octets, or negative errno. */
static ssize_t read_all(int fd, char *to, size_t size)
{
        size_t len = 0;

        while (len < size) {
                ssize_t n = read(fd, to + len, size - len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : (ssize_t) len;
                len += (size_t) n;
        }
        return -EMSGSIZE;
}

static int print(Cli *cli, sd_bus_message *reply)
{
        char secret[TOKEN_MAX + 2];
        ssize_t n;
        int fd, r;

        r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        n = read_all(fd, secret, sizeof(secret) - 1);
        if (n < 0)
                return cli_failed(cli, (int) n, "Reading the secret");
        secret[n] = '\n';
        /* Not by stdio, which would keep a copy. */
        r = write(STDOUT_FILENO, secret, (size_t) n + 1) == n + 1
                    ? 0
                    : cli_failed(cli, -EIO, "Printing");
        explicit_bzero(secret, sizeof(secret));
        return r;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        if (cli->json)
                return usage_error(cli, arguments->verb, "A secret is no JSON.");
        r = cli_open(cli);
        if (r == 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r == 0)
                r = ask(cli, account,
                        argument_given(arguments, KEY_OUTGOING) ? KEY_OUTGOING : KEY_INCOMING,
                        &reply);
        return r ? r : print(cli, reply);
}

static const Option options[] = {
        { "outgoing", 0, NULL, "The one for sending" },
        {},
};

const Verb verb_token = {
        .name = "token",
        .operands = "ACCOUNT",
        .min_operands = 1,
        .max_operands = 1,
        .summary = "Print an account's password or token, for other programs",
        .text = "As PassCmd of mbsync or passwordeval of msmtp. The administrator has to switch it on.\n",
        .options = options,
        .text_only = true,
        .run = run,
};
