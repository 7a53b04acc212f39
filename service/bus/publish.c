/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See publish.h. The getters of the vtables serve here as well, so a signal and a read never tell different things; that is why
 * getters work without a current message. */
#include <stdio.h>
#include <string.h>

#include "base/fiber.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/callers.h"
#include "bus/objects.h"
#include "bus/publish.h"
#include "bus/variant.h"
#include "bus/wait.h"
#include "core/account.h"
#include "core/setup.h"
#include "dbus/names.h"

/* What an object manager lists for every object, beside our own interface. GDBus takes an object away only when all that it
 * was listed with has been removed. */
static const char *const standard_interfaces[] = {
        "org.freedesktop.DBus.Peer",
        "org.freedesktop.DBus.Introspectable",
        "org.freedesktop.DBus.Properties",
};

/* A start or a resume changes every account at once. */
enum { CHANGE_BUCKETS = 1024 };

typedef struct Change {
        struct Change *next, *next_same; /* in line, in its bucket */
        char path[PATH_SIZE];
        void *object; /* NULL: it went before it was told of */
        bool account;
        unsigned what;
} Change;

struct Publish {
        Bus *bus;
        Change *first, *last;
        Change *buckets[CHANGE_BUCKETS]; /* the same ones, by their objects */
        sd_event_source *flush;
};

/* One signal on its way to its watchers. */
typedef struct Signal {
        Publish *publish;
        const char *from, *interface, *member;
        int (*fill)(sd_bus_message *m, const struct Signal *signal);
        char path[PATH_SIZE]; /* of the object, which is not always @from */
        void *object;
        const char *own;             /* its interface */
        const sd_bus_vtable *vtable; /* and its table */
        unsigned what;
        StepId step;
        const Dict *dict;
        uint64_t messages, bytes;
} Signal;

/* --- sending ----------------------------------------------------------------------------------------------- */

static int signal_send_to(const Signal *signal, const char *name)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(signal->publish->bus->sd, &m, signal->from, signal->interface,
                                      signal->member);
        if (r < 0)
                return r;
        r = sd_bus_message_set_destination(m, name);
        if (r < 0)
                return r;
        r = signal->fill(m, signal);
        if (r < 0)
                return r;
        return sd_bus_send(NULL, m, NULL);
}

static void on_watcher(void *userdata, const char *name)
{
        const Signal *signal = userdata;
        int r = signal_send_to(signal, name);

        if (r < 0 && r != -ENOTCONN)
                (void) log_fault(r, "cannot tell %s of %s", name, signal->member);
}

static void signal_send(Signal *signal, uid_t owner)
{
        callers_each_watcher(signal->publish->bus->callers, owner, on_watcher, signal);
}

/* --- properties -------------------------------------------------------------------------------------------- */

