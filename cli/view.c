/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of one setup as they go. What a row says is step.c's; here is where it stands and what it is called. */
#include "cli/view.h"

#include <stdio.h>
#include <string.h>

#include "cli/output.h"
#include "cli/screen.h"
#include "cli/step.h"
#include "cli/text.h"
#include "dbus/names.h"

void view_init(View *view, Cli *cli)
{
        *view = (View){ .cli = cli,
                        .printed = json_object_new_object(),
                        .told = json_object_new_object() };
}

void view_deinit(View *view)
{
        json_object_put(view->printed);
        json_object_put(view->told);
        json_object_put(view->properties);
}

/* --- a list that is redrawn -------------------------------------------------------------------------------------- */

typedef struct Mark {
        const char *status, *sign, *ascii, *word;
        Colour colour;
        int rank;
} Mark;

static const Mark marks[] = {
        { "passed", "\u2713", "ok", "ok", COLOUR_GREEN, RANK_DONE },
        { "warned", "!", "! ", "warn", COLOUR_YELLOW, RANK_STAYS },
        { "failed", "\u2717", "x ", "FAIL", COLOUR_RED, RANK_STAYS },
        { "waiting", "?", "? ", "wait", COLOUR_YELLOW, RANK_STAYS },
        { "pending", "\u00b7", "- ", "", COLOUR_DIM, RANK_PENDING },
};

static const Mark *mark_of(const char *status)
{
        for (size_t i = 0; status && i < ELEMENTS(marks); i++)
                if (strcmp(marks[i].status, status) == 0)
                        return &marks[i];
        return NULL;
}

/* What steps are called on a list; one that is not known has its own name. */
static const char *label_of(const char *name)
{
        static const char *const labels[][2] = {
                { "address", "Mail address" },
                { "discovery", "Find servers" },
                { "dns", "Look up name" },
                { "port", "Connect" },
                { "tls", "Certificate" },
                { "service", "Mail service" },
                { "login", "Sign in" },
                { "mailbox", "Mailbox" },
                { "sender", "Sender" },
                { "handover", "Store account" },
                { "verification", "Mail to yourself" },
        };

        for (size_t i = 0; i < ELEMENTS(labels); i++)
                if (strcmp(labels[i][0], name) == 0)
                        return labels[i][1];
        return name;
}

void view_row(Canvas *to, const char *status, const char *label, uint64_t usec, const char *proof)
{
        const Mark *mark = mark_of(status);
        const char *sign = mark ? to->cli->utf8 ? mark->sign : mark->ascii : screen_spinner(to);
        const char *end = output_colour(to->cli, COLOUR_NONE);
        bool pending = mark && mark->rank == RANK_PENDING;
        char duration[TEXT_SHORT] = "";

        if (usec)
                text_duration(duration, usec);
        lines_add(&to->lines, mark ? mark->rank : RANK_STAYS, " %s%s%s%*s %s%-16s%s %8s  %s%s%s",
                  output_colour(to->cli, mark ? mark->colour : COLOUR_BOLD), sign, end,
                  2 - text_width(sign), "",
                  output_colour(to->cli, pending ? COLOUR_DIM : COLOUR_NONE), label, end, duration,
                  output_colour(to->cli, COLOUR_DIM), proof, end);
}

void view_state(Canvas *to, const char *status, const char *name, int width, const char *state,
                const char *doing)
{
        const Mark *mark = mark_of(status);
        const char *sign = to->cli->utf8 ? mark->sign : mark->ascii,
                   *end = output_colour(to->cli, COLOUR_NONE);

        lines_add(&to->lines, RANK_STAYS, " %s%s%s%*s %s%*s  %-15s %s%s%s",
                  output_colour(to->cli, mark->colour), sign, end, 2 - text_width(sign), "", name,
                  width - text_width(name), "", state, output_colour(to->cli, COLOUR_DIM), doing,
                  end);
}

/* @over: what has not been reached will not be. */
static void paint_step(Canvas *to, json_object *step, bool over)
{
        const char *status = value_text_or(step, "status", ""), *label = label_of(step_name(step));
        _cleanup_free_ char *proof = NULL;
        uint64_t since, now = text_now();

        if (strcmp(status, "running") == 0) {
                since = value_number(value_object(step, "evidence"), KEY_SINCE, now);
                proof = step_waits_for(step);
                view_row(to, NULL, label, now - since > 300 * USEC_PER_MSEC ? now - since : 0,
                         proof ?: "");
        } else if (strcmp(status, "waiting") == 0) {
                view_row(to, status, label, 0, "needs your answer");
        } else if (strcmp(status, "pending") == 0) {
                if (!over)
                        view_row(to, status, label, 0, "");
        } else {
                proof = step_proof(step, false);
                if (proof && to->columns > VIEW_PROOF_AT)
                        line_cut_list(proof, to->columns - VIEW_PROOF_AT);
                view_row(to, status, label, value_number(step, "usec", 0) ?: 1, proof ?: "");
        }
}

