/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes where: results to standard output, steps and progress beside them (with --json: to standard error), errors to standard error.
 * With --json nothing but JSON reaches standard output. */
#pragma once

#include <stdio.h>

#include "cli/cli.h"

typedef enum Colour {
        COLOUR_NONE,
        COLOUR_BOLD,
        COLOUR_DIM,
        COLOUR_RED,
        COLOUR_GREEN,
        COLOUR_YELLOW,
} Colour;

/* The escape sequence, or "" where there is no colour. COLOUR_NONE ends the one before. */
const char *output_colour(Cli *cli, Colour colour);
/* Where steps and progress go. */
FILE *output_steps(Cli *cli);

/* How wide text may be there. */
unsigned output_columns(Cli *cli);

/* Steps and how things go: unless --quiet. */
void output_progress(Cli *cli, const char *format, ...) _printf_(2, 3);
/* Ends a line left open by a prompt, and makes room above what is redrawn. */
void output_end_line(Cli *cli);
/* What was asked for: unless --json. */
void output_result(Cli *cli, const char *format, ...) _printf_(2, 3);
struct Lines;
void output_result_lines(Cli *cli, const struct Lines *lines);
/* To standard error. */
void output_note(Cli *cli, const char *format, ...) _printf_(2, 3);
/* A question; the line stays open. */
void output_prompt(Cli *cli, const char *format, ...) _printf_(2, 3);
/* "waypost: SENTENCE" on standard error; with --json an object with "error", if no other was written. */
void output_error(Cli *cli, const char *name, const char *sentence);

/* The one JSON object of this run (or one of a stream of lines). Borrows. */
void output_json(Cli *cli, json_object *object);
void output_json_if_asked(Cli *cli, json_object *object); /* with --json */
void output_json_line(Cli *cli, json_object *object);