static int append_property(sd_bus_message *m, const Signal *signal, const sd_bus_vtable *v)
{
        const char *name = v->x.property.member;
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', name);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'v', v->x.property.signature);
        if (r < 0)
                return r;
        r = v->x.property.get(signal->publish->bus->sd, signal->path, signal->own, name, m,
                              signal->object, NULL);
        if (r < 0)
                return r;
        r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Appends a{sv} of all properties, or of those that the bits of signal->what announce with their values. */
static int append_properties(sd_bus_message *m, const Signal *signal,
                             bool (*wanted)(const Signal *signal, const sd_bus_vtable *v))
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        for (const sd_bus_vtable *v = signal->vtable; r >= 0 && v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_PROPERTY && wanted(signal, v))
                        r = append_property(m, signal, v);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool want_all(const Signal *signal, const sd_bus_vtable *v)
{
        return true;
}

/* Which properties each bit of core's means. */
static const struct {
        bool account;
        unsigned bit;
        const char *names[12]; /* ends with NULL */
} changes[] = {
        { false, SETUP_CHANGED_STATE, { "State" } },
        { false, SETUP_CHANGED_STEPS, { "Steps" } },
        { false, SETUP_CHANGED_NEEDS, { "Needs" } },
        { false, SETUP_CHANGED_CANDIDATES, { "Candidates" } },
        { false, SETUP_CHANGED_CAUSE, { "Cause" } },
        { false, SETUP_CHANGED_ACCOUNT, { "Account" } },
        { false, ~0U, { "Serial" } },
        { true, ACCOUNT_CHANGED_STATE, { "State", "Cause", "Since" } },
        { true, ACCOUNT_CHANGED_SUCCESS, { "LastSuccess", "MessagesFetched" } },
        { true, ACCOUNT_CHANGED_NEXT_RUN, { "NextRun" } },
        { true, ACCOUNT_CHANGED_RUN, { "Run" } },
        { true,
          ACCOUNT_CHANGED_SETTINGS,
          { "Interval", "PollMinimum", "Keep", "DisplayName", "Incoming", "Outgoing", "Location",
            "Delivery", "Folders" } },
        { true, ACCOUNT_CHANGED_CAN_SEND, { "CanSend" } },
        { true, ACCOUNT_CHANGED_WARNINGS, { "Warnings" } },
};

static bool changed(const Signal *signal, const char *property)
{
        bool account = signal->vtable == account_vtable;

        for (size_t i = 0; i < ELEMENTS(changes); i++) {
                if (changes[i].account != account || !(changes[i].bit & signal->what))
                        continue;
                for (const char *const *name = changes[i].names; *name; name++)
                        if (strcmp(*name, property) == 0)
                                return true;
        }
        return false;
}

static bool invalidates(const sd_bus_vtable *v)
{
        return v->flags & SD_BUS_VTABLE_PROPERTY_EMITS_INVALIDATION;
}

static bool want_changed(const Signal *signal, const sd_bus_vtable *v)
{
        return !invalidates(v) && changed(signal, v->x.property.member);
}

static int append_invalidated(sd_bus_message *m, const Signal *signal)
{
        int r;

        r = sd_bus_message_open_container(m, 'a', "s");
        for (const sd_bus_vtable *v = signal->vtable; r >= 0 && v->type != _SD_BUS_VTABLE_END; v++)
                if (v->type == _SD_BUS_VTABLE_PROPERTY && invalidates(v) &&
                    changed(signal, v->x.property.member))
                        r = sd_bus_message_append_basic(m, 's', v->x.property.member);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* --- what each signal says ---------------------------------------------------------------------------------- */

static int fill_properties_changed(sd_bus_message *m, const Signal *signal)
{
        int r;

        r = sd_bus_message_append_basic(m, 's', signal->own);
        if (r < 0)
                return r;
        r = append_properties(m, signal, want_changed);
        return r < 0 ? r : append_invalidated(m, signal);
}

static int append_own_interface(sd_bus_message *m, const Signal *signal)
{
        int r;

        r = sd_bus_message_open_container(m, 'e', "sa{sv}");
        if (r < 0)
                return r;
        r = sd_bus_message_append_basic(m, 's', signal->own);
        if (r < 0)
                return r;
        r = append_properties(m, signal, want_all);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int fill_interfaces_added(sd_bus_message *m, const Signal *signal)
{
        int r;

        r = sd_bus_message_append_basic(m, 'o', signal->path);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(m, 'a', "{sa{sv}}");
        for (size_t i = 0; r >= 0 && i < ELEMENTS(standard_interfaces); i++)
                r = sd_bus_message_append(m, "{sa{sv}}", standard_interfaces[i], 0);
        if (r < 0)
                return r;
        r = append_own_interface(m, signal);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int fill_interfaces_removed(sd_bus_message *m, const Signal *signal)
{
        int r;

        r = sd_bus_message_append_basic(m, 'o', signal->path);
        if (r < 0)
                return r;
        return sd_bus_message_append(m, "as", ELEMENTS(standard_interfaces) + 1,
                                     standard_interfaces[0], standard_interfaces[1],
                                     standard_interfaces[2], signal->own);
}

static int fill_step_changed(sd_bus_message *m, const Signal *signal)
{
        const Finding *finding = setup_finding(signal->object, signal->step);
        int r;

        r = sd_bus_message_append(m, "ssst", step_name(signal->step),
                                  step_status_name(finding->status), finding->cause ?: "",
                                  finding->usec);
        if (r < 0)
                return r;
        r = variant_append(m, &finding->evidence);
        return r < 0 ? r : sd_bus_message_append(m, "t", setup_serial(signal->object));
}

static int fill_run_finished(sd_bus_message *m, const Signal *signal)
{
        return variant_append(m, signal->dict);
}

static int fill_mail_arrived(sd_bus_message *m, const Signal *signal)
{
        return sd_bus_message_append(m, "ut", (uint32_t) MIN(signal->messages, UINT32_MAX),
                                     signal->bytes);
}

/* --- signals of objects ------------------------------------------------------------------------------------- */

static Signal setup_signal(Publish *publish, Setup *setup)
{
        Signal signal = {
                .publish = publish, .object = setup, .own = INTERFACE_SETUP, .vtable = setup_vtable
        };

        setup_path(setup, signal.path);
        return signal;
}

static Signal account_signal(Publish *publish, Account *account)
{
        Signal signal = { .publish = publish,
                          .object = account,
                          .own = INTERFACE_ACCOUNT,
                          .vtable = account_vtable };

        account_path(account, signal.path);
        return signal;
}

static void send_own(Signal *signal, const char *member,
                     int (*fill)(sd_bus_message *m, const Signal *signal), uid_t owner)
{
        signal->from = signal->path;
        signal->interface = signal->own;
        signal->member = member;
        signal->fill = fill;
        signal_send(signal, owner);
}

static void signal_interfaces(Signal *signal, bool added)
{
        signal->from = PATH_ROOT;
        signal->interface = "org.freedesktop.DBus.ObjectManager";
        signal->member = added ? "InterfacesAdded" : "InterfacesRemoved";
        signal->fill = added ? fill_interfaces_added : fill_interfaces_removed;
}

static void send_interfaces(Signal *signal, bool added, uid_t owner)
{
        signal_interfaces(signal, added);
        signal_send(signal, owner);
}

static void introduce(Signal signal, const char *name)
{
        signal_interfaces(&signal, true);
        on_watcher(&signal, name);
}

void publish_introduce(Publish *publish, const char *name, uid_t uid)
{
        Core *core = publish->bus->core;
        Account *account;
        Setup *setup;

        for (size_t i = 0; (account = core_account_at(core, i)); i++)
                if (account_owner(account) != uid)
                        introduce(account_signal(publish, account), name);
        for (size_t i = 0; (setup = core_setup_at(core, i)); i++)
                if (setup_uid(setup) != uid)
                        introduce(setup_signal(publish, setup), name);
}

/* --- gathered changes ---------------------------------------------------------------------------------------- */

static void change_tell(Publish *publish, Change *change)
{
        Signal signal = change->account ? account_signal(publish, change->object)
                                        : setup_signal(publish, change->object);
        uid_t owner = change->account ? account_owner(change->object) : setup_uid(change->object);

        signal.from = signal.path;
        signal.interface = "org.freedesktop.DBus.Properties";
        signal.member = "PropertiesChanged";
        signal.fill = fill_properties_changed;
        signal.what = change->what;
        signal_send(&signal, owner);
        waits_changed(publish->bus->waits, change->path);
}

static Change **change_bucket(Publish *publish, const void *object)
{
        return &publish->buckets[((uintptr_t) object >> 4) % CHANGE_BUCKETS];
}

/* Where it hangs in its bucket; at the end NULL for an object that has no change. */
static Change **change_find(Publish *publish, const void *object)
{
        Change **at = change_bucket(publish, object);

        while (*at && (*at)->object != object)
                at = &(*at)->next_same;
        return at;
}

static int on_flush(sd_event_source *source, void *userdata)
{
        Publish *publish = userdata;

        while (publish->first) {
                Change *change = publish->first;

                publish->first = change->next;
                if (!publish->first)
                        publish->last = NULL;
                if (change->object) {
                        *change_find(publish, change->object) = change->next_same;
                        change_tell(publish, change);
                }
                free(change);
        }
        return 0;
}

static void change_note(Publish *publish, void *object, bool account, unsigned what)
{
        Change *change = *change_find(publish, object);

        if (change) {
                change->what |= what;
                return;
        }
        change = calloc(1, sizeof(*change));
        if (!change) {
                log_error("no memory to tell of a change");
                return;
        }
        *change = (Change){ .object = object, .account = account, .what = what };
        if (account)
                account_path(object, change->path);
        else
                setup_path(object, change->path);
        change->next_same = *change_bucket(publish, object);
        *change_bucket(publish, object) = change;
        if (publish->last)
                publish->last->next = change;
        else
                publish->first = change;
        publish->last = change;
        (void) sd_event_source_set_enabled(publish->flush, SD_EVENT_ONESHOT);
}

/* Before a signal that tells of what came of the changes: whoever hears it finds the properties as they are. */
static void change_tell_now(Publish *publish, const void *object)
{
        Change **at = change_find(publish, object), *change = *at;

        if (!change)
                return;
        *at = change->next_same;
        change_tell(publish, change);
        change->object = NULL;
}

static void change_forget(Publish *publish, const void *object)
{
        Change **at = change_find(publish, object), *change = *at;

        if (!change)
                return;
        *at = change->next_same;
        change->object = NULL;
}

/* --- the observer -------------------------------------------------------------------------------------------- */

static void on_setup_added(void *userdata, Setup *setup)
{
        Signal signal = setup_signal(userdata, setup);

        send_interfaces(&signal, true, setup_uid(setup));
}

static void on_setup_changed(void *userdata, Setup *setup, unsigned what)
{
        change_note(userdata, setup, false, what);
}

static void on_setup_step(void *userdata, Setup *setup, StepId step)
{
        Signal signal = setup_signal(userdata, setup);

        signal.step = step;
        send_own(&signal, "StepChanged", fill_step_changed, setup_uid(setup));
        change_note(userdata, setup, false, SETUP_CHANGED_STEPS);
}

static void on_setup_removed(void *userdata, Setup *setup)
{
        Publish *publish = userdata;
        Signal signal = setup_signal(publish, setup);

        change_forget(publish, setup);
        waits_gone(publish->bus->waits, signal.path);
        send_interfaces(&signal, false, setup_uid(setup));
}

static void on_account_added(void *userdata, Account *account)
{
        Signal signal = account_signal(userdata, account);

        send_interfaces(&signal, true, account_owner(account));
}

static void on_account_changed(void *userdata, Account *account, unsigned what)
{
        change_note(userdata, account, true, what);
}

static void on_account_removed(void *userdata, Account *account)
{
        Publish *publish = userdata;
        Signal signal = account_signal(publish, account);

        change_forget(publish, account);
        waits_gone(publish->bus->waits, signal.path);
        send_interfaces(&signal, false, account_owner(account));
}

static void on_run_finished(void *userdata, Account *account, const RunRecord *run)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        Signal signal = account_signal(userdata, account);
        int r = dict ? run_to_dict(run, dict) : -ENOMEM;

        if (r < 0) {
                (void) log_fault(r, "cannot tell of a run");
                return;
        }
        signal.dict = dict;
        change_tell_now(userdata, account);
        send_own(&signal, "RunFinished", fill_run_finished, account_owner(account));
}

static void on_mail_arrived(void *userdata, Account *account, uint64_t messages, uint64_t bytes)
{
        Signal signal = account_signal(userdata, account);

        signal.messages = messages;
        signal.bytes = bytes;
        change_tell_now(userdata, account);
        send_own(&signal, "MailArrived", fill_mail_arrived, account_owner(account));
}

void publish_observer(Publish *publish, Observer *ret)
{
        *ret = (Observer){
                .setup_added = on_setup_added,
                .setup_changed = on_setup_changed,
                .setup_step = on_setup_step,
                .setup_removed = on_setup_removed,
                .account_added = on_account_added,
                .account_changed = on_account_changed,
                .account_removed = on_account_removed,
                .run_finished = on_run_finished,
                .mail_arrived = on_mail_arrived,
                .userdata = publish,
        };
}

Publish *publish_free(Publish *publish)
{
        if (!publish)
                return NULL;
        while (publish->first) {
                Change *change = publish->first;

                publish->first = change->next;
                free(change);
        }
        sd_event_source_disable_unref(publish->flush);
        free(publish);
        return NULL;
}

int publish_new(Publish **ret, Bus *bus)
{
        _cleanup_(publish_freep) Publish *publish = calloc(1, sizeof(*publish));
        int r;

        if (!publish)
                return -ENOMEM;
        publish->bus = bus;
        r = sd_event_add_defer(loop_event(loop_current()), &publish->flush, on_flush, publish);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(publish->flush, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE(publish);
        return 0;
}