/* Whether it is worth a row: what was skipped is not, nor an address that is one. */
static bool is_shown(json_object *step)
{
        return !step_is(step, "skipped") &&
               !(strcmp(step_name(step), "address") == 0 && !step_is(step, "failed"));
}

static const char *side_of(json_object *step)
{
        const char *id = value_text_or(step, KEY_ID, "");

        return strncmp(id, "incoming.", 9) == 0   ? "Receiving"
               : strncmp(id, "outgoing.", 9) == 0 ? "Sending"
                                                  : "";
}

static bool has_begun(json_object *steps, const char *side)
{
        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (strcmp(side_of(step), side) == 0 && is_shown(step) && !step_is(step, "pending"))
                        return true;
        }
        return false;
}

static void paint(void *userdata, Canvas *to)
{
        View *view = userdata;
        json_object *steps = value_list(view->properties, "steps");
        const char *side = "";
        bool over;

        if (to->final && view->silent)
                return;
        over = to->final || strcmp(value_text_or(view->properties, "state", ""), SETUP_FAILED) == 0;
        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (!is_shown(step))
                        continue;
                if (strcmp(side_of(step), side) != 0) {
                        side = side_of(step);
                        if (*side && (!over || has_begun(steps, side)))
                                lines_add(&to->lines, RANK_HEADING, "%s%s%s",
                                          output_colour(view->cli, COLOUR_BOLD), side,
                                          output_colour(view->cli, COLOUR_NONE));
                }
                paint_step(to, step, over);
        }
}

/* --- lines ------------------------------------------------------------------------------------------------------- */

static void print_line(View *view, json_object *step, const char *word, Colour colour,
                       uint64_t usec, const char *proof)
{
        char duration[TEXT_SHORT];

        output_progress(view->cli, "  %s%-4s%s %-17s %9s  %s\n", output_colour(view->cli, colour),
                        word, output_colour(view->cli, COLOUR_NONE),
                        value_text_or(step, KEY_ID, "?"), text_duration(duration, usec), proof);
}

static void print_ended(View *view, json_object *step)
{
        const char *id = value_text_or(step, KEY_ID, "?"),
                   *status = value_text_or(step, "status", "");
        const Mark *mark = mark_of(status);
        _cleanup_free_ char *proof = NULL;

        if (value_has(view->printed, id) &&
            json_object_equal(json_object_object_get(view->printed, id), step))
                return;
        json_object_object_add(view->printed, id, json_object_get(step));
        proof = step_proof(step, true);
        print_line(view, step, mark ? mark->word : status, mark ? mark->colour : COLOUR_NONE,
                   value_number(step, "usec", 0), proof ?: "");
}

/* Once for each silence. */
static void print_silence(View *view, json_object *step)
{
        const char *id = value_text_or(step, KEY_ID, "?");
        uint64_t since = value_number(value_object(step, "evidence"), KEY_SINCE, 0);
        _cleanup_free_ char *words = step_waits_for(step);

        if (!words || value_number(view->told, id, 0) == since)
                return;
        json_object_object_add(view->told, id, json_object_new_uint64(since));
        print_line(view, step, "...", COLOUR_NONE, text_now() - since, words);
}

static void print_new(View *view)
{
        json_object *steps = value_list(view->properties, "steps");

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (step_is(step, "running"))
                        print_silence(view, step);
                else if (step_has_ended(step) && is_shown(step))
                        print_ended(view, step);
        }
}

/* --- both -------------------------------------------------------------------------------------------------------- */

int view_update(View *view, json_object *properties)
{
        json_object_put(view->properties);
        view->properties = json_object_get(properties);
        if (view->cli->quiet)
                return 0;
        if (!view->cli->live) {
                if (!view->silent)
                        print_new(view);
                return 0;
        }
        if (view->begun)
                return 0;
        view->begun = true;
        return screen_begin(view->cli, paint, view);
}

uint64_t view_pause(const View *view)
{
        json_object *steps = value_list(view->properties, "steps");

        if (view->cli->live || view->cli->quiet)
                return UINT64_MAX;
        for (size_t i = 0; i < value_length(steps); i++)
                if (step_is(json_object_array_get_idx(steps, i), "running"))
                        return USEC_PER_SEC;
        return UINT64_MAX;
}
