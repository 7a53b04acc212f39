/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One fetch of one account. Progress is taken from the property Run as it is announced; the end from RunFinished of that
 * very run, which may come before FetchNow's reply was read. */
#include "cli/run.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/cause.h"
#include "cli/output.h"
#include "cli/text.h"
#include "dbus/names.h"

typedef struct Following {
        Cli *cli;
        const char *path;
        uint64_t run;       /* 0 until FetchNow has answered */
        json_object *ended; /* RunFinished, of this run or, before we know which, of the last one */
        json_object *progress; /* Run, as last announced */
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

static void on_properties(Following *f, sd_bus_message *m)
{
        _cleanup_json_ json_object *interface = NULL, *changed = NULL;
        json_object *run;

        if (value_read(m, &interface) < 0 || value_read(m, &changed) < 0)
                return;
        run = value_object(changed, "Run");
        if (run && json_object_object_length(run) > 0)
                keep(&f->progress, json_object_get(run));
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

static void print_progress(Following *f)
{
        uint64_t now = text_now(), delivered = value_number(f->progress, KEY_DELIVERED, 0),
                 fresh = value_number(f->progress, KEY_FRESH, 0),
                 total = value_number(f->progress, KEY_TOTAL_BYTES, 0);
        char bytes[TEXT_SHORT], of[TEXT_SHORT], speed[TEXT_SHORT], line[512];

        if (!f->progress || fresh == 0)
                return;
        /* Into a file: what is worth a line, at most one a second. */
        if (!f->cli->redraw &&
            (now - f->told_usec < USEC_PER_SEC || delivered == f->told_delivered))
                return;
        f->told_usec = now;
        f->told_delivered = delivered;
        text_size(bytes, value_number(f->progress, KEY_BYTES, 0));
        text_size(of, total);
        text_size(speed, rate(f->progress, now));
        snprintf(line, sizeof(line),
                 "  ...  fetching  %" PRIu64 " of %" PRIu64 " messages, %s%s%s, %s/s", delivered,
                 fresh, bytes, total ? " of " : "", total ? of : "", speed);
        if (f->cli->redraw)
                output_redraw(f->cli, "%s", line);
        else
                output_progress(f->cli, "%s\n", line);
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
        if (r == 0 && wait)
                r = follow(&f);
        output_end_line(cli);
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

void run_print(Cli *cli, json_object *run)
{
        uint64_t started = value_number(run, KEY_STARTED, 0),
                 ended = value_number(run, KEY_ENDED, 0),
                 skipped = value_number(run, KEY_SKIPPED, 0);
        char count[TEXT_SHORT], bytes[TEXT_SHORT], speed[TEXT_SHORT], duration[TEXT_SHORT];
        const char *cause = value_text(run, KEY_CAUSE);

        text_duration(duration, ended > started ? ended - started : 0);
        output_result(cli, "  %s%-4s%s %-17s %9s  ",
                      output_result_colour(cli, cause ? COLOUR_RED : COLOUR_GREEN),
                      cause ? "FAIL" : "ok", output_result_colour(cli, COLOUR_NONE), "fetch",
                      duration);
        if (cause)
                output_result(cli, "%s, ", cause);
        output_result(cli, "%s delivered (%" PRIu64 " new",
                      text_count(count, value_number(run, KEY_DELIVERED, 0), "message"),
                      value_number(run, KEY_FRESH, 0));
        if (skipped)
                output_result(cli, ", %" PRIu64 " skipped", skipped);
        output_result(cli, " of %" PRIu64 " there)", value_number(run, KEY_LISTED, 0));
        if (value_number(run, KEY_BYTES, 0))
                output_result(cli, ", %s, %s/s", text_size(bytes, value_number(run, KEY_BYTES, 0)),
                              text_size(speed, rate(run, ended)));
        output_result(cli, "\n");
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
