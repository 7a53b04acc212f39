/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One fetch of one account. Progress is taken from the property Run as it is announced; the end from RunFinished of that
 * very run, which may come before FetchNow's reply was read. */
#include "cli/run.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/view.h"
#include "dbus/names.h"

/* How fast it goes now rather than on the average: over the last seconds. */
typedef struct Pace {
        uint64_t at_usec, bytes; /* as last looked at */
        double rate;             /* bytes a second */
        uint64_t seen_usec;      /* over how long */
} Pace;

typedef struct Following {
        Cli *cli;
        const char *path;
        uint64_t run;       /* 0 until FetchNow has answered */
        json_object *ended; /* RunFinished, of this run or, before we know which, of the last one */
        json_object *progress; /* Run, as last announced */
        Pace pace;
        bool removed;
        uint64_t told_usec, told_delivered;
} Following;

static void following_deinit(Following *f)
{
        cli_listen(f->cli, NULL, NULL);
        json_object_put(f->ended);
        json_object_put(f->progress);
}

static void keep(json_object **at, json_object *value)
{
        json_object_put(*at);
        *at = value;
}

static void on_finished(Following *f, sd_bus_message *m)
{
        json_object *run;

        if (value_read(m, &run) < 0)
                return;
        value_nothing_is_null(run, KEY_CAUSE);
        if (f->run && value_number(run, KEY_RUN, f->run) != f->run)
                json_object_put(run);
        else
                keep(&f->ended, run);
}

static void pace_update(Pace *pace, uint64_t bytes, uint64_t now)
{
        enum { MEMORY = 3 }; /* seconds */
        double seconds, now_rate, weight;

        if (pace->at_usec && now > pace->at_usec && bytes >= pace->bytes) {
                seconds = (double) (now - pace->at_usec) / USEC_PER_SEC;
                now_rate = (double) (bytes - pace->bytes) / seconds;
                pace->seen_usec += now - pace->at_usec;
                weight = seconds / (seconds + MEMORY);
                /* The first ones count in full, or it would begin with nothing. */
                if (pace->seen_usec < MEMORY * USEC_PER_SEC)
                        weight = (double) (now - pace->at_usec) / (double) pace->seen_usec;
                pace->rate += (now_rate - pace->rate) * weight;
        }
        pace->at_usec = now;
        pace->bytes = bytes;
}

static void on_properties(Following *f, sd_bus_message *m)
{
        _cleanup_json_ json_object *interface = NULL, *changed = NULL;
        json_object *run;

        if (value_read(m, &interface) < 0 || value_read(m, &changed) < 0)
                return;
        run = value_object(changed, "Run");
        if (!run || json_object_object_length(run) == 0)
                return;
        keep(&f->progress, json_object_get(run));
        pace_update(&f->pace, value_number(run, KEY_BYTES, 0), text_now());
}

static void on_removed(Following *f, sd_bus_message *m)
{
        const char *path;

        if (sd_bus_message_read(m, "o", &path) >= 0 && strcmp(path, f->path) == 0)
                f->removed = true;
}

static void on_signal(void *userdata, sd_bus_message *m)
{
        Following *f = userdata;

        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", "InterfacesRemoved"))
                on_removed(f, m);
        if (!sd_bus_message_get_path(m) || strcmp(sd_bus_message_get_path(m), f->path) != 0)
                return;
        if (sd_bus_message_is_signal(m, INTERFACE_ACCOUNT, "RunFinished"))
                on_finished(f, m);
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties",
                                          "PropertiesChanged"))
                on_properties(f, m);
}

static uint64_t rate(json_object *run, uint64_t end)
{
        uint64_t started = value_number(run, KEY_STARTED, 0);
        uint64_t bytes = value_number(run, KEY_BYTES, 0);

        if (!started || end <= started)
                return 0;
        return (uint64_t) ((double) bytes * USEC_PER_SEC / (double) (end - started));
}

