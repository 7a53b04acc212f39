/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One setup of the service, followed. */
#include "cli/setup.h"

#include <errno.h>
#include <string.h>

#include "cli/cause.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/screen.h"
#include "cli/step.h"
#include "dbus/names.h"

/* --- life -------------------------------------------------------------------------------------------------------- */

static void note_login(Setup *setup, sd_bus_message *m)
{
        const char *id, *status;

        if (!sd_bus_message_is_signal(m, INTERFACE_SETUP, "StepChanged") ||
            sd_bus_message_read(m, "ss", &id, &status) < 0)
                return;
        if (strlen(id) > 6 && strcmp(id + strlen(id) - 6, ".login") == 0 &&
            (strcmp(status, "running") == 0 || strcmp(status, "failed") == 0))
                setup->login_moved = true;
}

static void on_signal(void *userdata, sd_bus_message *m)
{
        const char *path = sd_bus_message_get_path(m);
        Setup *setup = userdata;

        if (setup->path && path && strcmp(path, setup->path) != 0)
                return;
        setup->dirty = true;
        note_login(setup, m);
}

static int read_path(Cli *cli, sd_bus_message *reply, char **ret)
{
        const char *path;
        int r;

        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        *ret = strdup(path);
        return *ret ? 0 : cli_failed(cli, -ENOMEM, "Remembering the setup");
}

/* Somebody who is asked something sees the other side go on. */
static int between(void *userdata)
{
        Setup *setup = userdata;

        return setup->dirty && setup->path && setup->asking ? setup_refresh(setup) : 0;
}

static int setup_new(Setup **ret, Cli *cli)
{
        Setup *setup = calloc(1, sizeof(*setup));

        if (!setup)
                return cli_failed(cli, -ENOMEM, "Starting");
        setup->cli = cli;
        setup->dirty = true;
        view_init(&setup->view, cli);
        setup->answered = json_object_new_object();
        cli_listen(cli, on_signal, setup);
        cli_look_between(cli, between, setup);
        *ret = setup;
        return 0;
}

int setup_start(Setup **ret, Cli *cli, sd_bus_message *m, sd_bus_error *ret_error)
{
        _cleanup_setup_ Setup *setup = NULL;
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        r = setup_new(&setup, cli);
        if (r == 0)
                r = cli_call(cli, m, &reply, ret_error);
        if (r == 0)
                r = read_path(cli, reply, &setup->path);
        if (r)
                return r;
        *ret = TAKE(setup);
        return 0;
}

int setup_start_address(Setup **ret, Cli *cli, const char *address, json_object *options,
                        sd_bus_error *ret_error)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "StartSetup");
        if (r)
                return r;
        r = sd_bus_message_append(m, "s", address);
        if (r >= 0)
                r = value_append_dict(m, options);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        return setup_start(ret, cli, m, ret_error);
}

int setup_follow(Setup **ret, Cli *cli, const char *path)
{
        _cleanup_setup_ Setup *setup = NULL;
        int r;

        r = setup_new(&setup, cli);
        if (r)
                return r;
        setup->path = strdup(path);
        if (!setup->path)
                return cli_failed(cli, -ENOMEM, "Starting");
        *ret = TAKE(setup);
        return 0;
}

