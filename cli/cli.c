/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection and the loop. Calls are made asynchronously and waited for in the loop, so that Ctrl-C and a service that
 * goes away are noticed in every wait. Only signals of the service itself count: others may send us some, too. */
#include "cli/cli.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"
#include "dbus/names.h"

/* The service answers everything slow with an object; a store on a bad disk may still take its time. */
#define CALL_TIMEOUT_USEC (60 * USEC_PER_SEC)

void cli_init(Cli *cli)
{
        *cli = (Cli){};
        setlocale(LC_CTYPE, "");
        cli->utf8 = strcasecmp(nl_langinfo(CODESET), "UTF-8") == 0;
        cli->interactive = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
}

void cli_init_output(Cli *cli)
{
        const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
        bool able = term && *term && strcmp(term, "dumb") != 0, wanted = !no_color || !*no_color;

        cli->live = able && isatty(fileno(output_steps(cli)));
        cli->colour = cli->live && wanted;
}

void cli_deinit(Cli *cli)
{
        output_end_line(cli);
        cli->screen = screen_free(cli->screen);
        sd_bus_flush_close_unref(cli->bus);
        sd_event_unref(cli->event);
        free(cli->owner);
}

static int on_interrupt(sd_event_source *source, const struct signalfd_siginfo *info,
                        void *userdata)
{
        Cli *cli = userdata;

        cli->interrupted = true;
        return 0;
}

static int catch_signals(Cli *cli)
{
        static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

        for (size_t i = 0; i < ELEMENTS(signals); i++) {
                struct sigaction old;
                sigset_t set;
                int r;

                /* What our caller ignores (nohup, a background job) stays ignored. */
                if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler == SIG_IGN)
                        continue;
                sigemptyset(&set);
                sigaddset(&set, signals[i]);
                if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                        return -errno;
                r = sd_event_add_signal(cli->event, NULL, signals[i], on_interrupt, cli);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *name, *before, *after;
        Cli *cli = userdata;

        if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0)
                return 0;
        if (cli->owner && strcmp(cli->owner, before) == 0)
                cli->gone = true;
        return 0;
}

static int on_signal(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        const char *sender = sd_bus_message_get_sender(m);
        Cli *cli = userdata;

        if (cli->handler && cli->owner && sender && strcmp(sender, cli->owner) == 0)
                cli->handler(cli->handler_userdata, m);
        return 0;
}

static int listen_to_service(Cli *cli)
{
        int r;

        r = sd_bus_add_match(cli->bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus',"
                             "path='/org/freedesktop/DBus',interface='org.freedesktop.DBus',"
                             "member='NameOwnerChanged',arg0='" BUS_NAME "'",
                             on_owner_changed, cli);
        if (r < 0)
                return r;
        return sd_bus_add_match(cli->bus, NULL,
                                "type='signal',sender='" BUS_NAME "',path_namespace='" PATH_ROOT
                                "'",
                                on_signal, cli);
}

static int request_admin_view(Cli *cli);

