/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Following one setup. The surprising thing: a need that was answered stays in Needs until the service's own work has gone on;
 * so what was answered is remembered until it vanishes or the login it was for has moved. */
#include "cli/setup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/cause.h"
#include "cli/need.h"
#include "cli/output.h"
#include "cli/step.h"
#include "cli/text.h"
#include "cli/verb.h"
#include "dbus/names.h"

struct Setup {
        Cli *cli;
        char *path;              /* NULL until StartSetup has answered */
        char *account;           /* path, once committed */
        json_object *properties; /* as last read */
        json_object *printed;    /* step id -> what was printed of it */
        json_object *answered;   /* key of a need -> whether it was answered */
        bool dirty;              /* something changed since */
        bool login_moved;        /* a login began or ended since */
        bool sent[2];            /* a password for incoming, outgoing */
        bool code_told, code_declined;
        bool silent;
};

void answers_deinit(Answers *answers)
{
        answers->password = secret_free(answers->password);
        answers->outgoing_password = secret_free(answers->outgoing_password);
}

int answers_read(Cli *cli, const Arguments *arguments, Answers *ret)
{
        const char *file = argument_text(arguments, "password-file"),
                   *outgoing = argument_text(arguments, "outgoing-password-file");
        int r = 0;

        if (file && outgoing && strcmp(file, "-") == 0 && strcmp(outgoing, "-") == 0)
                return usage_error(cli, arguments->verb,
                                   "Both passwords cannot come from standard input.");
        ret->yes = argument_given(arguments, "yes");
        ret->certificate = argument_text(arguments, "approve-certificate");
        if (file)
                r = secret_read_file(cli, &ret->password, file);
        if (r == 0 && outgoing)
                r = secret_read_file(cli, &ret->outgoing_password, outgoing);
        return r;
}

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

int setup_start(Setup **ret, Cli *cli, sd_bus_message *m, sd_bus_error *ret_error)
{
        _cleanup_setup_ Setup *setup = calloc(1, sizeof(*setup));
        _cleanup_message_ sd_bus_message *reply = NULL;
        int r;

        if (!setup)
                return cli_failed(cli, -ENOMEM, "Starting");
        setup->cli = cli;
        setup->printed = json_object_new_object();
        setup->answered = json_object_new_object();
        cli_listen(cli, on_signal, setup);
        r = cli_call(cli, m, &reply, ret_error);
        if (r)
                return r;
        r = read_path(cli, reply, &setup->path);
        if (r)
                return r;
        *ret = TAKE(setup);
        return 0;
}

Setup *setup_free(Setup *setup)
{
        if (!setup)
                return NULL;
        if (setup->cli->handler_userdata == setup)
                cli_listen(setup->cli, NULL, NULL);
        json_object_put(setup->properties);
        json_object_put(setup->printed);
        json_object_put(setup->answered);
        free(setup->account);
        free(setup->path);
        free(setup);
        return NULL;
}

json_object *setup_properties(Setup *setup)
{
        return setup->properties;
}

bool setup_is_committed(const Setup *setup)
{
        return setup->account;
}

const char *setup_account(const Setup *setup)
{
        return setup->account ?: value_text(setup->properties, "account");
}

/* --- reading and printing ------------------------------------------------------------------------------------------ */

void setup_set_silent(Setup *setup)
{
        setup->silent = true;
}

/* One line for what is under way, where a line can be written over. */
static void draw_running(Setup *setup)
{
        json_object *steps = value_list(setup->properties, "steps");

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (strcmp(value_text_or(step, "status", ""), "running") != 0)
                        continue;
                output_redraw(setup->cli, "  ...  %s %s", value_text_or(step, "id", "?"),
                              value_text_or(value_object(step, "evidence"), KEY_HOST, ""));
                return;
        }
}

static void print_new_steps(Setup *setup)
{
        json_object *steps = value_list(setup->properties, "steps");

        if (setup->silent) {
                draw_running(setup);
                return;
        }
        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                const char *id = value_text_or(step, "id", "?");

                if (!step_has_ended(step)) {
                        json_object_object_del(setup->printed, id);
                        continue;
                }
                if (value_has(setup->printed, id) &&
                    json_object_equal(json_object_object_get(setup->printed, id), step))
                        continue;
                json_object_object_add(setup->printed, id, json_object_get(step));
                step_print(setup->cli, step);
        }
}

static bool step_is(json_object *step, const char *status)
{
        return strcmp(value_text_or(step, "status", ""), status) == 0;
}

/* Does anything still work, whatever is needed? */
static bool still_working(Setup *setup)
{
        json_object *steps = value_list(setup->properties, "steps");

        for (size_t i = 0; i < value_length(steps); i++)
                if (step_is(json_object_array_get_idx(steps, i), "running"))
                        return true;
        return false;
}

