/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.waypost.Waypost1.Account. Who may call was decided by account_find(). */
#include "core/account.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/call.h"
#include "bus/errors.h"
#include "bus/getter.h"
#include "bus/polkit.h"
#include "bus/secrets.h"
#include "bus/setup.h"
#include "bus/variant.h"
#include "bus/wait.h"
#include "core/setup.h"
#include "dbus/names.h"

/* --- properties --------------------------------------------------------------------------------------------- */

static uint32_t seconds(uint64_t usec)
{
        return (uint32_t) MIN(usec / USEC_PER_SEC, UINT32_MAX);
}

#define RECORD account_record(object)

DEFINE_GETTER(get_address, Account, "s", RECORD->address ?: "");
DEFINE_GETTER(get_display_name, Account, "s", RECORD->display_name ?: "");
DEFINE_GETTER(get_owner, Account, "u", (uint32_t) RECORD->uid);
DEFINE_GETTER(get_protocol, Account, "s", protocol_name(RECORD->incoming.protocol));
DEFINE_GETTER(get_state, Account, "s", account_state_name(account_state(object)));
DEFINE_GETTER(get_cause, Account, "s", RECORD->cause ?: "");
DEFINE_GETTER(get_since, Account, "t", RECORD->since_usec);
DEFINE_GETTER(get_last_success, Account, "t", RECORD->last_success_usec);
DEFINE_GETTER(get_next_run, Account, "t", account_next_run_usec(object));
DEFINE_GETTER(get_interval, Account, "u", seconds(RECORD->interval_usec));
DEFINE_GETTER(get_poll_minimum, Account, "u", seconds(RECORD->poll_minimum_usec));
DEFINE_GETTER(get_keep, Account, "s", keep_text(RECORD, (char[KEEP_TEXT]){}));
DEFINE_GETTER(get_can_send, Account, "b", (int) RECORD->can_send);
DEFINE_GETTER(get_delivery, Account, "s", RECORD->delivery ?: RECORD->location ? "maildir" : "");
DEFINE_GETTER(get_location, Account, "s", RECORD->location ?: "");
DEFINE_GETTER(get_messages_fetched, Account, "t", RECORD->messages_fetched);

static int append_server(sd_bus_message *m, const Account *account, Side side)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        int r;

        if (!dict)
                return -ENOMEM;
        r = account_server_dict(account, side, dict);
        return r < 0 ? r : variant_append(m, dict);
}

static int get_incoming(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        return append_server(reply, userdata, SIDE_INCOMING);
}

static int get_outgoing(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        return append_server(reply, userdata, SIDE_OUTGOING);
}

/* Stored as lines. */
static int get_folders(sd_bus *sd, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        Account *object = userdata;
        const char *line = object ? account_record(object)->folders : NULL, *end;
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (; r >= 0 && line && (end = strchr(line, '\n')); line = end + 1) {
                _cleanup_free_ char *name = NULL;

                r = text_set_n(&name, line, (size_t) (end - line));
                if (r == 0)
                        r = sd_bus_message_append_basic(reply, 's', name);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_warnings(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        char *const *warnings = account_warnings(userdata);
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (; r >= 0 && warnings && *warnings; warnings++)
                r = sd_bus_message_append_basic(reply, 's', *warnings);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_run(sd_bus *sd, const char *path, const char *interface, const char *property,
                   sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        return variant_append(reply, account_run(userdata));
}

/* --- methods ------------------------------------------------------------------------------------------------ */

static int reply_result(sd_bus_message *m, int result, const char *why, sd_bus_error *error)
{
        if (result)
                return error_from_account(error, result, why);
        return sd_bus_reply_method_return(m, NULL);
}

static int method_fetch_now(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        static const DictKey known[] = { { KEY_SKIPPED, DICT_BOOL } };
        _cleanup_(dict_freep) Dict *options = NULL;
        char state[48];
        uint64_t run;
        int r;

        r = variant_read(m, &options, error);
        if (r < 0)
                return r;
        r = variant_check(options, known, ELEMENTS(known), error);
        if (r < 0)
                return r;
        r = account_fetch_now(userdata, dict_bool(options, KEY_SKIPPED, false), &run);
        (void) snprintf(state, sizeof(state), "State is %s.",
                        account_state_name(account_state(userdata)));
        if (r)
                return error_from_account(error, r, state);
        return sd_bus_reply_method_return(m, "t", run);
}

/* The methods that take nothing, return nothing and store something. */
static int answer_by(Call *call, int (*func)(Account *account), sd_bus_error *error)
{
        Account *account = core_account(call->bus->core, call->id);

        if (!account)
                return call_gone(call, error);
        return reply_result(call->message, func(account), NULL, error);
}

static int answer_pause(Call *call, sd_bus_error *error)
{
        return answer_by(call, account_pause, error);
}

static int answer_resume(Call *call, sd_bus_error *error)
{
        return answer_by(call, account_resume, error);
}

static int account_remove_only(Account *account)
{
        return account_remove(account, false);
}

static int answer_remove(Call *call, sd_bus_error *error)
{
        return answer_by(call, account_remove_only, error);
}

static int answer_configure(Call *call, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *settings = NULL;
        const char *why = NULL;
        Account *account;
        int r;

        r = variant_read(call->message, &settings, error);
        if (r < 0)
                return r;
        account = core_account(call->bus->core, call->id);
        if (!account)
                return call_gone(call, error);
        r = account_configure(account, settings, &why);
        return reply_result(call->message, r, why, error);
}

static int method_pause(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_pause, error);
}

static int method_resume(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_resume, error);
}

static int method_remove(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_remove, error);
}

