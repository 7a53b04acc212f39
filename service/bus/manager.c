/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* org.waypost.Waypost1.Manager, at the root: beginning a setup, and asking for what the service knows. */
#include "base/log.h"
#include "base/text.h"
#include "bus/call.h"
#include "bus/callers.h"
#include "bus/errors.h"
#include "bus/getter.h"
#include "bus/objects.h"
#include "bus/polkit.h"
#include "bus/publish.h"
#include "bus/setup.h"
#include "bus/variant.h"
#include "config.h"
#include "core/account.h"
#include "core/setup.h"
#include "dbus/names.h"
#include "probe/describe.h"
#include "probe/explain.h"
#include "proto/address.h"

/* What came to the contract after its first version, and what this build can do. Names stay. */
/* clang-format off */
static const char *const features[] = {
        "pop3", "imap", "folders", "push", "smtp", "maildir", "verification-mail", "explain",
        "admin-view", "start-settings", "lmtp", "why", "oauth", "oauth-clients", "repair", "get-credential",
        "diagnosis", "certificate-care",
        NULL,
};
/* clang-format on */

DEFINE_GETTER(get_version, Bus, "s", object ? PACKAGE_VERSION : "");

static int get_features(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
        int r = sd_bus_message_open_container(reply, 'a', "s");

        for (const char *const *f = features; r >= 0 && *f; f++)
                r = sd_bus_message_append_basic(reply, 's', *f);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* --- setups ------------------------------------------------------------------------------------------------- */

static int address_read(sd_bus_message *m, const char **ret, sd_bus_error *error)
{
        const char *address;
        int r;

        r = sd_bus_message_read_basic(m, 's', &address);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        if (!variant_text_is_fine(address))
                return error_set(error, TROUBLE_ADDRESS,
                                 "It is too long or has control characters.");
        *ret = address;
        return 0;
}

static int method_start_setup(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *options = NULL;
        Bus *bus = userdata;
        const char *address, *why = NULL;
        Setup *setup;
        uid_t uid;
        int r;

        r = address_read(m, &address, error);
        if (r < 0)
                return r;
        r = variant_read(m, &options, error);
        if (r < 0)
                return r;
        r = bus_caller(bus, m, &uid, error);
        if (r < 0)
                return r;
        r = setup_start(&setup, bus->core, uid, address, options, &why);
        if (r)
                return error_from_setup(error, r, why);
        return setup_started(m, setup, error);
}

static int method_probe(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        static const DictKey known[] = { { KEY_PROTOCOL, DICT_TEXT }, { KEY_SECURITY, DICT_TEXT } };
        _cleanup_(dict_freep) Dict *options = NULL;
        Bus *bus = userdata;
        const char *host, *why = NULL;
        Setup *setup;
        uint16_t port;
        uid_t uid;
        int r;

        r = variant_read_text(m, "host", &host, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, 'q', &port);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        r = variant_read(m, &options, error);
        if (r < 0)
                return r;
        r = variant_check(options, known, ELEMENTS(known), error);
        if (r < 0)
                return r;
        r = bus_caller(bus, m, &uid, error);
        if (r < 0)
                return r;
        r = setup_start_probe(&setup, bus->core, uid, host, port, options, &why);
        if (r)
                return error_from_setup(error, r, why);
        return setup_started(m, setup, error);
}

/* --- accounts ----------------------------------------------------------------------------------------------- */

/* One's own first; who sees all may mean anybody's. */
static Account *account_visible(Bus *bus, const char *caller, uid_t uid, const char *address)
{
        Account *found = core_account_by_address(bus->core, uid, address), *account;

        if (found || !callers_see_all(bus->callers, caller))
                return found;
        for (size_t i = 0; !found && (account = core_account_at(bus->core, i)); i++)
                found = core_account_by_address(bus->core, account_owner(account), address);
        return found;
}

static int method_find_account(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(mail_address_freep) MailAddress *address = NULL;
        Bus *bus = userdata;
        char path[PATH_SIZE];
        const char *text, *why = NULL;
        Account *account;
        uid_t uid;
        int r;

        r = address_read(m, &text, error);
        if (r < 0)
                return r;
        r = mail_address_parse(&address, text, &why);
        if (r == -EINVAL)
                return error_set(error, TROUBLE_ADDRESS, why);
        if (r < 0)
                return error_fault(error, r, "reading an address");
        r = bus_caller(bus, m, &uid, error);
        if (r < 0)
                return r;
        account = account_visible(bus, sd_bus_message_get_sender(m), uid, address->address);
        if (!account)
                return error_set(error, TROUBLE_NOT_FOUND, "No account has this address.");
        account_path(account, path);
        return sd_bus_reply_method_return(m, "o", path);
}

/* --- seeing everything ---------------------------------------------------------------------------------------- */

/* The caller may have left while polkit thought: then there is nobody to grant anything to. */
static int answer_admin_view(Call *call, sd_bus_error *error)
{
        const char *caller = sd_bus_message_get_sender(call->message);
        Bus *bus = call->bus;
        uid_t uid;
        int r;

        r = polkit_ask(call, ACTION_ADMIN_VIEW, NULL, error);
        if (r < 0)
                return r;
        r = bus_caller(bus, call->message, &uid, error);
        if (r < 0)
                return r;
        if (callers_grant(bus->callers, caller)) {
                log_notice("user %u was granted the view of all accounts", (unsigned) uid);
                publish_introduce(bus->publish, caller, uid);
        }
        return sd_bus_reply_method_return(call->message, NULL);
}

/* A service of one user has nothing that this user does not see. */
static int method_request_admin_view(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        Bus *bus = userdata;

        if (core_config(bus->core)->user ||
            callers_see_all(bus->callers, sd_bus_message_get_sender(m)))
                return sd_bus_reply_method_return(m, NULL);
        return call_start(m, answer_admin_view, error);
}

/* Only issuers that the administrator has named are asked: nobody else's word makes the service fetch an address. */
static int answer_test_client(Call *call, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(dict_freep) Dict *seen = dict_new();
        const char *issuer;
        int r;

        r = variant_read_text(call->message, "issuer", &issuer, error);
        if (r < 0)
                return r;
        r = seen ? core_test_client(call->bus->core, issuer, seen) : -ENOMEM;
        if (r == -ENOENT)
                return error_set(error, TROUBLE_NOT_FOUND, "There is no client for this issuer.");
        if (r == 0)
                r = sd_bus_message_new_method_return(call->message, &reply);
        if (r >= 0)
                r = variant_append(reply, seen);
        return r < 0 ? error_fault(error, r, "a client") : sd_bus_send(NULL, reply, NULL);
}

static int method_test_client(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        return call_start(m, answer_test_client, error);
}

/* --- causes ------------------------------------------------------------------------------------------------- */

static int reply_dict(sd_bus_message *m, const Dict *dict, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = variant_append(reply, dict);
        if (r < 0)
                return error_fault(error, r, "answering");
        return sd_bus_send(NULL, reply, NULL);
}

static int describe_options(const Dict *options, sd_bus_error *error)
{
        static const DictKey known[] = { { KEY_LOCALE, DICT_TEXT },
                                         { KEY_PROVIDER, DICT_TEXT },
                                         { KEY_EVIDENCE, DICT_DICT } };

        return variant_check(options, known, ELEMENTS(known), error);
}

/* As named, or as the evidence tells. */
static const Provider *described_provider(const Providers *providers, const Dict *options,
                                          const Dict *evidence)
{
        const char *label = dict_text(options, KEY_PROVIDER), *host = NULL;
        const Provider *provider;

        if (!label && evidence)
                label = dict_text(evidence, KEY_PROVIDER);
        provider = label ? provider_by_label(providers, label) : NULL;
        if (!provider && evidence)
                host = dict_text(evidence, KEY_HOST);
        return provider || !host ? provider : provider_by_host(providers, host);
}

static int method_describe_cause(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *options = NULL;
        _cleanup_(dict_freep) Dict *dict = NULL;
        Bus *bus = userdata;
        const Dict *evidence;
        const char *code;
        const Cause *cause;
        int r;

        r = variant_read_text(m, "cause", &code, error);
        if (r < 0)
                return r;
        r = variant_read(m, &options, error);
        if (r < 0)
                return r;
        r = describe_options(options, error);
        if (r < 0)
                return r;
        cause = cause_find(code);
        if (!cause)
                return error_set(error, TROUBLE_NOT_FOUND, "No cause has this code.");
        evidence = dict_dict(options, KEY_EVIDENCE);
        dict = dict_new();
        r = dict ? cause_describe(cause, dict_text(options, KEY_LOCALE), evidence,
                                  described_provider(core_providers(bus->core), options, evidence),
                                  dict)
                 : -ENOMEM;
        return r < 0 ? error_fault(error, r, "describing a cause") : reply_dict(m, dict, error);
}

static int method_list_causes(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Cause *cause;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (size_t i = 0; r >= 0 && (cause = cause_at(i)); i++)
                r = sd_bus_message_append_basic(reply, 's', cause->code);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r < 0)
                return error_fault(error, r, "listing causes");
        return sd_bus_send(NULL, reply, NULL);
}