static bool state_is(Setup *setup, const char *state)
{
        return strcmp(value_text_or(setup->properties, "state", ""), state) == 0;
}

/* Forgets the answers to what is no longer asked. */
static void forget_answers(Setup *setup)
{
        json_object *needs = value_list(setup->properties, "needs"),
                    *still = json_object_new_object();

        for (size_t i = 0; i < value_length(needs); i++) {
                json_object *need = json_object_array_get_idx(needs, i);
                _cleanup_free_ char *key = need_key(need);
                bool moved = setup->login_moved && need_is(need, NEED_PASSWORD);

                if (key && value_has(setup->answered, key) && !moved)
                        json_object_object_add(
                                still, key,
                                json_object_get(json_object_object_get(setup->answered, key)));
        }
        setup->login_moved = false;
        json_object_put(setup->answered);
        setup->answered = still;
}

static int refresh(Setup *setup)
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
        print_new_steps(setup);
        return 0;
}

/* --- answering ----------------------------------------------------------------------------------------------------- */

/* What a need came to. */
typedef enum Answer { ANSWER_GIVEN, ANSWER_NONE, ANSWER_LATER } Answer;

/* Returns CALL_REFUSED with @error for what the caller wants to look at. */
static int pass_password(Setup *setup, const char *side, const Secret *secret, sd_bus_error *error)
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
        return cli_call(setup->cli, m, NULL, error);
}

/* The service doubts that this is an app password. Nothing is changed without a word: the blanks go when the user says so, and what
 * looks wrong is sent when he insists. Returns 0 with @ret_again whether to send @secret once more, or @ret_other instead (owned). */
static int settle_doubt(Setup *setup, const sd_bus_error *error, const Secret *secret, bool *ret_again,
                        Secret **ret_other)
{
        bool spaces = sd_bus_error_has_name(error, ERROR_SECRET_SPACES), yes = false;
        int r;

        *ret_again = false;
        output_note(setup->cli, "%s\n", error->message);
        r = terminal_confirm(setup->cli, spaces ? "Remove the blanks?" : "Send it all the same?", &yes);
        if (r || (!yes && !spaces))
                return r;
        *ret_again = true;
        if (!yes)
                return 0;
        if (spaces)
                *ret_other = secret_without_blanks(secret);
        return spaces && !*ret_other ? cli_failed(setup->cli, -ENOMEM, "Removing blanks") : 0;
}

/* @ret_taken: whether the service has it. */
static int send_password(Setup *setup, const char *side, const Secret *secret, bool *ret_taken)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_secret_ Secret *other = NULL;
        bool again = false;
        int r;

        *ret_taken = true;
        r = pass_password(setup, side, secret, &error);
        if (r != CALL_REFUSED)
                return r;
        if (!setup->cli->interactive || (!sd_bus_error_has_name(&error, ERROR_SECRET_SPACES) &&
                                         !sd_bus_error_has_name(&error, ERROR_SECRET_SHAPE)))
                return cli_refused(setup->cli, &error);
        r = settle_doubt(setup, &error, secret, &again, &other);
        *ret_taken = again;
        if (r || !again)
                return r;
        sd_bus_error_free(&error);
        r = pass_password(setup, side, other ? other : secret, &error);
        return r == CALL_REFUSED ? cli_refused(setup->cli, &error) : r;
}

static int answer_password(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        const char *side = value_text_or(need, KEY_SIDE, "");
        bool outgoing = strcmp(side, KEY_OUTGOING) == 0;
        const Secret *given = outgoing && answers->outgoing_password ? answers->outgoing_password
                                                                     : answers->password;
        _cleanup_secret_ Secret *typed = NULL;
        bool taken;
        int r;

        *ret = ANSWER_NONE;
        /* One that was given and is asked for again was not good enough: it is not tried twice. */
        if (!given || setup->sent[outgoing]) {
                if (!setup->cli->interactive)
                        return 0;
                r = need_ask_password(setup->cli, setup->properties, need,
                                      answers->password_optional, &typed);
                if (r || secret_is_empty(typed))
                        return r;
                given = typed;
        }
        *ret = ANSWER_GIVEN;
        setup->sent[outgoing] = true;
        r = send_password(setup, side, given, &taken);
        if (r == 0 && !taken) {
                *ret = ANSWER_LATER; /* and asked for again */
                setup->dirty = true;
        }
        if (r == 0 && taken && !outgoing && answers->outgoing_password)
                r = send_password(setup, KEY_OUTGOING, answers->outgoing_password, &taken);
        return r;
}

