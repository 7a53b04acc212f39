/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A table with as wide columns as needed; cells are added row by row. */
#pragma once

#include "cli/cli.h"

enum { TABLE_COLUMNS = 12 };

typedef struct Table {
        const char *const *heads;
        size_t n_columns;
        json_object *cells; /* all of them in order */
        bool right[TABLE_COLUMNS];
} Table;

/* @heads is borrowed. */
void table_init(Table *table, const char *const *heads, size_t n_columns);
void table_deinit(Table *table);
#define _cleanup_table_ _cleanup_(table_deinit)
void table_add(Table *table, const char *cell);
void table_add_number(Table *table, uint64_t number);
void table_print(Cli *cli, const Table *table);
