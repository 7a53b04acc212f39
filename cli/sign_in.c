/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sign_in.h. */
#include "cli/sign_in.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>

#include "cli/ask.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/redirect.h"
#include "dbus/names.h"

extern char **environ;

/* --- the call ---------------------------------------------------------------------------------------------------- */

static int authorize(Setup *setup, json_object *options, json_object **ret)
{
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = cli_message(setup->cli, &m, setup->path, INTERFACE_SETUP, "Authorize");
        if (r)
                return r;
        r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(setup->cli, r, "Making a call");
        r = cli_call(setup->cli, m, &reply, NULL);
        if (r)
                return r;
        r = value_read(reply, ret);
        return r < 0 ? cli_failed(setup->cli, r, "Reading the service's answer") : 0;
}

/* What was pasted may be anything: the service says so, and nothing is lost. */
static int complete(Setup *setup, const char *address, bool *ret_taken)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        *ret_taken = false;
        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "CompleteAuthorization", NULL,
                           &error, address, NULL);
        if (r == CALL_REFUSED && (sd_bus_error_has_name(&error, ERROR_INVALID_ARGUMENT) ||
                                  sd_bus_error_has_name(&error, ERROR_STALE))) {
                output_note(setup->cli, "That was not it: %s\n", error.message);
                return 0;
        }
        if (r == CALL_REFUSED)
                return cli_refused(setup->cli, &error);
        *ret_taken = r == 0;
        return r;
}

/* --- the browser ------------------------------------------------------------------------------------------------- */

/* Only where there is a desktop to show it on; what it prints is nobody's business. */
static bool open_browser(const char *url)
{
        const char *argv[] = { "xdg-open", url, NULL };
        posix_spawn_file_actions_t actions;
        pid_t pid;
        int r;

        if ((!getenv("DISPLAY") && !getenv("WAYLAND_DISPLAY")) || getenv("SSH_CONNECTION"))
                return false;
        if (posix_spawn_file_actions_init(&actions) != 0)
                return false;
        (void) posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
        (void) posix_spawn_file_actions_adddup2(&actions, 0, 1);
        (void) posix_spawn_file_actions_adddup2(&actions, 0, 2);
        r = posix_spawnp(&pid, argv[0], &actions, NULL, (char *const *) (uintptr_t) argv, environ);
        (void) posix_spawn_file_actions_destroy(&actions);
        return r == 0;
}

/* The browser comes by itself, or its last address is pasted: that works over ssh as well. */
static int wait_or_paste(Setup *setup, Redirect *redirect, bool *ret_given)
{
        int r = 0;

        *ret_given = false;
        while (r == 0 && !*ret_given && !redirect_address(redirect) && !setup->moot) {
                _cleanup_free_ char *pasted = NULL;

                if (!setup->cli->interactive) {
                        r = cli_wait(setup->cli, UINT64_MAX);
                        continue;
                }
                r = ask_text(setup->cli, NULL,
                             "Paste the address it ends at, or just wait:", &setup->moot, &pasted);
                if (r == 0 && pasted && *pasted)
                        r = complete(setup, pasted, ret_given);
                else if (r == 0 && !pasted && !setup->moot)
                        return 0; /* the end of input */
        }
        if (r == 0 && redirect_address(redirect))
                r = complete(setup, redirect_address(redirect), ret_given);
        return r;
}

static void browser_lines(Setup *setup, json_object *need, json_object *shown, bool opened,
                          Lines *to)
{
        unsigned columns = output_columns(setup->cli);
        const char *issuer = value_text_or(need, KEY_OAUTH_ISSUER, "your provider");

        lines_add(to, RANK_STAYS, "Sign in at %s as %s.", issuer,
                  value_text_or(need, KEY_USER, "yourself"));
        lines_wrap(
                to, columns, "",
                opened ? "The page was opened in your browser. If nothing happens there, open this yourself:"
                       : "Open this in your browser, on this computer or any other:");
        lines_add(to, RANK_STAYS, "%s", "");
        lines_add(to, RANK_STAYS, "%s", value_text_or(shown, KEY_URL, ""));
        lines_add(to, RANK_STAYS, "%s", "");
        if (!opened)
                lines_wrap(
                        to, columns, "",
                        "On another computer it ends at a page that cannot be shown: copy that page's whole "
                        "address from the browser to here.");
}

static void lines_print(Cli *cli, const Lines *lines)
{
        for (size_t i = 0; i < lines->n; i++)
                output_note(cli, "%s\n", lines->list[i].text);
}