Setup *setup_free(Setup *setup)
{
        if (!setup)
                return NULL;
        /* The screen shows what is ours. */
        screen_end(setup->cli);
        if (setup->cli->handler_userdata == setup)
                cli_listen(setup->cli, NULL, NULL);
        cli_look_between(setup->cli, NULL, NULL);
        view_deinit(&setup->view);
        json_object_put(setup->properties);
        json_object_put(setup->answered);
        free(setup->other_address);
        free(setup->account);
        free(setup->path);
        free(setup);
        return NULL;
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

json_object *setup_steps(Setup *setup)
{
        return value_list(setup->properties, "steps");
}

json_object *setup_needs(Setup *setup)
{
        return value_list(setup->properties, "needs");
}

json_object *setup_candidates(Setup *setup)
{
        return value_list(setup->properties, KEY_CANDIDATES);
}

bool setup_state_is(Setup *setup, const char *state)
{
        return strcmp(value_text_or(setup->properties, "state", ""), state) == 0;
}

bool setup_is_committed(const Setup *setup)
{
        return setup->account;
}

/* Forgets what was answered to needs that are gone, and those passwords that were tried. */
static void forget_answers(Setup *setup)
{
        json_object *needs = setup_needs(setup), *still = json_object_new_object();
        bool asked = false;

        for (size_t i = 0; i < value_length(needs); i++) {
                json_object *need = json_object_array_get_idx(needs, i);
                _cleanup_free_ char *key = need_key(need);
                bool moved = setup->login_moved && need_is(need, NEED_PASSWORD);

                if (!key)
                        continue;
                asked |= setup->asking && strcmp(setup->asking, key) == 0;
                if (value_has(setup->answered, key) && !moved)
                        json_object_object_add(
                                still, key,
                                json_object_get(json_object_object_get(setup->answered, key)));
        }
        setup->moot = setup->asking && !asked;
        setup->login_moved = false;
        json_object_put(setup->answered);
        setup->answered = still;
}

void setup_set_silent(Setup *setup)
{
        setup->view.silent = true;
}

int setup_refresh(Setup *setup)
{
        json_object *properties = NULL, *raw;
        int r;

        setup->dirty = false;
        r = cli_properties(setup->cli, setup->path, INTERFACE_SETUP, &properties, NULL);
        if (r)
                return r;
        value_nothing_is_null(properties, "cause");
        value_nothing_is_null(properties, "account");
        raw = value_list(properties, "steps");
        json_object_object_add(properties, "steps", steps_from_property(raw));
        raw = value_list(properties, "needs");
        json_object_object_add(properties, "needs", needs_from_property(raw));
        json_object_put(setup->properties);
        setup->properties = properties;
        forget_answers(setup);
        return view_update(&setup->view, properties);
}

json_object *setup_step_of_cause(Setup *setup)
{
        const char *cause = value_text(setup->properties, "cause");
        json_object *steps = setup_steps(setup);

        for (size_t i = 0; cause && i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (strcmp(value_text_or(step, KEY_CAUSE, ""), cause) == 0)
                        return step;
        }
        return NULL;
}

json_object *setup_failed_step(Setup *setup)
{
        const char *cause = value_text_or(setup->properties, "cause", "");
        json_object *steps = setup_steps(setup), *any = NULL;

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (!step_is(step, "failed"))
                        continue;
                if (strcmp(value_text_or(step, KEY_CAUSE, ""), cause) == 0)
                        return step;
                any = any ?: step;
        }
        return any;
}

/* --- calls ------------------------------------------------------------------------------------------------------- */

int setup_send_password(Setup *setup, const char *side, const Secret *secret,
                        sd_bus_error *ret_error)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_close_ int fd = -1;
        int r;

        fd = secret_to_pipe(secret);
        if (fd < 0)
                return cli_failed(setup->cli, fd, "Passing the password");
        r = cli_message(setup->cli, &m, setup->path, INTERFACE_SETUP, "SetPasswordFd");
        if (r)
                return r;
        r = sd_bus_message_append(m, "sh", side, fd);
        if (r < 0)
                return cli_failed(setup->cli, r, "Passing the password");
        setup->dirty = true;
        return cli_call(setup->cli, m, NULL, ret_error);
}

int setup_set_servers(Setup *setup, json_object *servers)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(setup->cli, &m, setup->path, INTERFACE_SETUP, "SetServers");
        if (r)
                return r;
        r = value_append_dict(m, servers);
        if (r < 0)
                return cli_failed(setup->cli, r, "Making a call");
        setup->dirty = true;
        return cli_call(setup->cli, m, NULL, NULL);
}

int setup_choose(Setup *setup, const char *candidate)
{
        setup->dirty = true;
        return cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Choose", NULL, NULL,
                              candidate, NULL);
}

