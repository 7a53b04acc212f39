/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text that is composed before it is shown: lines, each with a rank that says which may be left out where there is no room. Only for
 * display: a line for which there is no memory is missing. */
#pragma once

#include <stdio.h>

#include "cli/util.h"

enum {
        RANK_STAYS,
        RANK_DECORATION, /* goes before those above */
        RANK_HEADING,    /* and with the last row below it */
        RANK_DONE,
        RANK_PENDING, /* goes first */
};

typedef struct Lines {
        struct Line {
                char *text; /* colours in it take no columns */
                int rank;
        } * list;
        size_t n;
} Lines;

void lines_deinit(Lines *lines);
#define _cleanup_lines_ _cleanup_(lines_deinit)
void lines_add(Lines *lines, int rank, const char *format, ...) _printf_(3, 4);
/* Breaks @text at blanks; @first stands before it, and what is broken is indented as far. */
void lines_wrap(Lines *lines, unsigned columns, const char *first, const char *text);
/* Leaves out lines by their rank until there are @most, and at last the first ones. */
void lines_shorten(Lines *lines, size_t most);
/* Copies @text, cut to @columns, into @to. @more stands where something was cut off. */
void line_clip(FILE *to, const char *text, unsigned columns, const char *more);
/* Cuts @text, a list with commas, to @columns where one of its parts ends. In place. */
void line_cut_list(char *text, unsigned columns);
