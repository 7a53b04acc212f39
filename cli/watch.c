/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* waypost watch: what happens, as it happens: one line (with --json one object) for each change of state, arrival and fetch. On a live
 * terminal the accounts stand below it, as they are at the moment. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/account.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "cli/view.h"
#include "dbus/names.h"

typedef struct Watch {
        Cli *cli;
        const char *only;        /* path; NULL: all */
        json_object *accounts;   /* path -> account as last seen */
        uint64_t printed, count; /* lines so far, and at most */
        int widest;              /* of the addresses, in columns */
} Watch;

static void watch_deinit(Watch *watch)
{
        cli_listen(watch->cli, NULL, NULL);
        json_object_put(watch->accounts);
}

static void note_width(Watch *watch, json_object *account)
{
        int width = text_width(value_text_or(account, "address", "?"));

        watch->widest = width > watch->widest ? width : watch->widest;
}

static json_object *known(Watch *watch, const char *path)
{
        return value_object(watch->accounts, path);
}

/* Takes @details, which may be NULL; its keys become those of the JSON line. */
static void tell(Watch *watch, const char *path, const char *event, json_object *details,
                 const char *line)
{
        _cleanup_json_ json_object *object = details ?: json_object_new_object();
        const char *address = value_text_or(known(watch, path), "address", path);
        uint64_t now = text_now();
        char at[TEXT_SHORT];

        /* More may come at the same moment than shall be told. */
        if (watch->printed == watch->count)
                return;
        watch->printed++;
        if (watch->cli->json) {
                json_object_object_add(object, "time", json_object_new_uint64(now));
                value_set_text(object, "event", event);
                value_set_text(object, "path", path);
                value_set_text(object, "address", address);
                output_json_line(watch->cli, object);
                return;
        }
        output_result(watch->cli, "%s  %s  %s\n", text_time(at, now) + 11, address, line);
        fflush(stdout);
}

static void tell_state(Watch *watch, const char *path, json_object *account)
{
        const char *state = value_text_or(account, "state", "?"),
                   *cause = value_text(account, "cause");
        json_object *details = json_object_new_object();
        _cleanup_free_ char *line = NULL;

        value_set_text(details, "state", state);
        value_set_text(details, "cause", cause);
        if (asprintf(&line, "%s%s%s", state, cause ? ": " : "", cause ?: "") < 0)
                line = NULL;
        tell(watch, path, "state", details, line ?: state);
}

static void on_changed(Watch *watch, const char *path, sd_bus_message *m)
{
        _cleanup_json_ json_object *interface = NULL, *raw = NULL, *changed = NULL;
        json_object *account = known(watch, path);
        bool state;

        if (!account || value_read(m, &interface) < 0 || value_read(m, &raw) < 0 ||
            !json_object_is_type(raw, json_type_object))
                return;
        changed = value_kebab(raw);
        state = (value_has(changed, "state") && strcmp(value_text_or(changed, "state", ""),
                                                       value_text_or(account, "state", ""))) ||
                (value_has(changed, "cause") &&
                 strcmp(value_text_or(changed, "cause", ""), value_text_or(account, "cause", "")));
        json_object_object_foreach(changed, key, value)
                json_object_object_add(account, key, json_object_get(value));
        if (state)
                tell_state(watch, path, account);
}

static void on_arrived(Watch *watch, const char *path, sd_bus_message *m)
{
        char count[TEXT_SHORT], size[TEXT_SHORT], line[3 * TEXT_SHORT];
        json_object *details;
        uint32_t messages;
        uint64_t bytes;

        if (sd_bus_message_read(m, "ut", &messages, &bytes) < 0)
                return;
        details = json_object_new_object();
        json_object_object_add(details, "messages", json_object_new_int64(messages));
        json_object_object_add(details, "bytes", json_object_new_uint64(bytes));
        snprintf(line, sizeof(line), "%s arrived, %s", text_count(count, messages, "new message"),
                 text_size(size, bytes));
        tell(watch, path, "arrived", details, line);
}

static void on_finished(Watch *watch, const char *path, sd_bus_message *m)
{
        char count[TEXT_SHORT];
        _cleanup_free_ char *line = NULL;
        json_object *run;
        const char *cause;

        if (value_read(m, &run) < 0)
                return;
        value_nothing_is_null(run, KEY_CAUSE);
        cause = value_text(run, KEY_CAUSE);
        text_count(count, value_number(run, KEY_DELIVERED, 0), "message");
        if (asprintf(&line, "fetched: %s delivered%s%s", count, cause ? ", " : "", cause ?: "") < 0)
                line = NULL;
        tell(watch, path, "run", run, line ?: "fetched");
}

static void on_added(Watch *watch, sd_bus_message *m)
{
        _cleanup_json_ json_object *path = NULL, *interfaces = NULL;
        json_object *properties, *account;

        if (value_read(m, &path) < 0 || value_read(m, &interfaces) < 0)
                return;
        properties = value_object(interfaces, INTERFACE_ACCOUNT);
        if (!properties)
                return;
        account = value_kebab(properties);
        account_complete(account, json_object_get_string(path));
        note_width(watch, account);
        json_object_object_add(watch->accounts, json_object_get_string(path), account);
        if (!watch->only)
                tell(watch, json_object_get_string(path), "added", NULL, "added");
}