int cli_open(Cli *cli)
{
        int r;

        r = sd_event_new(&cli->event);
        if (r < 0)
                return cli_failed(cli, r, "Making an event loop");
        r = catch_signals(cli);
        if (r < 0)
                return cli_failed(cli, r, "Catching signals");

        r = cli->user ? sd_bus_open_user(&cli->bus) : sd_bus_open_system(&cli->bus);
        if (r == -ENOMEDIUM) {
                output_error(cli, BUS_NAME ".Client",
                             "There is no session bus: DBUS_SESSION_BUS_ADDRESS is not set.");
                return EXIT_OURS;
        }
        if (r < 0)
                return cli_failed(cli, r,
                                  cli->user ? "Connecting to the session bus"
                                            : "Connecting to the system bus");
        r = sd_bus_attach_event(cli->bus, cli->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return cli_failed(cli, r, "Attaching the bus");
        r = listen_to_service(cli);
        if (r < 0)
                return cli_failed(cli, r,
                                  cli->user ? "Talking to the session bus"
                                            : "Talking to the system bus");
        return cli->all ? request_admin_view(cli) : 0;
}

void cli_listen(Cli *cli, SignalHandler handler, void *userdata)
{
        cli->handler = handler;
        cli->handler_userdata = userdata;
}

void cli_look_between(Cli *cli, int (*between)(void *userdata), void *userdata)
{
        cli->between = between;
        cli->between_userdata = userdata;
}

static int state_of_wait(Cli *cli)
{
        if (cli->interrupted)
                return EXIT_INTERRUPTED;
        if (cli->gone) {
                output_error(cli, BUS_NAME ".Gone",
                             "The waypost service went away in the middle of this.");
                return EXIT_OURS;
        }
        return 0;
}

int cli_wait(Cli *cli, uint64_t timeout_usec)
{
        int r;

        r = state_of_wait(cli);
        if (r)
                return r;
        fflush(stdout);
        r = sd_event_run(cli->event, timeout_usec);
        /* What is there already belongs to the same moment: one look at the properties serves it all. */
        for (unsigned n = 0; r > 0 && n < 256; n++)
                r = sd_event_run(cli->event, 0);
        if (r < 0)
                return cli_failed(cli, r, "Waiting");
        r = state_of_wait(cli);
        return r || !cli->between ? r : cli->between(cli->between_userdata);
}

void cli_forget_interruption(Cli *cli)
{
        cli->interrupted = false;
}

int cli_message(Cli *cli, sd_bus_message **ret, const char *path, const char *interface,
                const char *member)
{
        int r;

        r = sd_bus_message_new_method_call(cli->bus, ret, BUS_NAME, path, interface, member);
        return r < 0 ? cli_failed(cli, r, "Making a call") : 0;
}

static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        sd_bus_message **reply = userdata;

        *reply = sd_bus_message_ref(m);
        return 0;
}

static int learn_owner(Cli *cli, sd_bus_message *reply)
{
        const char *sender = sd_bus_message_get_sender(reply);

        /* Errors may come from the bus itself. */
        if (cli->owner || !sender || sender[0] != ':')
                return 0;
        cli->owner = strdup(sender);
        return cli->owner ? 0 : cli_failed(cli, -ENOMEM, "Remembering the service");
}

static int call(Cli *cli, sd_bus_message *m, uint64_t timeout_usec, sd_bus_message **ret_reply,
                sd_bus_error *ret_error)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
        const sd_bus_error *error;
        int r;

        r = sd_bus_call_async(cli->bus, &slot, m, on_reply, &reply, timeout_usec);
        if (r < 0)
                return cli_failed(cli, r, "Calling the waypost service");
        fflush(stdout);
        while (!reply) {
                if (cli->interrupted)
                        return EXIT_INTERRUPTED;
                r = sd_event_run(cli->event, UINT64_MAX);
                if (r < 0)
                        return cli_failed(cli, r, "Waiting for the waypost service");
        }
        r = learn_owner(cli, reply);
        if (r)
                return r;
        error = sd_bus_message_get_error(reply);
        if (error && ret_error)
                return sd_bus_error_copy(ret_error, error) == -ENOMEM
                               ? cli_failed(cli, -ENOMEM, "Reading an error")
                               : CALL_REFUSED;
        if (error)
                return cli_refused(cli, error);
        if (ret_reply)
                *ret_reply = TAKE(reply);
        return 0;
}

int cli_call(Cli *cli, sd_bus_message *m, sd_bus_message **ret_reply, sd_bus_error *ret_error)
{
        return call(cli, m, CALL_TIMEOUT_USEC, ret_reply, ret_error);
}

/* An agent on the desktop or in the terminal may ask for an administrator's password, so this takes as long as it takes. */
static int request_admin_view(Cli *cli)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, PATH_ROOT, INTERFACE_MANAGER, "RequestAdminView");
        if (r)
                return r;
        r = sd_bus_message_set_allow_interactive_authorization(m, true);
        return r < 0 ? cli_failed(cli, r, "Making a call") : call(cli, m, UINT64_MAX, NULL, NULL);
}

int cli_call_texts(Cli *cli, const char *path, const char *interface, const char *member,
                   sd_bus_message **ret_reply, sd_bus_error *ret_error, const char *a,
                   const char *b)
{
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = cli_message(cli, &m, path, interface, member);
        if (r)
                return r;
        r = a ? sd_bus_message_append(m, "s", a) : 0;
        if (r >= 0 && b)
                r = sd_bus_message_append(m, "s", b);
        if (r < 0)
                return cli_failed(cli, r, "Making a call");
        return cli_call(cli, m, ret_reply, ret_error);
}

