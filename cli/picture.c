/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See picture.h. */
#include "cli/picture.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cause.h"
#include "cli/output.h"
#include "cli/step.h"
#include "cli/text.h"
#include "dbus/names.h"

enum { WIDTH = 80, WIDTH_MAX = 120, PROOFS_MAX = 4 };

/* Of the terminal; nothing is cut where there is none. */
static size_t width(void)
{
        struct winsize size;

        if (!isatty(STDOUT_FILENO))
                return SIZE_MAX;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 40)
                return WIDTH;
        return size.ws_col < WIDTH_MAX ? size.ws_col : WIDTH_MAX;
}

/* Cuts @text to @columns, at a character. */
static void cut(char *text, size_t columns)
{
        size_t len = strlen(text);

        while (len > 0 && (size_t) text_width(text) > columns) {
                do
                        len--;
                while (len > 0 && ((unsigned char) text[len] & 0xc0) == 0x80);
                text[len] = 0;
                if (len >= 3 && (size_t) text_width(text) <= columns)
                        memcpy(text + len - 3, "...", 3);
        }
}

json_object *picture_step_of_cause(json_object *properties, const char *code)
{
        json_object *steps = value_list(properties, "steps");

        for (size_t i = 0; code && i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                const char *status = value_text_or(step, "status", "");

                if (strcmp(value_text_or(step, KEY_CAUSE, ""), code) == 0 &&
                    (strcmp(status, "failed") == 0 || strcmp(status, "waiting") == 0))
                        return step;
        }
        return NULL;
}

/* --- steps ----------------------------------------------------------------------------------------------------------- */

typedef struct Mark {
        const char *status, *word;
        Colour colour;
} Mark;

static Mark mark_of(json_object *step, bool follows)
{
        static const Mark marks[] = {
                { "passed", "ok", COLOUR_GREEN },
                { "warned", "warn", COLOUR_YELLOW },
                { "failed", "FAIL", COLOUR_RED },
                { "waiting", "wait", COLOUR_YELLOW },
        };
        const char *status = value_text_or(step, "status", "");

        if (follows)
                return (Mark){ status, "same", COLOUR_DIM };
        for (size_t i = 0; i < ELEMENTS(marks); i++)
                if (strcmp(marks[i].status, status) == 0)
                        return marks[i];
        return (Mark){ status, "-", COLOUR_DIM };
}

static void print_step(Cli *cli, json_object *step, bool follows, size_t columns)
{
        Mark mark = mark_of(step, follows);
        _cleanup_free_ char *proof = step_proof(step, true), *line = NULL;
        char duration[TEXT_SHORT];

        text_duration(duration, value_number(step, "usec", 0));
        if (asprintf(&line, "%-17s %9s  %s", value_text_or(step, "id", "?"), duration,
                     proof ?: "") < 0)
                return;
        cut(line, columns > 8 ? columns - 8 : columns);
        output_result(cli, "  %s%-4s%s  %s%s%s\n", output_colour(cli, mark.colour), mark.word,
                      output_colour(cli, COLOUR_NONE),
                      follows ? output_colour(cli, COLOUR_DIM) : "", line,
                      follows ? output_colour(cli, COLOUR_NONE) : "");
}

static bool is_shown(json_object *step)
{
        const char *status = value_text_or(step, "status", ""), *id = value_text_or(step, "id", "");

        if (strcmp(id, "address") == 0 && strcmp(status, "passed") == 0)
                return false;
        return step_has_ended(step) ? strcmp(status, "skipped") != 0
                                    : strcmp(status, "waiting") == 0;
}

/* What was not reached, in one line: it follows. */
static void print_not_reached(Cli *cli, json_object *steps, size_t columns)
{
        _cleanup_free_ char *line = NULL;
        size_t len = 0, n = 0;
        FILE *to = open_memstream(&line, &len);

        for (size_t i = 0; to && i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                const char *status = value_text_or(step, "status", "");

                if (strcmp(status, "pending") == 0 || strcmp(status, "running") == 0)
                        fprintf(to, "%s%s",
                                n++ ? ", " : "not reached: ", value_text_or(step, "id", "?"));
        }
        if (!to || fclose(to) != 0 || n == 0)
                return;
        cut(line, columns > 8 ? columns - 8 : columns);
        output_result(cli, "  %s-     %s%s\n", output_colour(cli, COLOUR_DIM), line,
                      output_colour(cli, COLOUR_NONE));
}