static void on_removed(Watch *watch, sd_bus_message *m)
{
        const char *path;

        if (sd_bus_message_read(m, "o", &path) < 0 || !known(watch, path))
                return;
        if (!watch->only || strcmp(watch->only, path) == 0)
                tell(watch, path, "removed", NULL, "removed");
        json_object_object_del(watch->accounts, path);
}

static void on_signal(void *userdata, sd_bus_message *m)
{
        const char *path = sd_bus_message_get_path(m);
        Watch *watch = userdata;

        if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager", "InterfacesAdded"))
                on_added(watch, m);
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.ObjectManager",
                                          "InterfacesRemoved"))
                on_removed(watch, m);
        else if (!path || !known(watch, path) || (watch->only && strcmp(watch->only, path) != 0))
                return;
        else if (sd_bus_message_is_signal(m, "org.freedesktop.DBus.Properties",
                                          "PropertiesChanged"))
                on_changed(watch, path, m);
        else if (sd_bus_message_is_signal(m, INTERFACE_ACCOUNT, "MailArrived"))
                on_arrived(watch, path, m);
        else if (sd_bus_message_is_signal(m, INTERFACE_ACCOUNT, "RunFinished"))
                on_finished(watch, path, m);
}

/* --- how they are ------------------------------------------------------------------------------------------------ */

static const char *status_of(json_object *account)
{
        static const char *const statuses[][2] = {
                { ACCOUNT_ACTIVE, "passed" },
                { ACCOUNT_FAILING, "warned" },
                { ACCOUNT_PAUSED, "pending" },
        };
        const char *state = value_text_or(account, "state", "");

        for (size_t i = 0; i < ELEMENTS(statuses); i++)
                if (strcmp(statuses[i][0], state) == 0)
                        return statuses[i][1];
        return "failed";
}

/* What it does, else why it does nothing, else when it will. */
static void doing(json_object *account, char *to, size_t size)
{
        json_object *run = value_object(account, "run");
        uint64_t next = value_number(account, "next-run", 0);
        char when[TEXT_SHORT];

        if (value_number(run, KEY_FRESH, 0))
                snprintf(to, size, "fetching %" PRIu64 " of %" PRIu64,
                         value_number(run, KEY_DELIVERED, 0), value_number(run, KEY_FRESH, 0));
        else if (run && json_object_object_length(run) > 0)
                snprintf(to, size, "fetching");
        else if (value_text(account, "cause"))
                snprintf(to, size, "%s", value_text(account, "cause"));
        else if (next)
                snprintf(to, size, "next %s", text_when(when, next, text_now()));
        else
                snprintf(to, size, "%s", "");
}

static void paint(void *userdata, Canvas *to)
{
        Watch *watch = userdata;

        if (to->final)
                return;
        json_object_object_foreach(watch->accounts, path, account)
        {
                const char *address = value_text_or(account, "address", "?");
                char text[256];

                if (watch->only && strcmp(watch->only, path) != 0)
                        continue;
                doing(account, text, sizeof(text));
                view_state(to, status_of(account), address, watch->widest,
                           value_text_or(account, "state", "?"), text);
        }
}

/* How each is now; it also makes us somebody whom the service tells of changes. */
static int begin(Watch *watch)
{
        _cleanup_json_ json_object *accounts = NULL;
        int r;

        r = accounts_read(watch->cli, &accounts);
        if (r)
                return r;
        for (size_t i = 0; i < value_length(accounts); i++) {
                json_object *account = json_object_array_get_idx(accounts, i);
                const char *path = value_text_or(account, "path", "");

                json_object_object_add(watch->accounts, path, json_object_get(account));
                note_width(watch, account);
                if (!watch->only || strcmp(watch->only, path) == 0)
                        tell_state(watch, path, account);
        }
        return 0;
}

static int run(Cli *cli, const Arguments *arguments)
{
        _cleanup_json_ json_object *account = NULL;
        uint64_t count = UINT64_MAX;
        int r;

        r = argument_number(cli, arguments, "count", 1, UINT32_MAX, &count);
        if (r == 0)
                r = cli_open(cli);
        if (r == 0 && arguments->n_operands > 0)
                r = account_find(cli, arguments->operands[0], &account);
        if (r)
                return r;

        _cleanup_(watch_deinit) Watch watch = { .cli = cli,
                                                .count = count,
                                                .only = value_text(account, "path"),
                                                .accounts = json_object_new_object() };
        cli_listen(cli, on_signal, &watch);
        r = begin(&watch);
        if (r == 0)
                r = screen_begin(cli, paint, &watch);
        while (r == 0 && watch.printed < count)
                r = cli_wait(cli, UINT64_MAX);
        screen_end(cli);
        return r;
}

static const Option options[] = {
        { "count", 0, "N", "End after N lines" },
        {},
};

const Verb verb_watch = {
        .name = "watch",
        .operands = "[ACCOUNT]",
        .max_operands = 1,
        .summary = "Print changes, arrivals and fetches as they happen",
        .text = "Begins with how each account is now, and goes on until interrupted.\n",
        .options = options,
        .run = run,
};