static int approve(Setup *setup, json_object *need, Answer *ret)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "Approve", NULL, &error,
                           value_text_or(need, KEY_TOKEN, ""), NULL);
        if (r == CALL_REFUSED && sd_bus_error_has_name(&error, ERROR_STALE)) {
                /* What we showed is no longer what is asked: look again. */
                *ret = ANSWER_LATER;
                setup->dirty = true;
                return 0;
        }
        if (r == CALL_REFUSED)
                return cli_refused(setup->cli, &error);
        *ret = ANSWER_GIVEN;
        return r;
}

static int answer_approval(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        bool certificate = need_is(need, NEED_CERTIFICATE_APPROVAL);
        bool yes = certificate ? need_has_key(need, answers->certificate) : answers->yes;
        int r = 0;

        *ret = ANSWER_NONE;
        if (!yes && setup->cli->interactive)
                r = certificate ? need_ask_certificate(setup->cli, need, &yes)
                                : need_ask_servers(setup->cli, need, &yes);
        return r || !yes ? r : approve(setup, need, ret);
}

static int answer_need(Setup *setup, const Answers *answers, json_object *need, Answer *ret)
{
        if (need_is(need, NEED_PASSWORD))
                return answer_password(setup, answers, need, ret);
        if (need_is(need, NEED_SERVER_APPROVAL) || need_is(need, NEED_CERTIFICATE_APPROVAL))
                return answer_approval(setup, answers, need, ret);
        /* The mail may still be found without anybody's help. */
        *ret = need_is(need, NEED_VERIFICATION_CODE) ? ANSWER_LATER : ANSWER_NONE;
        return 0;
}

/* One after the other: after each answer the world is looked at anew. */
static int answer_needs(Setup *setup, const Answers *answers, bool *ret_given, bool *ret_missing)
{
        json_object *needs = value_list(setup->properties, "needs");
        Answer answer;
        int r;

        *ret_given = *ret_missing = false;
        for (size_t i = 0; i < value_length(needs) && !*ret_given; i++) {
                json_object *need = json_object_array_get_idx(needs, i);
                _cleanup_free_ char *key = need_key(need);

                if (!key)
                        return cli_failed(setup->cli, -ENOMEM, "Answering");
                if (value_has(setup->answered, key)) {
                        json_object *given = json_object_object_get(setup->answered, key);

                        /* false: nobody could or would answer it */
                        *ret_missing = *ret_missing || !json_object_get_boolean(given);
                        continue;
                }
                r = answer_need(setup, answers, need, &answer);
                if (r)
                        return r;
                *ret_given = answer == ANSWER_GIVEN;
                *ret_missing = *ret_missing || answer == ANSWER_NONE;
                if (answer != ANSWER_LATER)
                        json_object_object_add(setup->answered, key,
                                               json_object_new_boolean(answer == ANSWER_GIVEN));
        }
        return 0;
}

static bool needs_code(Setup *setup)
{
        json_object *needs = value_list(setup->properties, "needs");

        for (size_t i = 0; i < value_length(needs); i++)
                if (need_is(json_object_array_get_idx(needs, i), NEED_VERIFICATION_CODE))
                        return true;
        return false;
}

static int confirm_code(Setup *setup, const char *code)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = cli_call_texts(setup->cli, setup->path, INTERFACE_SETUP, "ConfirmCode", NULL, &error,
                           code, NULL);
        if (r != CALL_REFUSED)
                return r;
        output_note(setup->cli, "That is not the code of this mail.\n");
        return 0;
}

/* Waits for a change; for the verification mail's code at the same time, if there is somebody to type it. */
static int wait_for_change(Setup *setup)
{
        Cli *cli = setup->cli;
        _cleanup_free_ char *code = NULL;
        bool asks = cli->interactive && needs_code(setup) && !setup->code_declined;
        int r;

        if (setup->dirty)
                return 0;
        if (needs_code(setup) && !setup->code_told) {
                setup->code_told = true;
                output_progress(cli, "  ...  waiting for the mail that was sent to yourself\n");
        }
        if (!asks) {
                do
                        r = cli_wait(cli, UINT64_MAX);
                while (r == 0 && !setup->dirty);
                return r;
        }
        if (cli->line != LINE_PROMPT)
                output_progress(cli, "If you see it first, type the code it shows.\n");
        r = terminal_ask(cli, cli->line == LINE_PROMPT ? NULL : "Code (Enter alone: keep waiting):",
                         &setup->dirty, &code);
        if (r || setup->dirty)
                return r;
        setup->code_declined = !code || !*code;
        return setup->code_declined ? 0 : confirm_code(setup, code);
}

