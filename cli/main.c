/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost, the command line client: thin, all logic is in the service. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/verb.h"
#include "config.h"

/* A full disk or a closed pipe must not look like success. */
static int finish_output(Cli *cli, int status)
{
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        fprintf(stderr, "waypost: Writing the output failed: %s.\n", strerror(errno));
        return status ?: EXIT_OURS;
}

static int run(Cli *cli, int argc, char **argv)
{
        Arguments arguments;
        int r;

        r = arguments_parse(cli, argc, argv, &arguments);
        if (r)
                return r;
        cli->json = argument_given(&arguments, "json");
        cli->quiet = argument_given(&arguments, "quiet");
        cli->user = argument_given(&arguments, "user");
        cli->all = argument_given(&arguments, "all");
        cli->text_only = arguments.verb && arguments.verb->text_only;
        cli->interactive = cli->interactive && !argument_given(&arguments, "batch");
        cli_init_output(cli);

        if (argument_given(&arguments, "version")) {
                puts("waypost " PACKAGE_VERSION);
                return 0;
        }
        if (argument_given(&arguments, "help")) {
                help_print(cli, arguments.verb);
                return 0;
        }
        if (!arguments.verb)
                return usage_error(cli, NULL, "What shall be done? Name a command.");
        return arguments.verb->run(cli, &arguments);
}

int main(int argc, char **argv)
{
        _cleanup_(cli_deinit) Cli cli;

        cli_init(&cli);
        return finish_output(&cli, run(&cli, argc, argv));
}