static int sign_in_by_browser(Setup *setup, json_object *need, bool *ret_given)
{
        _cleanup_json_ json_object *options = json_object_new_object(), *shown = NULL;
        _cleanup_redirect_ Redirect *redirect = NULL;
        _cleanup_lines_ Lines above = {};
        int r;

        r = redirect_new(&redirect, setup->cli);
        if (r)
                return r;
        value_set_text(options, KEY_FLOW, FLOW_CODE);
        value_set_text(options, KEY_REDIRECT_HOST, redirect_host(redirect));
        json_object_object_add(options, KEY_REDIRECT_PORT,
                               json_object_new_uint64(redirect_port(redirect)));
        r = authorize(setup, options, &shown);
        if (r == 0)
                r = redirect_wait(redirect, value_text_or(shown, KEY_REDIRECT_URI, ""),
                                  &setup->moot);
        if (r)
                return r;
        browser_lines(setup, need, shown, open_browser(value_text_or(shown, KEY_URL, "")), &above);
        /* Above what is redrawn, which is cut to the terminal's width: an address has to be whole. */
        output_note(setup->cli, "\n");
        lines_print(setup->cli, &above);
        output_note(setup->cli, "\n");
        return wait_or_paste(setup, redirect, ret_given);
}

/* --- another device ---------------------------------------------------------------------------------------------- */

/* "W D J B - M J H T" */
static char *spaced(const char *code)
{
        char *to = calloc(2 * strlen(code) + 1, 1);

        for (size_t i = 0; to && code[i]; i++) {
                to[2 * i] = code[i];
                to[2 * i + 1] = ' ';
        }
        return to;
}

static char *repeated(const char *text, size_t n)
{
        size_t len = strlen(text);
        char *to = calloc(n * len + 1, 1);

        for (size_t i = 0; to && i < n; i++)
                memcpy(to + i * len, text, len);
        return to;
}

/* Large enough to be read from across the room. */
static void code_lines(Cli *cli, const char *code, Lines *to)
{
        bool utf8 = cli->utf8;
        _cleanup_free_ char *letters = spaced(code),
                            *bar = repeated(utf8 ? "\u2500" : "-", 2 * strlen(code) + 5);
        const char *side = utf8 ? "\u2502" : "|";

        if (!letters || !bar)
                return;
        lines_add(to, RANK_STAYS, "    %s%s%s", utf8 ? "\u250c" : "+", bar, utf8 ? "\u2510" : "+");
        lines_add(to, RANK_STAYS, "    %s   %s%s%s  %s", side, output_colour(cli, COLOUR_BOLD),
                  letters, output_colour(cli, COLOUR_NONE), side);
        lines_add(to, RANK_STAYS, "    %s%s%s", utf8 ? "\u2514" : "+", bar, utf8 ? "\u2518" : "+");
}

static void device_lines(Setup *setup, json_object *need, json_object *shown, Lines *to)
{
        uint64_t minutes = (value_number(shown, KEY_EXPIRES, 0) + 59) / 60;

        lines_add(to, RANK_STAYS, "Sign in as %s on any device: open",
                  value_text_or(need, KEY_USER, "yourself"));
        lines_add(to, RANK_STAYS, "%s", "");
        lines_add(to, RANK_STAYS, "    %s", value_text_or(shown, KEY_URL, ""));
        lines_add(to, RANK_STAYS, "%s", "");
        lines_add(to, RANK_STAYS, "and type this code there:");
        code_lines(setup->cli, value_text_or(shown, KEY_USER_CODE, "?"), to);
        if (minutes)
                lines_add(to, RANK_STAYS, "It is good for %u minutes. This goes on by itself.",
                          (unsigned) minutes);
}

static int sign_in_by_device(Setup *setup, json_object *need, bool *ret_given)
{
        _cleanup_json_ json_object *options = json_object_new_object(), *shown = NULL;
        _cleanup_lines_ Lines lines = {};
        int r;

        value_set_text(options, KEY_FLOW, FLOW_DEVICE);
        r = authorize(setup, options, &shown);
        if (r)
                return r;
        device_lines(setup, need, shown, &lines);
        output_note(setup->cli, "\n");
        lines_print(setup->cli, &lines);
        output_note(setup->cli, "\n");
        *ret_given = true;
        return 0;
}

static bool offers(json_object *need, const char *flow)
{
        json_object *methods = value_list(need, KEY_METHODS);

        for (size_t i = 0; i < value_length(methods); i++)
                if (strcmp(value_item(methods, i), flow) == 0)
                        return true;
        return false;
}

int sign_in(Setup *setup, json_object *need, const char *flow, bool *ret_given)
{
        if (!flow)
                flow = offers(need, FLOW_CODE) ? FLOW_CODE : FLOW_DEVICE;
        return strcmp(flow, FLOW_DEVICE) == 0 ? sign_in_by_device(setup, need, ret_given)
                                              : sign_in_by_browser(setup, need, ret_given);
}