/* What is left, once there is reason to say so: a second of watching, and mail that moves. */
static const char *time_left(Following *f, uint64_t total, char buffer[TEXT_SHORT])
{
        uint64_t bytes = value_number(f->progress, KEY_BYTES, 0);
        char span[TEXT_SHORT];

        buffer[0] = '\0';
        if (f->pace.seen_usec >= USEC_PER_SEC && f->pace.rate >= 1 && total > bytes) {
                double left = (double) (total - bytes) / f->pace.rate;

                if (left < 100 * 86400)
                        snprintf(buffer, TEXT_SHORT, ", %.20s left",
                                 text_span(span,
                                           (uint64_t) (left * USEC_PER_SEC) + USEC_PER_SEC / 2));
        }
        return buffer;
}

/* "230 of 521 messages, 10.7 MB of 23.9 MB, 4.1 MB/s, 3 s left"; the sizes only where there is room. */
static void progress_text(Following *f, unsigned columns, char *to, size_t size)
{
        uint64_t total = value_number(f->progress, KEY_TOTAL_BYTES, 0);
        char count[2 * TEXT_SHORT], got[TEXT_SHORT], sizes[3 * TEXT_SHORT] = "", speed[TEXT_SHORT],
                                                               left[TEXT_SHORT];

        snprintf(count, sizeof(count), "%" PRIu64 " of %" PRIu64 " messages",
                 value_number(f->progress, KEY_DELIVERED, 0),
                 value_number(f->progress, KEY_FRESH, 0));
        text_size(got, value_number(f->progress, KEY_BYTES, 0));
        if (total)
                snprintf(sizes, sizeof(sizes), ", %s of %s", got, text_size(speed, total));
        else
                snprintf(sizes, sizeof(sizes), ", %s", got);
        text_size(speed,
                  f->pace.seen_usec ? (uint64_t) f->pace.rate : rate(f->progress, text_now()));
        time_left(f, total, left);
        if (strlen(count) + strlen(sizes) + strlen(speed) + strlen(left) + 4 > columns)
                sizes[0] = '\0';
        snprintf(to, size, "%s%s, %s/s%s", count, sizes, speed, left);
}

/* By size where that is announced, else by number. */
static double part_done(Following *f)
{
        bool sized = value_number(f->progress, KEY_TOTAL_BYTES, 0);
        double done = (double) value_number(f->progress, sized ? KEY_BYTES : KEY_DELIVERED, 0),
               all = (double) value_number(f->progress, sized ? KEY_TOTAL_BYTES : KEY_FRESH, 0);

        return all <= 0 ? 0 : done >= all ? 1 : done / all;
}

/* As long as there is room, and the part in figures. */
static void bar(Canvas *to, double part, char *text, size_t size)
{
        enum { MOST = 30, FIGURES = 6 };
        const char *full = to->cli->utf8 ? "\u2588" : "#", *empty = to->cli->utf8 ? "\u2591" : ".";
        unsigned room = to->columns > VIEW_PROOF_AT + FIGURES
                                ? to->columns - VIEW_PROOF_AT - FIGURES
                                : 0,
                 cells = room < MOST ? room : MOST;
        size_t at = 0;

        text[0] = '\0';
        for (unsigned i = 0; i < cells; i++)
                at += (size_t) snprintf(text + at, size - at, "%s",
                                        i < part * cells ? full : empty);
        snprintf(text + at, size - at, " %3d %%", (int) (part * 100));
}

static void paint(void *userdata, Canvas *to)
{
        Following *f = userdata;
        char text[512], cells[256];

        if (to->final)
                return;
        if (!f->progress || value_number(f->progress, KEY_FRESH, 0) == 0) {
                view_row(to, NULL, "Fetch", 0, "asking what is there");
                return;
        }
        bar(to, part_done(f), cells, sizeof(cells));
        view_row(to, NULL, "Fetch", text_now() - value_number(f->progress, KEY_STARTED, text_now()),
                 cells);
        progress_text(f, to->columns - 4, text, sizeof(text));
        lines_add(&to->lines, RANK_STAYS, "    %s", text);
}