/* --- explaining --------------------------------------------------------------------------------------------- */

/* Lines of a log: anything that the bus lets through. Borrowed from the message. */
static int read_lines(sd_bus_message *m, const char *lines[EXPLAIN_LINES], size_t *ret_n,
                      sd_bus_error *error)
{
        const char *line;
        size_t n = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "s");
        while (r >= 0 && (r = sd_bus_message_read_basic(m, 's', &line)) > 0) {
                if (n == EXPLAIN_LINES)
                        return error_argument(error, "lines", "are too many");
                lines[n++] = line;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        *ret_n = n;
        return 0;
}

static int method_explain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        _cleanup_(dict_freep) Dict *context = NULL;
        _cleanup_(dict_freep) Dict *dict = NULL;
        Bus *bus = userdata;
        const char *lines[EXPLAIN_LINES];
        size_t n;
        int r;

        r = read_lines(m, lines, &n, error);
        if (r < 0)
                return r;
        r = variant_read(m, &context, error);
        if (r < 0)
                return r;
        r = variant_check(context, explain_keys, EXPLAIN_KEYS, error);
        if (r < 0)
                return r;
        r = explain(lines, n, context, core_providers(bus->core), &dict);
        return r < 0 ? error_fault(error, r, "explaining lines") : reply_dict(m, dict, error);
}

