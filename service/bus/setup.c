/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.waypost.Waypost1.Setup. Every method reads, validates and hands over to core; what is allowed when is core's to say. Who may
 * call was decided by setup_find(). */
#include <stdio.h>

#include "base/text.h"
#include "bus/call.h"
#include "bus/errors.h"
#include "bus/getter.h"
#include "bus/objects.h"
#include "bus/secrets.h"
#include "bus/setup.h"
#include "bus/variant.h"
#include "bus/wait.h"
#include "core/setup.h"
#include "dbus/names.h"

int setup_started(sd_bus_message *m, Setup *setup, sd_bus_error *error)
{
        char path[PATH_SIZE];
        int r;

        r = setup_set_creator(setup, sd_bus_message_get_sender(m));
        if (r < 0) {
                (void) setup_cancel(setup);
                return error_fault(error, r, "beginning a setup");
        }
        setup_path(setup, path);
        return sd_bus_reply_method_return(m, "o", path);
}

int side_read(sd_bus_message *m, const char **ret, sd_bus_error *error)
{
        const char *side = "";
        int r = variant_read_text(m, "side", &side, error);

        if (r < 0)
                return r;
        if (*side && !text_equal(side, side_name(SIDE_INCOMING)) &&
            !text_equal(side, side_name(SIDE_OUTGOING)))
                return error_argument(error, "side", "is none of \"\", incoming, outgoing");
        *ret = side;
        return 0;
}

/* --- properties --------------------------------------------------------------------------------------------- */

DEFINE_GETTER(get_address, Setup, "s", setup_address(object) ?: "");
DEFINE_GETTER(get_state, Setup, "s", setup_state_name(setup_state(object)));
DEFINE_GETTER(get_cause, Setup, "s", setup_cause(object) ?: "");
DEFINE_GETTER(get_serial, Setup, "t", setup_serial(object));

static int get_account(sd_bus *sd, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        char account[PATH_SIZE];

        account_id_path(setup_account_id(userdata), account);
        return sd_bus_message_append_basic(reply, 'o', account);
}