/* Into a file: what is worth a line, at most one a second. */
static void print_progress(Following *f)
{
        uint64_t now = text_now(), delivered = value_number(f->progress, KEY_DELIVERED, 0);
        char text[512];

        if (f->cli->live || value_number(f->progress, KEY_FRESH, 0) == 0 ||
            now - f->told_usec < USEC_PER_SEC || delivered == f->told_delivered)
                return;
        f->told_usec = now;
        f->told_delivered = delivered;
        progress_text(f, UINT_MAX, text, sizeof(text));
        output_progress(f->cli, "  ...  fetching  %s\n", text);
}

static int follow(Following *f)
{
        while (!f->ended) {
                int r = cli_wait(f->cli, UINT64_MAX);

                if (r)
                        return r;
                if (f->removed && !f->ended) {
                        output_error(f->cli, ERROR_NOT_FOUND,
                                     "The account was removed while it was fetched.");
                        return EXIT_OURS;
                }
                print_progress(f);
        }
        return 0;
}

/* A fetch cannot begin while something else stops the account: that cause is the answer. */
static int refused(Cli *cli, const char *path, const sd_bus_error *error)
{
        _cleanup_json_ json_object *account = NULL, *description = NULL;
        const char *cause;
        int r;

        if (!sd_bus_error_has_name(error, ERROR_INVALID_STATE) ||
            account_read(cli, path, &account) != 0)
                return cli_refused(cli, error);
        cause = value_text(account, "cause");
        r = cause ? cause_describe(cli, cause, account_evidence(account), &description) : 0;
        if (r)
                return r;
        if (description)
                cause_print(cli, description, NULL);
        cli_refused(cli, error);
        /* A paused account has no cause, and whoever paused it can resume it. */
        return description ? cause_exit(description) : EXIT_USER_ACTION;
}

static int ask_for_fetch(Following *f)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = cli_message(f->cli, &m, f->path, INTERFACE_ACCOUNT, "FetchNow");
        if (r)
                return r;
        r = sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return cli_failed(f->cli, r, "Making a call");
        r = cli_call(f->cli, m, &reply, &error);
        if (r == CALL_REFUSED)
                return refused(f->cli, f->path, &error);
        if (r)
                return r;
        r = sd_bus_message_read(reply, "t", &f->run);
        if (r < 0)
                return cli_failed(f->cli, r, "Reading the service's answer");
        /* Another run's end may have come first. */
        if (f->ended && value_number(f->ended, KEY_RUN, f->run) != f->run)
                keep(&f->ended, NULL);
        return 0;
}

int run_fetch(Cli *cli, const char *account, bool wait, json_object **ret)
{
        _cleanup_(following_deinit) Following f = { .cli = cli, .path = account };
        int r;

        cli_listen(cli, on_signal, &f);
        r = ask_for_fetch(&f);
        if (r == 0 && wait && !cli->quiet)
                r = screen_begin(cli, paint, &f);
        if (r == 0 && wait)
                r = follow(&f);
        screen_end(cli);
        if (r)
                return r;
        if (wait) {
                *ret = TAKE(f.ended);
                return 0;
        }
        *ret = json_object_new_object();
        json_object_object_add(*ret, KEY_RUN, json_object_new_uint64(f.run));
        return 0;
}

