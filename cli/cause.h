/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service's catalogue says about a cause: title, explanation, remedies, class. */
#pragma once

#include "cli/cli.h"
#include "cli/lines.h"

/* Asks the service, in the user's language; an object that has "cause" at least. The caller owns it. What @evidence has (NULL: none) of
 * host, user, address and the like is put into the texts. */
int cause_describe(Cli *cli, const char *code, json_object *evidence, json_object **ret);
/* The language that the environment asks for; NULL for none in particular. */
const char *cause_locale(void);
/* Text in lines of at most 76 columns; the first begins with @first, the others are indented as far. */
void cause_print_text(Cli *cli, const char *first, const char *text);
/* By class; EXIT_PERMANENT for one that the catalogue does not know. */
Exit cause_exit(json_object *description);
/* The block under a failed setup or run: title, @proof (what was found out, may be NULL), explanation, numbered remedies. */
void cause_lines(Cli *cli, json_object *description, const Lines *proof, Lines *to);
/* Prints it; @said are the server's own words, may be NULL. */
void cause_print(Cli *cli, json_object *description, const char *said);
/* Puts cause, class, title, explanation, remedies and links into @to; nulls for no description (NULL). */
void cause_to_json(json_object *description, json_object *to);
