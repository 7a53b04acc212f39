/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the person at the terminal. The loop goes on while he thinks; the terminal is as it was before whatever happens. */
#pragma once

#include "cli/cli.h"
#include "cli/secret.h"

/* The line without its newline in @ret_answer, owned by the caller; NULL at the end of input, or when *@stop became true first
 * (may be NULL). @prompt NULL: the one that stands there already. */
int terminal_ask(Cli *cli, const char *prompt, const bool *stop, char **ret_answer);
/* Without showing what is typed. An empty secret for an empty line. */
int terminal_ask_secret(Cli *cli, const char *prompt, Secret **ret);
/* "y" or "yes": true; all else, and an empty line: false. */
int terminal_confirm(Cli *cli, const char *question, bool *ret);
