/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parsing and help, both from the table of verbs. Options may stand anywhere, "--" ends them; nothing can be abbreviated, so
 * that a new option never changes what an old script means. */
#include "cli/verb.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/lines.h"
#include "cli/output.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "dbus/names.h"

/* In the order of the help. */
const Verb *const verbs[] = {
        &verb_add,         &verb_list,     &verb_show,      &verb_fetch,  &verb_history,
        &verb_watch,       &verb_why,      &verb_pause,     &verb_resume, &verb_password,
        &verb_authorize,   &verb_token,    &verb_configure, &verb_remove, &verb_doctor,
        &verb_report,      &verb_discover, &verb_explain,   &verb_causes, &verb_oauth_client,
        &verb_completions, NULL,
};

const Option common_options[] = {
        { "json", 0, NULL, "Print JSON on standard output and nothing else there" },
        { "quiet", 'q', NULL, "Print results and errors only, no steps or progress" },
        { "batch", 0, NULL, "Ask nothing; what is missing ends it with status 6" },
        { "user", 0, NULL, "Talk to your own service on the session bus" },
        { "all", 0, NULL, "Everybody's accounts, if an administrator agrees" },
        { "help", 'h', NULL, "Print this help" },
        { "version", 0, NULL, "Print the version" },
        {},
};

int usage_error(Cli *cli, const Verb *verb, const char *format, ...)
{
        _cleanup_free_ char *text = NULL;
        va_list arguments;

        va_start(arguments, format);
        if (vasprintf(&text, format, arguments) < 0)
                text = NULL;
        va_end(arguments);
        output_error(cli, BUS_NAME ".Client.Usage", text ?: "No memory.");
        output_note(cli, "Try: waypost%s%s --help\n", verb ? " " : "", verb ? verb->name : "");
        return EXIT_USAGE;
}

static const Option *find_in(const Option *options, const char *name, size_t len, char letter)
{
        for (; options && options->name; options++)
                if (letter ? options->letter == letter
                           : strlen(options->name) == len && memcmp(options->name, name, len) == 0)
                        return options;
        return NULL;
}

static const Option *find_option(const Verb *verb, const char *name, size_t len, char letter)
{
        const Option *option = find_in(common_options, name, len, letter);

        return option || !verb ? option : find_in(verb->options, name, len, letter);
}

static int unknown_option(Cli *cli, const Verb *verb, const char *name, size_t len)
{
        const Option *const lists[] = { common_options, verb ? verb->options : NULL };
        _cleanup_free_ char *copy = strndup(name, len);
        const char *near = NULL;
        unsigned best = 4;

        for (size_t i = 0; copy && i < ELEMENTS(lists); i++)
                for (const Option *o = lists[i]; o && o->name; o++) {
                        unsigned d = text_distance(copy, o->name);

                        if (d < best && d < len) {
                                best = d;
                                near = o->name;
                        }
                }
        if (near)
                return usage_error(cli, verb, "There is no option --%s; did you mean --%s?", copy,
                                   near);
        return usage_error(cli, verb, "There is no option --%s%s%s.", copy ?: "",
                           verb ? " for " : "", verb ? verb->name : "");
}

static int unknown_verb(Cli *cli, const char *name)
{
        const char *near = NULL;
        unsigned best = 3;

        for (size_t i = 0; verbs[i]; i++) {
                unsigned d = text_distance(name, verbs[i]->name);

                if (d < best && !verbs[i]->hidden) {
                        best = d;
                        near = verbs[i]->name;
                }
        }
        if (near)
                return usage_error(cli, NULL, "There is no command %s; did you mean %s?", name,
                                   near);
        if (strchr(name, '@'))
                return usage_error(cli, NULL,
                                   "There is no command %s; did you mean: waypost add %s?", name,
                                   name);
        return usage_error(cli, NULL, "There is no command %s.", name);
}