#define OPEN SD_BUS_VTABLE_UNPRIVILEGED

const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("StartSetup", SD_BUS_ARGS("s", address, "a{sv}", options),
                                SD_BUS_RESULT("o", setup), method_start_setup, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Probe", SD_BUS_ARGS("s", host, "q", port, "a{sv}", options),
                                SD_BUS_RESULT("o", setup), method_probe, OPEN),
        SD_BUS_METHOD_WITH_ARGS("FindAccount", SD_BUS_ARGS("s", address),
                                SD_BUS_RESULT("o", account), method_find_account, OPEN),
        SD_BUS_METHOD_WITH_ARGS("TestClient", SD_BUS_ARGS("s", issuer),
                                SD_BUS_RESULT("a{sv}", seen), method_test_client, OPEN),
        SD_BUS_METHOD_WITH_ARGS("RequestAdminView", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT,
                                method_request_admin_view, OPEN),
        SD_BUS_METHOD_WITH_ARGS("Explain", SD_BUS_ARGS("as", lines, "a{sv}", context),
                                SD_BUS_RESULT("a{sv}", explanation), method_explain, OPEN),
        SD_BUS_METHOD_WITH_ARGS("DescribeCause", SD_BUS_ARGS("s", cause, "a{sv}", options),
                                SD_BUS_RESULT("a{sv}", description), method_describe_cause, OPEN),
        SD_BUS_METHOD_WITH_ARGS("ListCauses", SD_BUS_NO_ARGS, SD_BUS_RESULT("as", causes),
                                method_list_causes, OPEN),
        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Features", "as", get_features, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_VTABLE_END,
};
