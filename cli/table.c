/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A table with as wide columns as needed. */
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/text.h"

void table_init(Table *table, const char *const *heads, size_t n_columns)
{
        *table = (Table){ .heads = heads,
                          .n_columns = n_columns,
                          .cells = json_object_new_array() };
}

void table_deinit(Table *table)
{
        json_object_put(table->cells);
}

void table_add(Table *table, const char *cell)
{
        json_object_array_add(table->cells, json_object_new_string(cell));
}

/* Columns of numbers stand to the right. */
void table_add_number(Table *table, uint64_t number)
{
        char buffer[24];

        snprintf(buffer, sizeof(buffer), "%" PRIu64, number);
        table->right[value_length(table->cells) % table->n_columns] = true;
        table_add(table, buffer);
}

static int column_width(const Table *table, size_t column)
{
        int width = text_width(table->heads[column]);

        for (size_t i = column; i < value_length(table->cells); i += table->n_columns) {
                int w = text_width(value_item(table->cells, i));

                width = w > width ? w : width;
        }
        return width;
}

static void print_cell(Cli *cli, const Table *table, size_t column, const int *widths,
                       const char *text)
{
        bool last = column + 1 == table->n_columns;
        int pad = widths[column] - text_width(text);

        if (table->right[column])
                output_result(cli, "%*s%s%s", pad, "", text, last ? "\n" : "  ");
        else if (last)
                output_result(cli, "%s\n", text);
        else
                output_result(cli, "%s%*s  ", text, pad, "");
}

void table_print(Cli *cli, const Table *table)
{
        int widths[TABLE_COLUMNS];

        for (size_t c = 0; c < table->n_columns; c++)
                widths[c] = column_width(table, c);
        output_result(cli, "%s", output_colour(cli, COLOUR_BOLD));
        for (size_t c = 0; c < table->n_columns; c++)
                print_cell(cli, table, c, widths, table->heads[c]);
        output_result(cli, "%s", output_colour(cli, COLOUR_NONE));
        for (size_t i = 0; i < value_length(table->cells); i++)
                print_cell(cli, table, i % table->n_columns, widths, value_item(table->cells, i));
}