static int add_operand(Cli *cli, Arguments *to, const char *text)
{
        if (!to->verb) {
                for (size_t i = 0; verbs[i]; i++)
                        if (strcmp(verbs[i]->name, text) == 0)
                                to->verb = verbs[i];
                return to->verb ? 0 : unknown_verb(cli, text);
        }
        if (to->n_operands >= to->verb->max_operands || to->n_operands >= MAX_OPERANDS)
                return usage_error(cli, to->verb, "There is one argument too many: %s", text);
        to->operands[to->n_operands++] = text;
        return 0;
}

static int add_given(Cli *cli, Arguments *to, const Option *option, const char *value)
{
        if (to->n_given == MAX_GIVEN)
                return usage_error(cli, to->verb, "There are too many options.");
        to->given[to->n_given].option = option;
        to->given[to->n_given++].value = value;
        return 0;
}

/* Takes argv[*at], and the next one if it is its value. */
static int add_long(Cli *cli, Arguments *to, char **argv, int *at)
{
        const char *name = argv[*at] + 2, *equals = strchr(name, '=');
        size_t len = equals ? (size_t) (equals - name) : strlen(name);
        const Option *option = find_option(to->verb, name, len, 0);

        if (!option)
                return unknown_option(cli, to->verb, name, len);
        if (!option->argument && equals)
                return usage_error(cli, to->verb, "--%s takes no value.", option->name);
        if (!option->argument)
                return add_given(cli, to, option, NULL);
        if (equals)
                return add_given(cli, to, option, equals + 1);
        if (!argv[*at + 1])
                return usage_error(cli, to->verb, "--%s needs a value: %s", option->name,
                                   option->argument);
        return add_given(cli, to, option, argv[++*at]);
}

/* Takes argv[*at], letters in a row, the last of which may have a value. */
static int add_short(Cli *cli, Arguments *to, char **argv, int *at)
{
        for (const char *p = argv[*at] + 1; *p; p++) {
                const Option *option = find_option(to->verb, NULL, 0, *p);
                int r;

                if (!option)
                        return usage_error(cli, to->verb, "There is no option -%c.", *p);
                if (option->argument && p[1])
                        return add_given(cli, to, option, p + 1);
                if (option->argument && !argv[*at + 1])
                        return usage_error(cli, to->verb, "-%c needs a value: %s", *p,
                                           option->argument);
                if (option->argument)
                        return add_given(cli, to, option, argv[++*at]);
                r = add_given(cli, to, option, NULL);
                if (r)
                        return r;
        }
        return 0;
}

/* --json decides how even a usage error is told. */
static bool wants_json(int argc, char **argv)
{
        for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
                if (strcmp(argv[i], "--json") == 0)
                        return true;
        return false;
}

/* No letters of options look like the line of a POP3 server that somebody has pasted: "-ERR maildrop locked". */
static bool is_pasted(const char *argument)
{
        return strncmp(argument, "-ERR", 4) == 0;
}

int arguments_parse(Cli *cli, int argc, char **argv, Arguments *ret)
{
        bool options = true;
        int r;

        *ret = (Arguments){};
        cli->json = wants_json(argc, argv);
        for (int i = 1; i < argc; i++) {
                if (options && strcmp(argv[i], "--") == 0) {
                        options = false;
                        continue;
                }
                if (options && strncmp(argv[i], "--", 2) == 0)
                        r = add_long(cli, ret, argv, &i);
                else if (options && argv[i][0] == '-' && argv[i][1] && !is_pasted(argv[i]))
                        r = add_short(cli, ret, argv, &i);
                else
                        r = add_operand(cli, ret, argv[i]);
                if (r)
                        return r;
        }
        if (ret->verb && ret->n_operands < ret->verb->min_operands &&
            !argument_given(ret, "help") && !argument_given(ret, "version"))
                return usage_error(cli, ret->verb, "What is missing: %s", ret->verb->operands);
        return 0;
}

