/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes where. Text from the bus is printable already (value.h); here it is fitted to the locale. */
#include "cli/output.h"

#include "dbus/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cli/screen.h"
#include "cli/text.h"

static const char *escape(Colour colour)
{
        switch (colour) {
        case COLOUR_NONE:
                return "\033[0m";
        case COLOUR_BOLD:
                return "\033[1m";
        case COLOUR_DIM:
                return "\033[2m";
        case COLOUR_RED:
                return "\033[1;31m";
        case COLOUR_GREEN:
                return "\033[32m";
        case COLOUR_YELLOW:
                return "\033[33m";
        }
        return "";
}

const char *output_colour(Cli *cli, Colour colour)
{
        return cli->colour ? escape(colour) : "";
}

_printf_(3, 0) static void print(Cli *cli, FILE *to, const char *format, va_list arguments)
{
        _cleanup_free_ char *text = NULL;

        if (vasprintf(&text, format, arguments) < 0) {
                text = NULL;
                return;
        }
        if (!cli->utf8)
                text_to_ascii(text);
        fputs(text, to);
}

FILE *output_steps(Cli *cli)
{
        return cli->json || cli->text_only ? stderr : stdout;
}

unsigned output_columns(Cli *cli)
{
        enum { PLAIN = 79, LEAST = 20 };
        struct winsize size = {};

        if (!cli->live || ioctl(fileno(output_steps(cli)), TIOCGWINSZ, &size) < 0 || !size.ws_col)
                return PLAIN;
        return size.ws_col > LEAST ? size.ws_col - 1U : LEAST;
}

void output_end_line(Cli *cli)
{
        if (cli->line == LINE_PROMPT)
                fputs("\n", stderr);
        cli->line = LINE_NONE;
        screen_clear(cli);
}

void output_progress(Cli *cli, const char *format, ...)
{
        va_list arguments;

        if (cli->quiet)
                return;
        output_end_line(cli);
        va_start(arguments, format);
        print(cli, output_steps(cli), format, arguments);
        va_end(arguments);
}

void output_result(Cli *cli, const char *format, ...)
{
        va_list arguments;

        if (cli->json)
                return;
        output_end_line(cli);
        va_start(arguments, format);
        print(cli, stdout, format, arguments);
        va_end(arguments);
}

void output_result_lines(Cli *cli, const Lines *lines)
{
        for (size_t i = 0; i < lines->n; i++)
                output_result(cli, "%s\n", lines->list[i].text);
}

void output_note(Cli *cli, const char *format, ...)
{
        va_list arguments;

        output_end_line(cli);
        fflush(stdout);
        va_start(arguments, format);
        print(cli, stderr, format, arguments);
        va_end(arguments);
}

void output_prompt(Cli *cli, const char *format, ...)
{
        va_list arguments;

        output_end_line(cli);
        fflush(stdout);
        va_start(arguments, format);
        print(cli, stderr, format, arguments);
        va_end(arguments);
        fflush(stderr);
        cli->line = LINE_PROMPT;
}

void output_error(Cli *cli, const char *name, const char *sentence)
{
        _cleanup_json_ json_object *object = NULL;
        json_object *error;

        output_note(cli, "waypost: %s\n", sentence);
        if (!cli->json || cli->json_done)
                return;
        object = json_object_new_object();
        error = json_object_new_object();
        value_set_text(error, "name", name);
        value_set_text(error, "message", sentence);
        json_object_object_add(object, "error", error);
        output_json(cli, object);
}

void output_json(Cli *cli, json_object *object)
{
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

        if (isatty(STDOUT_FILENO))
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;
        cli->json_done = true;
        output_end_line(cli);
        puts(json_object_to_json_string_ext(object, flags));
        fflush(stdout);
}

void output_json_if_asked(Cli *cli, json_object *object)
{
        if (cli->json)
                output_json(cli, object);
}

void output_json_line(Cli *cli, json_object *object)
{
        cli->json_done = true;
        output_end_line(cli);
        puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_NOSLASHESCAPE));
        fflush(stdout);
}
