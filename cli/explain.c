/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost explain: what a line means that a mail server or any program has written. Asks the service, which asks nobody: no connection is
 * made. Logs are in any character set: what is no UTF-8 is handed over byte by byte as U+0080 to U+00FF, and the service finds out. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cause.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

enum { LINES_MAX = 64 };

static const char *const context_keys[] = { KEY_PROTOCOL, KEY_PHASE, KEY_PROVIDER, KEY_HOST,
                                            KEY_SUCCEEDED };

/* --- text ----------------------------------------------------------------------------------------------------- */

/* A new string that the bus accepts. */
static char *text_for_bus(const char *text)
{
        char *copy, *p;

        if (text_is_utf8(text))
                return strdup(text);
        p = copy = malloc(2 * strlen(text) + 1);
        for (const unsigned char *s = (const unsigned char *) text; copy && *s; s++) {
                if (*s >= 0x80)
                        *p++ = (char) (0xc0 | *s >> 6);
                *p++ = (char) (*s >= 0x80 ? 0x80 | (*s & 0x3f) : *s);
        }
        if (copy)
                *p = '\0';
        return copy;
}

/* --- one question --------------------------------------------------------------------------------------------- */

static int append_lines(sd_bus_message *m, json_object *lines)
{
        bool one = json_object_is_type(lines, json_type_string);
        size_t n = one ? 1 : value_length(lines);
        int r = sd_bus_message_open_container(m, 'a', "s");

        for (size_t i = 0; r >= 0 && i < n && i < LINES_MAX; i++) {
                json_object *line = one ? lines : json_object_array_get_idx(lines, i);
                _cleanup_free_ char *text = text_for_bus(json_object_get_string(line) ?: "");

                r = text ? sd_bus_message_append_basic(m, 's', text) : -ENOMEM;
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* @from has the keys of the context and perhaps others, which are not ours. */
static json_object *context_new(json_object *from)
{
        json_object *context = json_object_new_object();

        for (size_t i = 0; i < ELEMENTS(context_keys); i++) {
                const char *text = value_text(from, context_keys[i]);

                if (text)
                        value_set_text(context, context_keys[i], text);
        }
        if (cause_locale())
                value_set_text(context, KEY_LOCALE, cause_locale());
        return context;
}

static int ask(Cli *cli, json_object *lines, json_object *question, json_object **ret)
{
        _cleanup_json_ json_object *context = context_new(question);
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "Explain");
        if (r)
                return r;
        r = append_lines(m, lines);
        if (r >= 0)
                r = value_append_dict(m, context);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        r = cli_call(cli, m, &reply, NULL);
        if (r)
                return r;
        r = value_read(reply, ret);
        return r < 0 ? cli_failed(cli, r, "Reading the answer") : 0;
}

/* --- many ----------------------------------------------------------------------------------------------------- */

static int explain_object(Cli *cli, json_object *question)
{
        _cleanup_json_ json_object *answer = NULL, *out = json_object_new_object();
        json_object *lines = NULL, *id = NULL;
        int r;

        (void) json_object_object_get_ex(question, "lines", &lines);
        (void) json_object_object_get_ex(question, KEY_ID, &id);
        r = ask(cli, lines, question, &answer);
        if (r)
                return r;
        json_object_object_add(out, KEY_ID, json_object_get(id));
        json_object_object_foreach(answer, key, value)
        {
                json_object_object_add(out, key, json_object_get(value));
        }
        output_json_line(cli, out);
        return 0;
}

static int explain_file(Cli *cli, const Verb *verb, const char *path)
{
        bool input = strcmp(path, "-") == 0;
        FILE *file = input ? stdin : fopen(path, "re");
        char *line = NULL;
        size_t size = 0;
        unsigned number = 0;
        int r = 0;

        if (!file)
                return cli_failed(cli, -errno, path);
        while (r == 0 && getline(&line, &size, file) >= 0) {
                _cleanup_json_ json_object *question = NULL;

                number++;
                if (!line[strspn(line, " \t\r\n")])
                        continue;
                question = json_tokener_parse(line);
                r = json_object_is_type(question, json_type_object)
                            ? explain_object(cli, question)
                            : usage_error(cli, verb, "Line %u of %s is not a JSON object.", number,
                                          path);
        }
        free(line);
        if (!input)
                fclose(file);
        return r;
}

/* --- one ------------------------------------------------------------------------------------------------------ */

static int read_input(Cli *cli, json_object *lines)
{
        char *line = NULL;
        size_t size = 0;

        if (cli->interactive)
                output_note(cli, "Type or paste the lines; end with Ctrl-D.\n");
        while (value_length(lines) < LINES_MAX && getline(&line, &size, stdin) >= 0) {
                line[strcspn(line, "\r\n")] = '\0';
                json_object_array_add(lines, json_object_new_string(line));
        }
        free(line);
        return 0;
}

static void print_answer(Cli *cli, json_object *answer)
{
        const char *confidence = value_text_or(answer, KEY_CONFIDENCE, "low");

        if (!value_text(answer, KEY_CAUSE)) {
                output_result(cli, "These words tell of no fault that is known.\n");
                return;
        }
        cause_print(cli, answer, NULL);
        if (strcmp(confidence, "high") != 0)
                output_result(cli, "  This is %s.\n",
                              strcmp(confidence, "low") == 0 ? "little more than a guess"
                                                             : "likely, but not certain");
}

static int explain_lines(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *lines = json_object_new_array(), *answer = NULL,
                                   *question = json_object_new_object();
        int r = 0;

        for (size_t i = 0; i < ELEMENTS(context_keys); i++) {
                const char *text = argument_text(arguments, context_keys[i]);

                if (text)
                        value_set_text(question, context_keys[i], text);
        }
        for (unsigned i = 0; i < arguments->n_operands; i++)
                json_object_array_add(lines, json_object_new_string(arguments->operands[i]));
        if (arguments->n_operands == 0)
                r = read_input(cli, lines);
        if (r == 0)
                r = ask(cli, lines, question, &answer);
        if (r)
                return r;
        print_answer(cli, answer);
        output_json_if_asked(cli, answer);
        return 0;
}

static int run(Cli *cli, const Arguments *arguments)
{
        static const char *const protocols[] = { "pop3", "imap", "smtp", "oauth",
                                                 "tls",  "dns",  "tcp",  NULL };
        const char *path = argument_text(arguments, "jsonl");
        int r;

        if (path && arguments->n_operands)
                return usage_error(cli, arguments->verb, "Either --jsonl or lines.");
        r = argument_check(cli, arguments, KEY_PROTOCOL, protocols);
        if (r == 0)
                r = cli_open(cli);
        if (r)
                return r;
        return path ? explain_file(cli, arguments->verb, path) : explain_lines(cli, arguments);
}

static const Option options[] = {
        { "protocol", 0, "NAME", "pop3, imap, smtp, oauth, tls, dns or tcp" },
        { "phase", 0, "NAME", "The step that it answered: greeting, login, rcpt ..." },
        { "provider", 0, "ID", "Whose server it was, gmail for instance" },
        { "host", 0, "HOST", "Its name, instead" },
        { "succeeded", 0, "PHASES", "What went well before: \"tls login\"" },
        { "jsonl", 0, "FILE", "Many: a JSON object for each line of FILE (-: standard input)" },
        {},
};

const Verb verb_explain = {
        .name = "explain",
        .operands = "[LINE...]",
        .max_operands = MAX_OPERANDS,
        .summary = "Tell what an error means that a server or a program has written",
        .text = "The lines are read from standard input if none is given. Nothing is connected to.\n"
                "Objects of --jsonl have lines, and if they are known protocol, phase, provider or\n"
                "host, and an id that is repeated; for each of them one object is printed.\n",
        .options = options,
        .run = run,
};