/* "5 messages delivered (5 new, 3 skipped of 8 there), 5.0 kB, 10.0 kB/s" */
static char *run_text(json_object *run)
{
        uint64_t ended = value_number(run, KEY_ENDED, 0),
                 skipped = value_number(run, KEY_SKIPPED, 0),
                 bytes = value_number(run, KEY_BYTES, 0);
        char count[TEXT_SHORT], size[TEXT_SHORT], speed[TEXT_SHORT], passed_over[TEXT_SHORT] = "";
        char *text;

        if (skipped)
                snprintf(passed_over, sizeof(passed_over), ", %" PRIu64 " skipped", skipped);
        if (asprintf(&text, "%s delivered (%" PRIu64 " new%s of %" PRIu64 " there)%s%s%s%s%s",
                     text_count(count, value_number(run, KEY_DELIVERED, 0), "message"),
                     value_number(run, KEY_FRESH, 0), passed_over, value_number(run, KEY_LISTED, 0),
                     bytes ? ", " : "", bytes ? text_size(size, bytes) : "", bytes ? ", " : "",
                     bytes ? text_size(speed, rate(run, ended)) : "", bytes ? "/s" : "") < 0)
                return NULL;
        return text;
}

/* As the last row of the list above it. */
static void print_row(Cli *cli, json_object *run, uint64_t usec)
{
        Canvas canvas = { .cli = cli, .columns = output_columns(cli) };
        uint64_t bytes = value_number(run, KEY_BYTES, 0),
                 skipped = value_number(run, KEY_SKIPPED, 0);
        char text[4 * TEXT_SHORT], count[TEXT_SHORT], size[TEXT_SHORT],
                passed_over[TEXT_SHORT] = "";

        if (skipped)
                snprintf(passed_over, sizeof(passed_over), ", %" PRIu64 " skipped", skipped);
        if (value_number(run, KEY_DELIVERED, 0))
                snprintf(text, sizeof(text), "%s, %s%s",
                         text_count(count, value_number(run, KEY_DELIVERED, 0), "new message"),
                         text_size(size, bytes), passed_over);
        else
                snprintf(text, sizeof(text), "nothing new%s", passed_over);
        view_row(&canvas, "passed", "Fetch", usec ?: 1, text);
        output_result_lines(cli, &canvas.lines);
        lines_deinit(&canvas.lines);
}

void run_print(Cli *cli, json_object *run)
{
        uint64_t started = value_number(run, KEY_STARTED, 0),
                 ended = value_number(run, KEY_ENDED, 0);
        const char *cause = value_text(run, KEY_CAUSE);
        _cleanup_free_ char *text = run_text(run);
        char duration[TEXT_SHORT];

        if (cli->live && !cause) {
                print_row(cli, run, ended > started ? ended - started : 0);
                return;
        }
        text_duration(duration, ended > started ? ended - started : 0);
        output_result(cli, "  %s%-4s%s %-17s %9s  %s%s%s\n",
                      output_colour(cli, cause ? COLOUR_RED : COLOUR_GREEN), cause ? "FAIL" : "ok",
                      output_colour(cli, COLOUR_NONE), "fetch", duration, cause ?: "",
                      cause ? ", " : "", text ?: "");
}

int run_conclude(Cli *cli, json_object *run)
{
        _cleanup_json_ json_object *description = NULL;
        const char *cause = value_text(run, KEY_CAUSE);
        int r;

        if (!cause)
                return 0;
        r = cause_describe(cli, cause, run, &description);
        if (r)
                return r;
        cause_print(cli, description, value_text(run, KEY_REPLY));
        return cause_exit(description);
}

int records_read(Cli *cli, sd_bus_message *m, json_object **ret)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        r = cli_call(cli, m, &reply, NULL);
        if (r)
                return r;
        r = value_read(reply, ret);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        for (size_t i = 0; i < value_length(*ret); i++)
                value_nothing_is_null(json_object_array_get_idx(*ret, i), KEY_CAUSE);
        return 0;
}

int history_read(Cli *cli, const char *path, uint64_t count, json_object **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, path, INTERFACE_ACCOUNT, "History");
        if (r)
                return r;
        r = sd_bus_message_append(m, "u", (uint32_t) count);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        return records_read(cli, m, ret);
}