int setup_retry(Setup *setup, const char *step)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        setup->dirty = true;
        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Retry", NULL, &error, step,
                           NULL);
        if (r == CALL_REFUSED && !sd_bus_error_has_name(&error, ERROR_INVALID_STATE))
                return cli_refused(setup->cli, &error);
        return r;
}

int setup_commit(Setup *setup, json_object *settings, char **ret_account)
{
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int r;

        r = cli_message(setup->cli, &m, setup->path, INTERFACE_SETUP, "Commit");
        if (r)
                return r;
        r = value_append_dict(m, settings);
        if (r < 0)
                return cli_failed(setup->cli, r, "Making a call");
        r = cli_call(setup->cli, m, &reply, NULL);
        if (r)
                return r;
        r = read_path(setup->cli, reply, &setup->account);
        if (r)
                return r;
        setup->dirty = true;
        *ret_account = strdup(setup->account);
        return *ret_account ? 0 : cli_failed(setup->cli, -ENOMEM, "Remembering the account");
}

int setup_report(Setup *setup, char **ret)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        const char *text;
        int r;

        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Report", &reply, NULL, NULL,
                           NULL);
        if (r)
                return r;
        r = sd_bus_message_read(reply, "s", &text);
        if (r < 0)
                return cli_failed(setup->cli, r, "Reading the service's answer");
        *ret = strdup(text);
        return *ret ? 0 : cli_failed(setup->cli, -ENOMEM, "Reading the report");
}

void setup_cancel(Setup *setup)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        if (setup->cli->gone)
                return;
        cli_forget_interruption(setup->cli);
        cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Cancel", NULL, &error, NULL,
                       NULL);
}

/* --- telling the end --------------------------------------------------------------------------------------------- */

int setup_cause(Setup *setup, json_object **ret)
{
        const char *cause = value_text(setup->properties, "cause");
        json_object *evidence = value_object(setup_step_of_cause(setup), KEY_EVIDENCE);

        *ret = NULL;
        return cause ? cause_describe(setup->cli, cause, evidence, ret) : 0;
}

void setup_cause_lines(Setup *setup, json_object *description, Lines *to)
{
        _cleanup_lines_ Lines proof = {};
        json_object *step = setup_failed_step(setup);

        if (step)
                step_findings(step, output_columns(setup->cli), &proof);
        cause_lines(setup->cli, description, &proof, to);
        if (step && !setup->sources_told &&
            strcmp(value_text_or(step, KEY_ID, ""), "discovery") == 0 &&
            value_has(value_object(step, "evidence"), KEY_SOURCES))
                lines_add(to, RANK_STAYS, "  \"waypost discover %s\" shows what each source said.",
                          value_text_or(setup->properties, "address", "ADDRESS"));
}

void setup_print_cause(Setup *setup, json_object *description)
{
        _cleanup_lines_ Lines lines = {};

        if (setup->told)
                return;
        screen_end(setup->cli);
        setup_cause_lines(setup, description, &lines);
        output_result_lines(setup->cli, &lines);
}

void setup_print_needs(Setup *setup)
{
        json_object *needs = setup_needs(setup);

        screen_end(setup->cli);
        for (size_t i = 0; i < value_length(needs); i++)
                need_print(setup->cli, json_object_array_get_idx(needs, i));
}

void setup_print_json(Setup *setup, json_object *description, json_object *more)
{
        static const char *const keys[] = { "steps", "needs", "candidates" };
        _cleanup_json_ json_object *object = json_object_new_object();

        if (!setup->cli->json || setup->cli->json_done || !setup->properties)
                return;
        value_set_from(object, "address", setup->properties);
        value_set_from(object, "state", setup->properties);
        cause_to_json(description, object);
        value_set_text(object, "account",
                       setup->account ?: value_text(setup->properties, "account"));
        for (size_t i = 0; i < ELEMENTS(keys); i++)
                value_set_from(object, keys[i], setup->properties);
        if (more) {
                json_object_object_foreach(more, key, value)
                        json_object_object_add(object, key, json_object_get(value));
        }
        output_json(setup->cli, object);
}