static bool has_ended(Setup *setup, SetupEnd *ret)
{
        if (state_is(setup, SETUP_FAILED))
                *ret = SETUP_END_FAILED;
        else if (state_is(setup, SETUP_SUCCEEDED))
                *ret = SETUP_END_SUCCEEDED;
        else if (state_is(setup, SETUP_CANCELLED))
                *ret = SETUP_END_CANCELLED;
        else if (state_is(setup, SETUP_READY) && !setup->account)
                *ret = SETUP_END_READY;
        else
                return false;
        return true;
}

/* A refused password that was typed may have been a slip: one that is at hand is better than the whole way again. */
static int offer_again(Setup *setup, const Answers *answers, bool *ret_again)
{
        json_object *steps = value_list(setup->properties, "steps");
        _cleanup_secret_ Secret *typed = NULL;
        const char *cause = value_text_or(setup->properties, "cause", "");
        char side[16] = "";
        bool taken;
        int r;

        *ret_again = false;
        if (!setup->cli->interactive || answers->password || setup->account)
                return 0;
        for (size_t i = 0; i < value_length(steps) && !*side; i++) {
                json_object *step = json_object_array_get_idx(steps, i);
                const char *id = value_text_or(step, "id", ""), *dot = strchr(id, '.');

                if (step_is(step, "failed") && dot && strcmp(dot, ".login") == 0 &&
                    strcmp(value_text_or(step, KEY_CAUSE, ""), cause) == 0)
                        snprintf(side, sizeof(side), "%.*s", (int) (dot - id), id);
        }
        if (!*side || strncmp(cause, "auth.", 5) != 0)
                return 0;
        r = terminal_ask_secret(setup->cli, "Another password to try (Enter alone: stop):", &typed);
        if (r || secret_is_empty(typed))
                return r;
        r = send_password(setup, side, typed, &taken);
        setup->dirty = *ret_again = r == 0;
        return r;
}

int setup_drive(Setup *setup, const Answers *answers, SetupEnd *ret)
{
        bool given, missing, again;
        int r;

        for (;;) {
                r = refresh(setup);
                if (r)
                        return r;
                if (has_ended(setup, ret)) {
                        if (*ret != SETUP_END_FAILED)
                                return 0;
                        r = offer_again(setup, answers, &again);
                        if (r || !again)
                                return r;
                        continue;
                }
                r = answer_needs(setup, answers, &given, &missing);
                if (r)
                        return r;
                if (given)
                        continue;
                /* The other side may still have something to show. */
                if (missing && !setup->dirty && !still_working(setup)) {
                        *ret = SETUP_END_NEEDED;
                        return 0;
                }
                r = wait_for_change(setup);
                if (r)
                        return r;
        }
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
        *ret_account = strdup(setup->account);
        return *ret_account ? 0 : cli_failed(setup->cli, -ENOMEM, "Remembering the account");
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

/* --- telling the end ----------------------------------------------------------------------------------------------- */

/* What the step that named the cause has found; NULL if none did. */
static json_object *evidence_of(Setup *setup, const char *cause)
{
        json_object *steps = value_list(setup->properties, "steps");

        for (size_t i = 0; i < value_length(steps); i++) {
                json_object *step = json_object_array_get_idx(steps, i);

                if (strcmp(value_text_or(step, KEY_CAUSE, ""), cause) == 0)
                        return value_object(step, KEY_EVIDENCE);
        }
        return NULL;
}

int setup_cause(Setup *setup, json_object **ret)
{
        const char *cause = value_text(setup->properties, "cause");

        *ret = NULL;
        return cause ? cause_describe(setup->cli, cause, evidence_of(setup, cause), ret) : 0;
}

/* The server's own words, from the step that named the cause. */
static const char *said_by_server(Setup *setup, const char *cause)
{
        return value_text(evidence_of(setup, cause), KEY_REPLY);
}

void setup_print_cause(Setup *setup, json_object *description)
{
        cause_print(setup->cli, description,
                    said_by_server(setup, value_text_or(description, KEY_CAUSE, "")));
}

void setup_print_needs(Setup *setup)
{
        json_object *needs = value_list(setup->properties, "needs");

        for (size_t i = 0; i < value_length(needs); i++)
                need_print(setup->cli, json_object_array_get_idx(needs, i));
}

void setup_to_json(Setup *setup, json_object *description, json_object *to)
{
        value_set_from(to, "address", setup->properties);
        value_set_from(to, "state", setup->properties);
        cause_to_json(description, to);
        value_set_text(to, "account", setup_account(setup));
        value_set_from(to, "steps", setup->properties);
        value_set_from(to, "needs", setup->properties);
        value_set_from(to, "candidates", setup->properties);
}
