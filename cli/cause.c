/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the service's catalogue says about a cause. */
#include "cli/cause.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "dbus/names.h"

const char *cause_locale(void)
{
        static const char *const variables[] = { "LC_ALL", "LC_MESSAGES", "LANG" };
        const char *list = getenv("LANGUAGE");

        for (size_t i = 0; i < ELEMENTS(variables); i++) {
                const char *locale = getenv(variables[i]);

                if (!locale || !*locale)
                        continue;
                /* as gettext: without a locale there is no list of languages */
                if (strcmp(locale, "C") == 0 || strcmp(locale, "POSIX") == 0)
                        return NULL;
                return list && *list ? list : locale;
        }
        return NULL;
}

/* The keys that texts have places for, and those by which the provider is found. */
static json_object *options_new(json_object *evidence)
{
        static const char *const keys[] = {
                KEY_ADDRESS, KEY_DOMAIN,      KEY_HINT_URL,       KEY_HOST,        KEY_PORT,
                KEY_ISSUER,  KEY_NAMES,       KEY_NOT_AFTER,      KEY_NOT_BEFORE,  KEY_PROVIDER,
                KEY_SENDER,  KEY_USER,        KEY_SPKI,           KEY_SUGGESTION,  KEY_OFFSET,
                KEY_PORTAL,  KEY_INTERCEPTED, KEY_SUGGESTED_HOST, KEY_ALTERNATIVE,
        };
        json_object *options = json_object_new_object(), *known = json_object_new_object();

        for (size_t i = 0; i < ELEMENTS(keys); i++) {
                json_object *value = NULL;

                if (evidence && json_object_object_get_ex(evidence, keys[i], &value) && value)
                        json_object_object_add(known, keys[i], json_object_get(value));
        }
        json_object_object_add(options, KEY_EVIDENCE, known);
        if (cause_locale())
                value_set_text(options, KEY_LOCALE, cause_locale());
        return options;
}

int cause_describe(Cli *cli, const char *code, json_object *evidence, json_object **ret)
{
        _cleanup_json_ json_object *options = options_new(evidence);
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        json_object *description = NULL;
        int r;

        r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "DescribeCause");
        if (r)
                return r;
        r = sd_bus_message_append_basic(m, 's', code);
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        r = cli_call(cli, m, &reply, &error);
        /* A code without a description still stops us, and is told as it is. */
        if (r > 0)
                return r;
        if (r == 0 && value_read(reply, &description) < 0)
                description = NULL;
        if (!json_object_is_type(description, json_type_object)) {
                json_object_put(description);
                description = json_object_new_object();
        }
        value_set_text(description, KEY_CAUSE, code);
        *ret = description;
        return 0;
}

Exit cause_exit(json_object *description)
{
        const char *class = value_text_or(description, KEY_CLASS, "");

        if (strcmp(class, "user-action") == 0)
                return EXIT_USER_ACTION;
        if (strcmp(class, "temporary") == 0)
                return EXIT_TEMPORARY;
        return EXIT_PERMANENT;
}

static bool said_before(json_object *remedies, const char *link)
{
        for (size_t i = 0; i < value_length(remedies); i++)
                if (strstr(value_item(remedies, i), link))
                        return true;
        return false;
}

void cause_lines(Cli *cli, json_object *description, const Lines *proof, Lines *to)
{
        const char *code = value_text_or(description, KEY_CAUSE, "?"),
                   *title = value_text_or(description, KEY_TITLE, code),
                   *explanation = value_text(description, KEY_EXPLANATION);
        json_object *remedies = value_list(description, KEY_REMEDIES),
                    *links = value_list(description, KEY_LINKS);
        unsigned columns = output_columns(cli);

        lines_add(to, RANK_DECORATION, "%s", "");
        lines_add(to, RANK_STAYS, "%s%s%s  (%s)", output_colour(cli, COLOUR_BOLD), title,
                  output_colour(cli, COLOUR_NONE), code);
        for (size_t i = 0; proof && i < proof->n; i++)
                lines_add(to, RANK_STAYS, "%s", proof->list[i].text);
        if (explanation)
                lines_wrap(to, columns, "  ", explanation);
        for (size_t i = 0; i < value_length(remedies); i++) {
                char number[32];

                snprintf(number, sizeof(number), "  %zu. ", i + 1);
                lines_wrap(to, columns, number, value_item(remedies, i));
        }
        for (size_t i = 0; i < value_length(links); i++)
                if (!said_before(remedies, value_item(links, i)))
                        lines_wrap(to, columns, "  See ", value_item(links, i));
}

void cause_print_text(Cli *cli, const char *first, const char *text)
{
        _cleanup_lines_ Lines lines = {};

        lines_wrap(&lines, output_columns(cli), first, text);
        output_result_lines(cli, &lines);
}

void cause_print(Cli *cli, json_object *description, const char *said)
{
        _cleanup_lines_ Lines lines = {}, proof = {};

        if (said)
                lines_add(&proof, RANK_STAYS, "  The server said: \"%s\"", said);
        cause_lines(cli, description, &proof, &lines);
        output_result_lines(cli, &lines);
}

void cause_to_json(json_object *description, json_object *to)
{
        static const char *const keys[] = { KEY_CAUSE,       KEY_CLASS,    KEY_TITLE,
                                            KEY_EXPLANATION, KEY_REMEDIES, KEY_LINKS };

        for (size_t i = 0; i < ELEMENTS(keys); i++)
                value_set_from(to, keys[i], description);
}
