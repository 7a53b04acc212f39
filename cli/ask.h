/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the person at the terminal. The loop goes on while he thinks; the terminal is as it was before whatever happens. */
#pragma once

#include "cli/lines.h"
#include "cli/secret.h"

/* What stands above the prompt may be NULL. *@stop (may be NULL) becoming true ends the question without an answer. */

/* The line without its newline in @ret_answer, owned by the caller; NULL without an answer or at the end of input. */
int ask_text(Cli *cli, const Lines *above, const char *prompt, const bool *stop, char **ret_answer);
/* Without showing what is typed. An empty secret for an empty line, and without an answer. */
int ask_secret(Cli *cli, const Lines *above, const char *prompt, const bool *stop, Secret **ret);
/* "y" or "yes": true; "n", "no", an empty line and no answer: false; all else is asked again. */
int ask_yes(Cli *cli, const Lines *above, const char *question, const bool *stop, bool *ret);

typedef struct Choice {
        char key;
        const char *text; /* NULL ends a list */
} Choice;

/* One of @choices, asked again until it is; the last of them at the end of input. */
int ask_choice(Cli *cli, const Lines *above, const Choice *choices, char *ret_key);