int cli_properties(Cli *cli, const char *path, const char *interface, json_object **ret,
                   sd_bus_error *ret_error)
{
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *properties = NULL;
        int r;

        r = cli_call_texts(cli, path, "org.freedesktop.DBus.Properties", "GetAll", &reply,
                           ret_error, interface, NULL);
        if (r)
                return r;
        r = value_read(reply, &properties);
        if (r < 0)
                return cli_failed(cli, r, "Reading the service's answer");
        *ret = value_kebab(properties);
        return 0;
}

typedef struct Refusal {
        const char *name;
        const char *sentence; /* NULL: the message that came with it is one */
        Exit status;
} Refusal;

static const Refusal refusals[] = {
        { ERROR_INVALID_ADDRESS, NULL, EXIT_USAGE },
        { ERROR_INVALID_ARGUMENT, NULL, EXIT_USAGE },
        { ERROR_INVALID_STATE, NULL, EXIT_OURS },
        { ERROR_ACCOUNT_EXISTS, NULL, EXIT_USER_ACTION },
        { ERROR_STALE, NULL, EXIT_OURS },
        { ERROR_QUOTA, NULL, EXIT_USER_ACTION },
        { ERROR_NOT_SUPPORTED, NULL, EXIT_PERMANENT },
        { ERROR_NOT_FOUND, NULL, EXIT_USAGE },
        { ERROR_FAILED, NULL, EXIT_OURS },
        { SD_BUS_ERROR_SERVICE_UNKNOWN,
          "The waypost service is not running and the bus does not know how to start it.",
          EXIT_OURS },
        { SD_BUS_ERROR_NAME_HAS_NO_OWNER, "The waypost service is not running.", EXIT_OURS },
        { SD_BUS_ERROR_NO_REPLY, "The waypost service did not answer.", EXIT_OURS },
        { SD_BUS_ERROR_TIMEOUT, "The waypost service did not answer in time.", EXIT_OURS },
        { SD_BUS_ERROR_DISCONNECTED, "The bus closed the connection.", EXIT_OURS },
        { SD_BUS_ERROR_ACCESS_DENIED, "You are not allowed to do this.", EXIT_USER_ACTION },
        { SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
          "An administrator has to agree, and nobody could be asked.", EXIT_USER_ACTION },
        { SD_BUS_ERROR_UNKNOWN_OBJECT, "There is no such account or setup, or it is not yours.",
          EXIT_USAGE },
};

static const Refusal *refusal_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTS(refusals); i++)
                if (strcmp(refusals[i].name, name) == 0)
                        return &refusals[i];
        return NULL;
}

/* One sentence of what the service said: a capital, a full stop. */
static char *make_sentence(const char *message)
{
        _cleanup_free_ char *printable = text_printable(message);
        char *sentence;
        size_t len;

        if (!printable)
                return NULL;
        len = strlen(printable);
        if (len && printable[0] >= 'a' && printable[0] <= 'z')
                printable[0] = (char) (printable[0] - 'a' + 'A');
        if (asprintf(&sentence, "%s%s", printable,
                     len && strchr(".!?", printable[len - 1]) ? "" : ".") < 0)
                return NULL;
        return sentence;
}

int cli_refused(Cli *cli, const sd_bus_error *error)
{
        const char *name = error->name ?: "", *message = error->message ?: "";
        const Refusal *refusal = refusal_find(name);
        _cleanup_free_ char *sentence = NULL;

        if (refusal && refusal->sentence) {
                output_error(cli, name, refusal->sentence);
                return refusal->status;
        }
        if (strncmp(name, "org.freedesktop.DBus.Error.Spawn", 32) == 0) {
                output_error(cli, name, "The waypost service could not be started.");
                return EXIT_OURS;
        }
        sentence = make_sentence(*message ? message : name);
        output_error(cli, name, sentence ?: "No memory.");
        return refusal ? (int) refusal->status : EXIT_OURS;
}

int cli_failed(Cli *cli, int error, const char *what)
{
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "%s failed: %s.", what, strerror(-error)) < 0)
                text = NULL;
        output_error(cli, BUS_NAME ".Client", text ?: "No memory.");
        return EXIT_OURS;
}