static int append_step(sd_bus_message *m, const Setup *setup, StepId step)
{
        const Finding *finding = setup_finding(setup, step);
        int r;

        r = sd_bus_message_open_container(m, 'r', "sssta{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "ssst", step_name(step), step_status_name(finding->status),
                                  finding->cause ?: "", finding->usec);
        if (r < 0)
                return r;
        r = variant_append(m, &finding->evidence);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_steps(sd_bus *sd, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        int r = sd_bus_message_open_container(reply, 'a', "(sssta{sv})");

        for (StepId step = 0; r >= 0 && step < N_STEPS; step++)
                r = append_step(reply, userdata, step);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_need(sd_bus_message *m, const char *kind, const Dict *details)
{
        int r;

        r = sd_bus_message_open_container(m, 'r', "sa{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', kind);
        if (r < 0)
                return r;
        r = variant_append(m, details);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int get_needs(sd_bus *sd, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        int r = sd_bus_message_open_container(reply, 'a', "(sa{sv})");

        for (size_t i = 0; r >= 0 && i < setup_n_needs(userdata); i++) {
                const Dict *details = NULL;
                const char *kind = setup_need(userdata, i, &details);

                r = append_need(reply, kind, details);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_candidates(sd_bus *sd, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        int r = sd_bus_message_open_container(reply, 'a', "a{sv}");

        for (size_t i = 0; r >= 0 && i < setup_n_candidates(userdata); i++)
                r = variant_append(reply, setup_candidate(userdata, i));
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- methods ------------------------------------------------------------------------------------------------ */

/* Whoever calls at the wrong time wants to know what the right one would be. */
static int refuse(const Setup *setup, int result, const char *why, sd_bus_error *error)
{
        char state[32];

        if (result != SETUP_INVALID_STATE || why)
                return error_from_setup(error, result, why);
        (void) snprintf(state, sizeof(state), "State is %s.", setup_state_name(setup_state(setup)));
        return error_from_setup(error, result, state);
}

static int reply_result(sd_bus_message *m, const Setup *setup, int result, const char *why,
                        sd_bus_error *error)
{
        return result ? refuse(setup, result, why, error) : sd_bus_reply_method_return(m, NULL);
}

/* The methods whose one argument is a text. */
static int hand_over_text(sd_bus_message *m, Setup *setup, const char *name,
                          int (*func)(Setup *setup, const char *text), sd_bus_error *error)
{
        char none[48];
        const char *text;
        int r = variant_read_text(m, name, &text, error);

        if (r < 0)
                return r;
        (void) snprintf(none, sizeof(none), "'%s' is none of this setup's.", name);
        r = func(setup, text);
        if (r == SETUP_INVALID_KEY)
                return error_argument(error, name, "is not the right one");
        return reply_result(m, setup, r, r == SETUP_NOT_FOUND ? none : NULL, error);
}

static int method_choose(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return hand_over_text(m, userdata, "candidate", setup_choose, error);
}

static int method_approve(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return hand_over_text(m, userdata, "token", setup_approve, error);
}

static int method_confirm_code(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return hand_over_text(m, userdata, "code", setup_confirm_code, error);
}

static int method_retry(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return hand_over_text(m, userdata, "step", setup_retry, error);
}

static int method_set_servers(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *servers = NULL;
        const char *why = NULL;
        int r;

        r = variant_read(m, &servers, error);
        if (r < 0)
                return r;
        r = setup_set_servers(userdata, servers, &why);
        return reply_result(m, userdata, r, why, error);
}

static int method_set_password(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        const char *side = "", *why = NULL;
        int r;

        r = side_read(m, &side, error);
        if (r < 0)
                return r;
        r = secret_read_text(m, &secret, error);
        if (r < 0)
                return r;
        r = setup_set_password(userdata, side, secret, &why);
        return reply_result(m, userdata, r, why, error);
}

static int answer_set_password_fd(Call *call, sd_bus_error *error)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        const char *side = "", *why = NULL;
        Setup *setup;
        int fd, r;

        r = side_read(call->message, &side, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(call->message, 'h', &fd);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        /* What a caller who has died had written so far is no password. */
        call->leaves_with_caller = sd_bus_message_get_expect_reply(call->message) > 0;
        r = secret_read_fd(fd, &secret, error);
        call->leaves_with_caller = false;
        if (r < 0)
                return r;
        setup = core_setup(call->bus->core, call->id);
        if (!setup)
                return call_gone(call, error);
        r = setup_set_password(setup, side, secret, &why);
        return reply_result(call->message, setup, r, why, error);
}

static int method_set_password_fd(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_set_password_fd, error);
}

static int answer_authorize(Call *call, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(dict_freep) Dict *options = NULL, *shown = dict_new();
        const char *why = NULL;
        Setup *setup;
        int r;

        if (!shown)
                return error_fault(error, -ENOMEM, "a sign-in");
        r = variant_read(call->message, &options, error);
        if (r < 0)
                return r;
        setup = core_setup(call->bus->core, call->id);
        if (!setup)
                return call_gone(call, error);
        r = setup_authorize(setup, options, shown, &why);
        if (r)
                return refuse(setup, r, why, error);
        r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = variant_append(reply, shown);
        return r < 0 ? error_fault(error, r, "a sign-in") : sd_bus_send(NULL, reply, NULL);
}

static int method_authorize(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_authorize, error);
}

static int method_complete_authorization(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *redirect, *why = NULL;
        int r;

        r = sd_bus_message_read_basic(m, 's', &redirect);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        r = setup_complete_authorization(userdata, redirect, &why);
        return reply_result(m, userdata, r, why, error);
}

static int answer_commit(Call *call, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *options = NULL;
        char id[ID_SIZE] = "", path[PATH_SIZE];
        const char *why = NULL;
        Setup *setup;
        int r;

        r = variant_read(call->message, &options, error);
        if (r < 0)
                return r;
        setup = core_setup(call->bus->core, call->id);
        if (!setup)
                return call_gone(call, error);
        r = setup_commit(setup, options, id, &why);
        account_id_path(id, path);
        if (r == SETUP_ACCOUNT_EXISTS)
                return error_set(error, TROUBLE_EXISTS, *id ? path : NULL);
        if (r)
                return refuse(setup, r, why, error);
        return sd_bus_reply_method_return(call->message, "o", path);
}

static int method_commit(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_commit, error);
}

static int method_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return reply_result(m, userdata, setup_cancel(userdata), NULL, error);
}

static int method_report(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_free_ char *report = NULL;
        int r = setup_report(userdata, &report);

        return r < 0 ? error_fault(error, r, "a report")
                     : sd_bus_reply_method_return(m, "s", report);
}

#define OPEN SD_BUS_VTABLE_UNPRIVILEGED
#define SECRET (SD_BUS_VTABLE_UNPRIVILEGED | SD_BUS_VTABLE_SENSITIVE)
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable setup_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Address", "s", get_address, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
        SD_BUS_PROPERTY("Steps", "a(sssta{sv})", get_steps, 0,
                        SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION),
        SD_BUS_PROPERTY("Needs", "a(sa{sv})", get_needs, 0, CHANGES),
        SD_BUS_PROPERTY("Candidates", "aa{sv}", get_candidates, 0, CHANGES),
        SD_BUS_PROPERTY("Cause", "s", get_cause, 0, CHANGES),
        SD_BUS_PROPERTY("Account", "o", get_account, 0, CHANGES),
        SD_BUS_PROPERTY("Serial", "t", get_serial, 0, CHANGES),
        SD_BUS_METHOD_WITH_ARGS("Choose", SD_BUS_ARGS("s", candidate), SD_BUS_NO_RESULT,
                                method_choose, OPEN),
        SD_BUS_METHOD_WITH_ARGS("SetServers", SD_BUS_ARGS("a{sv}", servers), SD_BUS_NO_RESULT,
                                method_set_servers, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Approve", SD_BUS_ARGS("s", token), SD_BUS_NO_RESULT,
                                method_approve, OPEN),
        SD_BUS_METHOD_WITH_ARGS("SetPassword", SD_BUS_ARGS("s", side, "s", secret),
                                SD_BUS_NO_RESULT, method_set_password, SECRET),
        SD_BUS_METHOD_WITH_ARGS("SetPasswordFd", SD_BUS_ARGS("s", side, "h", secret),
                                SD_BUS_NO_RESULT, method_set_password_fd, SECRET),
        SD_BUS_METHOD_WITH_ARGS("Authorize", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("a{sv}", shown), method_authorize, OPEN),
        SD_BUS_METHOD_WITH_ARGS("CompleteAuthorization", SD_BUS_ARGS("s", redirect_uri),
                                SD_BUS_NO_RESULT, method_complete_authorization, SECRET),
        SD_BUS_METHOD_WITH_ARGS("ConfirmCode", SD_BUS_ARGS("s", code), SD_BUS_NO_RESULT,
                                method_confirm_code, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Retry", SD_BUS_ARGS("s", step), SD_BUS_NO_RESULT, method_retry,
                                OPEN),
        SD_BUS_METHOD_WITH_ARGS("Commit", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("o", account), method_commit, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Cancel", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_cancel, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("s", known_state, "t", timeout_usec),
                                SD_BUS_RESULT("s", state), wait_method, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Report", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", report), method_report,
                                OPEN),
        SD_BUS_SIGNAL_WITH_ARGS("StepChanged",
                                SD_BUS_ARGS("s", id, "s", status, "s", cause, "t", usec, "a{sv}",
                                            evidence, "t", serial),
                                0),
        SD_BUS_VTABLE_END,
};