static int method_configure(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_configure, error);
}

static int method_set_password(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        const char *side = "", *why = NULL;
        Setup *setup;
        int r;

        r = side_read(m, &side, error);
        if (r < 0)
                return r;
        r = secret_read_text(m, &secret, error);
        if (r < 0)
                return r;
        r = setup_start_password(&setup, userdata, side, secret, &why);
        return r ? error_from_setup(error, r, why) : setup_started(m, setup, error);
}

static int method_repair(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *options = NULL;
        const char *why = NULL;
        Setup *setup;
        int r;

        r = variant_read(m, &options, error);
        if (r < 0)
                return r;
        r = setup_start_repair(&setup, userdata, options, &why);
        return r ? error_from_setup(error, r, why) : setup_started(m, setup, error);
}

static int method_check(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        Setup *setup;
        int r = setup_start_check(&setup, userdata);

        return r ? error_from_setup(error, r, NULL) : setup_started(m, setup, error);
}

/* Read once, by whoever was given the other end; a pipe holds more than any secret. */
static int secret_to_pipe(const Secret *secret, int *ret)
{
        _cleanup_close_ int out = -1, in = -1;
        int fds[2];
        ssize_t n;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        out = fds[0];
        in = fds[1];
        n = write(in, secret_data(secret), secret_len(secret));
        if (n != (ssize_t) secret_len(secret))
                return n < 0 ? -errno : -EIO;
        *ret = out;
        out = -1;
        return 0;
}

static int reply_credential(Call *call, Account *account, bool outgoing, sd_bus_error *error)
{
        _cleanup_(secret_unrefp) Secret *secret = NULL;
        _cleanup_finding_ Finding finding = {};
        _cleanup_close_ int fd = -1;
        char address[LIMIT_ADDRESS + 1];
        int r;

        snprintf(address, sizeof(address), "%s", account_record(account)->address);
        r = account_credential(account, outgoing, &secret, &finding);
        if (r > 0)
                return error_set(error, TROUBLE_STATE, finding.cause);
        if (r == 0)
                r = secret_to_pipe(secret, &fd);
        if (r < 0)
                return error_fault(error, r, "a credential");
        log_notice("the credential of %s was handed out", address);
        return sd_bus_reply_method_return(call->message, "h", fd);
}

/* The one way by which a secret comes out again: the administrator's switch, the account's own owner, and polkit. What an administrator sees of others is not
 * theirs to have. */
static int answer_get_credential(Call *call, sd_bus_error *error)
{
        static const DictKey known[] = { { KEY_SIDE, DICT_TEXT } };
        _cleanup_(dict_freep) Dict *options = NULL;
        const Config *config = core_config(call->bus->core);
        const char *side;
        Account *account;
        uid_t uid;
        int r;

        r = variant_read(call->message, &options, error);
        if (r == 0)
                r = variant_check(options, known, ELEMENTS(known), error);
        if (r < 0)
                return r;
        side = dict_text(options, KEY_SIDE);
        if (side && strcmp(side, KEY_INCOMING) != 0 && strcmp(side, KEY_OUTGOING) != 0)
                return error_argument(error, KEY_SIDE, "is incoming or outgoing");
        if (!config->hand_out)
                return error_set(error, TROUBLE_NOT_SUPPORTED,
                                 "The administrator has not switched it on.");
        r = bus_caller(call->bus, call->message, &uid, error);
        if (r < 0)
                return r;
        account = core_account(call->bus->core, call->id);
        if (!account)
                return call_gone(call, error);
        if (uid != 0 && uid != account_owner(account))
                return error_set(error, TROUBLE_DENIED, "It is another user's account.");
        r = config->user || uid == 0 ? 0 : polkit_ask(call, ACTION_GET_CREDENTIAL, NULL, error);
        if (r < 0)
                return r;
        account = core_account(call->bus->core, call->id);
        if (!account || (uid != 0 && uid != account_owner(account)))
                return call_gone(call, error);
        return reply_credential(call, account, side && strcmp(side, KEY_OUTGOING) == 0, error);
}