static void print_steps(Cli *cli, json_object *properties, json_object *cause, size_t columns)
{
        json_object *steps = value_list(properties, "steps"), *primary;
        bool told = false;

        primary = picture_step_of_cause(properties, value_text(cause, KEY_CAUSE));
        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                bool failed = strcmp(value_text_or(step, "status", ""), "failed") == 0;

                if (!is_shown(step))
                        continue;
                /* The same cause on the other side, and what failed behind it, is no second story. */
                print_step(cli, step, failed && primary && step != primary && told, columns);
                told |= step == primary;
        }
        print_not_reached(cli, steps, columns);
}

/* --- the cause --------------------------------------------------------------------------------------------------------- */

static void print_proof(Cli *cli, json_object *evidence)
{
        static const struct {
                const char *key, *before;
        } proofs[] = {
                { KEY_REPLY, "The server said: \"" },
                { KEY_NETWORK, "Here: " },
                { KEY_OFFSET, "This clock is " },
                { KEY_CLOCK, "" },
                { KEY_PORTAL, "Sign-in page: " },
                { KEY_INTERCEPTED, "Between: " },
                { KEY_VERIFY_ERRORS, "Certificate: " },
                { KEY_SUGGESTED_HOST, "Its certificate is for: " },
                { KEY_ATTEMPTS, "" },
                { KEY_ALTERNATIVE, "But " },
                { KEY_SPEAKS, "There speaks: " },
                { KEY_CONTROLS, "Beside: " },
                { KEY_ERROR, "" },
        };
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(proofs) && n < PROOFS_MAX; i++) {
                json_object *list = value_list(evidence, proofs[i].key);
                const char *text = list && value_length(list) > 0
                                           ? value_item(list, 0)
                                           : value_text(evidence, proofs[i].key);
                _cleanup_free_ char *line = NULL;

                if (!text || (n > 0 && strcmp(proofs[i].key, KEY_ERROR) == 0) ||
                    asprintf(&line, "%s%s%s%s", proofs[i].before, text,
                             strcmp(proofs[i].key, KEY_REPLY) == 0 ? "\"" : "",
                             list && value_length(list) > 1 ? " ..." : "") < 0)
                        continue;
                cause_print_text(cli, "  > ", line);
                n++;
        }
}

static void print_cause(Cli *cli, json_object *properties, json_object *cause)
{
        const char *code = value_text_or(cause, KEY_CAUSE, "?");
        json_object *step = picture_step_of_cause(properties, code),
                    *remedies = value_list(cause, KEY_REMEDIES);
        const char *explanation = value_text(cause, KEY_EXPLANATION);

        output_result(cli, "\n%s%s%s  (%s)\n", output_colour(cli, COLOUR_BOLD),
                      value_text_or(cause, KEY_TITLE, code), output_colour(cli, COLOUR_NONE), code);
        print_proof(cli, value_object(step, "evidence"));
        if (explanation)
                cause_print_text(cli, "  ", explanation);
        for (size_t i = 0; i < value_length(remedies); i++) {
                char number[32];

                snprintf(number, sizeof(number), "  %zu. ", i + 1);
                cause_print_text(cli, number, value_item(remedies, i));
        }
}

void picture_print(Cli *cli, const char *what, const char *below, json_object *properties,
                   json_object *cause, json_object *warnings)
{
        size_t columns = width();

        output_result(cli, "%s%s%s\n", output_colour(cli, COLOUR_BOLD), what,
                      output_colour(cli, COLOUR_NONE));
        if (below)
                output_result(cli, "  %s\n", below);
        print_steps(cli, properties, cause, columns);
        if (cause)
                print_cause(cli, properties, cause);
        for (size_t i = 0; i < value_length(warnings); i++) {
                json_object *warning = json_object_array_get_idx(warnings, i);

                output_result(cli, "%s  %s!%s ", i == 0 ? "\n" : "",
                              output_colour(cli, COLOUR_YELLOW), output_colour(cli, COLOUR_NONE));
                cause_print_text(cli, "", value_text_or(warning, "text", ""));
        }
}