bool argument_given(const Arguments *arguments, const char *name)
{
        for (unsigned i = 0; i < arguments->n_given; i++)
                if (strcmp(arguments->given[i].option->name, name) == 0)
                        return true;
        return false;
}

const char *argument_text(const Arguments *arguments, const char *name)
{
        for (unsigned i = arguments->n_given; i > 0; i--)
                if (strcmp(arguments->given[i - 1].option->name, name) == 0)
                        return arguments->given[i - 1].value;
        return NULL;
}

int argument_number(Cli *cli, const Arguments *arguments, const char *name, uint64_t min,
                    uint64_t max, uint64_t *ret)
{
        const char *text = argument_text(arguments, name);

        if (!text || text_to_number(text, min, max, ret) == 0)
                return 0;
        return usage_error(cli, arguments->verb,
                           "--%s takes a number from %" PRIu64 " to %" PRIu64 ", not %s.", name,
                           min, max, text);
}

int argument_check(Cli *cli, const Arguments *arguments, const char *name,
                   const char *const *choices)
{
        const char *text = argument_text(arguments, name);

        if (!text)
                return 0;
        for (size_t i = 0; choices[i]; i++)
                if (strcmp(choices[i], text) == 0)
                        return 0;
        return usage_error(cli, arguments->verb, "--%s cannot be %s.", name, text);
}

enum { HELP_WIDTH = 79, HELP_COLUMN = 30 };

/* @text behind @left, broken to the width; below it when that is too long. */
static void print_entry(const char *left, const char *text)
{
        _cleanup_lines_ Lines lines = {};
        char first[HELP_COLUMN + 1];
        bool fits = strlen(left) + 2 <= HELP_COLUMN;

        if (!fits)
                puts(left);
        snprintf(first, sizeof(first), "%-*s", HELP_COLUMN, fits ? left : "");
        lines_wrap(&lines, HELP_WIDTH, first, text);
        for (size_t i = 0; i < lines.n; i++)
                puts(lines.list[i].text);
}

static void print_options(const Option *options)
{
        for (; options && options->name; options++) {
                char left[80], letter[8] = "    ";

                if (options->letter)
                        snprintf(letter, sizeof(letter), "-%c, ", options->letter);
                snprintf(left, sizeof(left), "  %s--%s%s%s", letter, options->name,
                         options->argument ? "=" : "", options->argument ?: "");
                print_entry(left, options->help);
        }
}

static void print_exit_statuses(void)
{
        fputs("\nExit status:\n"
              "  0    fine\n"
              "  1    our own failure: no bus, no service, a fault of the program\n"
              "  2    the command line is wrong\n"
              "  3    stopped by a cause that you can mend\n"
              "  4    stopped by a temporary cause: try again later\n"
              "  5    stopped by a permanent cause: the provider or administrator must act\n"
              "  6    something is needed that was not given (a password, an approval)\n"
              "  130  interrupted\n",
              stdout);
}

void help_print(Cli *cli, const Verb *verb)
{
        if (verb) {
                printf("Usage: waypost %s%s%s [OPTION...]\n\n%s.\n", verb->name,
                       *verb->operands ? " " : "", verb->operands, verb->summary);
                if (verb->text)
                        printf("\n%s", verb->text);
                if (verb->options && verb->options->name)
                        puts("\nOptions:");
                print_options(verb->options);
                puts("\nCommon options:");
        } else {
                puts("Usage: waypost COMMAND [OPTION...]\n\n"
                     "Set up mail accounts, find out why mail does not flow, and see it fetched.\n\n"
                     "Commands:");
                for (size_t i = 0; verbs[i]; i++)
                        if (!verbs[i]->hidden)
                                printf("  %-14s %s\n", verbs[i]->name, verbs[i]->summary);
                puts("\nAn ACCOUNT is named by its address or the beginning of its id. \"waypost COMMAND\n"
                     "--help\" tells the options of a command.\n\nOptions:");
        }
        print_options(common_options);
        print_exit_statuses();
}