static int method_get_credential(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_get_credential, error);
}

static int append_run(void *userdata, const RunRecord *run)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        int r = dict ? run_to_dict(run, dict) : -ENOMEM;

        return r < 0 ? r : variant_append(userdata, dict);
}

static int method_history(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        uint32_t max;
        int r;

        r = sd_bus_message_read_basic(m, 'u', &max);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r >= 0)
                r = account_history(userdata, MIN(max, LIMIT_HISTORY), append_run, reply);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? error_fault(error, r, "the history") : sd_bus_send(NULL, reply, NULL);
}

static int append_check(void *userdata, const Dict *check)
{
        return variant_append(userdata, check);
}

static int method_why(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        if (r >= 0)
                r = account_why(userdata, append_check, reply);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? error_fault(error, r, "the checks") : sd_bus_send(NULL, reply, NULL);
}

#define OPEN SD_BUS_VTABLE_UNPRIVILEGED
#define SECRET (SD_BUS_VTABLE_UNPRIVILEGED | SD_BUS_VTABLE_SENSITIVE)
#define CONST SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable account_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Address", "s", get_address, 0, CONST),
        SD_BUS_PROPERTY("DisplayName", "s", get_display_name, 0, CHANGES),
        SD_BUS_PROPERTY("Owner", "u", get_owner, 0, CONST),
        SD_BUS_PROPERTY("Protocol", "s", get_protocol, 0, CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, CHANGES),
        SD_BUS_PROPERTY("Cause", "s", get_cause, 0, CHANGES),
        SD_BUS_PROPERTY("Since", "t", get_since, 0, CHANGES),
        SD_BUS_PROPERTY("LastSuccess", "t", get_last_success, 0, CHANGES),
        SD_BUS_PROPERTY("NextRun", "t", get_next_run, 0, CHANGES),
        SD_BUS_PROPERTY("Interval", "u", get_interval, 0, CHANGES),
        SD_BUS_PROPERTY("PollMinimum", "u", get_poll_minimum, 0, CHANGES),
        SD_BUS_PROPERTY("Keep", "s", get_keep, 0, CHANGES),
        SD_BUS_PROPERTY("CanSend", "b", get_can_send, 0, CHANGES),
        SD_BUS_PROPERTY("Incoming", "a{sv}", get_incoming, 0, CHANGES),
        SD_BUS_PROPERTY("Outgoing", "a{sv}", get_outgoing, 0, CHANGES),
        SD_BUS_PROPERTY("Delivery", "s", get_delivery, 0, CHANGES),
        SD_BUS_PROPERTY("Location", "s", get_location, 0, CHANGES),
        SD_BUS_PROPERTY("Folders", "as", get_folders, 0, CHANGES),
        SD_BUS_PROPERTY("Warnings", "as", get_warnings, 0, CHANGES),
        SD_BUS_PROPERTY("Run", "a{sv}", get_run, 0, CHANGES),
        SD_BUS_PROPERTY("MessagesFetched", "t", get_messages_fetched, 0, CHANGES),
        SD_BUS_METHOD_WITH_ARGS("FetchNow", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("t", run),
                                method_fetch_now, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Pause", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_pause, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_resume, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Configure", SD_BUS_ARGS("a{sv}", settings), SD_BUS_NO_RESULT,
                                method_configure, OPEN),
        SD_BUS_METHOD_WITH_ARGS("SetPassword", SD_BUS_ARGS("s", side, "s", secret),
                                SD_BUS_RESULT("o", setup), method_set_password, SECRET),
        SD_BUS_METHOD_WITH_ARGS("GetCredential", SD_BUS_ARGS("a{sv}", options),
                                SD_BUS_RESULT("h", secret), method_get_credential, SECRET),
        SD_BUS_METHOD_WITH_ARGS("Repair", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("o", setup),
                                method_repair, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_NO_ARGS, SD_BUS_RESULT("o", setup), method_check,
                                OPEN),
        SD_BUS_METHOD_WITH_ARGS("History", SD_BUS_ARGS("u", max), SD_BUS_RESULT("aa{sv}", runs),
                                method_history, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Why", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", checks), method_why,
                                OPEN),
        SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_remove, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Wait", SD_BUS_ARGS("s", known_state, "t", timeout_usec),
                                SD_BUS_RESULT("s", state), wait_method, OPEN),
        SD_BUS_SIGNAL_WITH_ARGS("RunFinished", SD_BUS_ARGS("a{sv}", run), 0),
        SD_BUS_SIGNAL_WITH_ARGS("MailArrived", SD_BUS_ARGS("u", messages, "t", bytes), 0),
        SD_BUS_VTABLE_END,
};
