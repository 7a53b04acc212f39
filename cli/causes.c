/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost causes: the catalogue of what can be in the way, whole or what begins with the text given. */
#include <string.h>

#include "cli/cause.h"
#include "cli/causes.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "dbus/names.h"

int causes_read(Cli *cli, const char *begin, json_object **ret)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *all = NULL;
        json_object *some;
        int r;

        r = cli_call_texts(cli, PATH_ROOT, INTERFACE_MANAGER, "ListCauses", &reply, NULL, NULL,
                           NULL);
        if (r)
                return r;
        r = value_read(reply, &all);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        some = json_object_new_array();
        for (size_t i = 0; i < value_length(all); i++)
                if (strncmp(value_item(all, i), begin, strlen(begin)) == 0)
                        json_object_array_add(some,
                                              json_object_get(json_object_array_get_idx(all, i)));
        *ret = some;
        return 0;
}

static int describe(Cli *cli, json_object *codes, json_object **ret)
{
        _cleanup_json_ json_object *descriptions = json_object_new_array();

        for (size_t i = 0; i < value_length(codes); i++) {
                json_object *description;
                int r = cause_describe(cli, value_item(codes, i), NULL, &description);

                if (r)
                        return r;
                json_object_array_add(descriptions, description);
        }
        *ret = TAKE(descriptions);
        return 0;
}

static void print_table(Cli *cli, json_object *descriptions)
{
        static const char *const heads[] = { "CAUSE", "CLASS", "TITLE" };
        _cleanup_table_ Table table;

        table_init(&table, heads, ELEMENTS(heads));
        for (size_t i = 0; i < value_length(descriptions); i++) {
                json_object *d = json_object_array_get_idx(descriptions, i);

                table_add(&table, value_text_or(d, KEY_CAUSE, "?"));
                table_add(&table, value_text_or(d, KEY_CLASS, "-"));
                table_add(&table, value_text_or(d, KEY_TITLE, "-"));
        }
        table_print(cli, &table);
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *codes = NULL, *descriptions = NULL;
        const char *begin = arguments->n_operands ? arguments->operands[0] : "";
        int r;

        r = cli_open(cli);
        if (r == 0)
                r = causes_read(cli, begin, &codes);
        if (r == 0 && value_length(codes) == 0) {
                output_error(cli, ERROR_NOT_FOUND, "No cause begins like that.");
                r = EXIT_USAGE;
        }
        if (r == 0)
                r = describe(cli, codes, &descriptions);
        if (r)
                return r;
        output_json_if_asked(cli, descriptions);
        if (value_length(descriptions) == 1)
                cause_print(cli, json_object_array_get_idx(descriptions, 0), NULL);
        else
                print_table(cli, descriptions);
        return 0;
}

const Verb verb_causes = {
        .name = "causes",
        .operands = "[CAUSE]",
        .max_operands = 1,
        .summary = "List what can be in the way, or explain one cause",
        .text = "With the beginning of a code, \"tls\" for instance, only those are listed. One alone is\n"
                "told with its remedies.\n",
        .run = run,
};
