/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See bus.h. The order of things at the start matters: the name comes only when everything is offered, and core starts only when
 * the name is ours, so that a second service never touches the first one's accounts. */
#include <string.h>

#include "base/fiber.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/bus.h"
#include "bus/call.h"
#include "bus/callers.h"
#include "bus/errors.h"
#include "bus/objects.h"
#include "bus/publish.h"
#include "bus/wait.h"
#include "core/setup.h"
#include "dbus/names.h"

Bus *bus_of(sd_bus_message *m)
{
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(sd_bus_message_get_bus(m)));
}

int bus_caller(Bus *bus, sd_bus_message *m, uid_t *ret, sd_bus_error *error)
{
        if (!callers_uid(bus->callers, sd_bus_message_get_sender(m), ret))
                return error_set(error, TROUBLE_CALLER, NULL);
        return 0;
}

static void on_came(void *userdata, uid_t uid)
{
        Bus *bus = userdata;

        core_check_owner(bus->core, uid);
}

/* A setup needs the one who began it, unless it was told otherwise. */
static void on_left(void *userdata, const char *name)
{
        Bus *bus = userdata;
        Setup *setup;

        waits_left(bus->waits, name);
        calls_left(bus->calls, name);
        for (size_t i = 0; (setup = core_setup_at(bus->core, i)); i++)
                if (!setup_detached(setup) && text_equal(setup_creator(setup), name)) {
                        int r = setup_cancel(setup);

                        if (r < 0)
                                (void) log_fault(r, "cannot end a setup");
                }
}

static int on_name(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Bus *bus = userdata;
        sd_event *event = sd_bus_get_event(bus->sd);
        uint32_t answer = 0;
        int r;

        r = sd_bus_message_is_method_error(m, NULL) ? -EACCES
                                                    : sd_bus_message_read(m, "u", &answer);
        if (r < 0 || answer != 1) { /* DBUS_REQUEST_NAME_REPLY_PRIMARY_OWNER */
                const sd_bus_error *e = sd_bus_message_get_error(m);

                log_error("cannot have the name %s: %s", BUS_NAME,
                          e && e->message ? e->message : "another service has it");
                return sd_event_exit(event, EXIT_FAILURE);
        }
        r = bus->ready(bus->userdata);
        return r < 0 ? sd_event_exit(event, EXIT_FAILURE) : 0;
}

static int bus_offer(Bus *bus)
{
        sd_bus_slot **slot = bus->objects;
        int r;

        r = sd_bus_add_object_manager(bus->sd, slot++, PATH_ROOT);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus->sd, slot++, PATH_ROOT, INTERFACE_MANAGER,
                                             manager_vtable, bus);
        if (r >= 0)
                r = sd_bus_add_fallback_vtable(bus->sd, slot++, PATH_SETUP, INTERFACE_SETUP,
                                               setup_vtable, setup_find, bus);
        if (r >= 0)
                r = sd_bus_add_fallback_vtable(bus->sd, slot++, PATH_ACCOUNT, INTERFACE_ACCOUNT,
                                               account_vtable, account_find, bus);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus->sd, slot++, PATH_SETUP, setup_enumerate, bus);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus->sd, slot++, PATH_ACCOUNT, account_enumerate,
                                               bus);
        return r;
}

static int bus_connect(Bus *bus, bool user)
{
        int r;

        r = user ? sd_bus_open_user_with_description(&bus->sd, "user")
                 : sd_bus_open_system_with_description(&bus->sd, "system");
        if (r < 0)
                return log_fault(r, "cannot connect to the bus");
        r = sd_bus_attach_event(bus->sd, loop_event(loop_current()), SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        return sd_bus_set_exit_on_disconnect(bus->sd, true);
}

int bus_new(Bus **ret, Core *core, bool user, int (*ready)(void *userdata), void *userdata)
{
        _cleanup_(bus_freep) Bus *bus = calloc(1, sizeof(*bus));
        int r;

        if (!bus)
                return -ENOMEM;
        bus->core = core;
        bus->ready = ready;
        bus->userdata = userdata;
        r = bus_connect(bus, user);
        if (r < 0)
                return r;
        r = calls_new(&bus->calls, bus);
        if (r >= 0)
                r = waits_new(&bus->waits, bus);
        if (r >= 0)
                r = publish_new(&bus->publish, bus);
        if (r >= 0)
                r = callers_new(&bus->callers, bus->sd, on_came, on_left, bus);
        if (r >= 0)
                r = bus_offer(bus);
        if (r >= 0)
                r = sd_bus_request_name_async(bus->sd, &bus->name, BUS_NAME, 0, on_name, bus);
        if (r < 0)
                return log_fault(r, "cannot offer the service on the bus");
        *ret = TAKE(bus);
        return 0;
}

void bus_observer(Bus *bus, Observer *ret)
{
        publish_observer(bus->publish, ret);
}

void bus_stop(Bus *bus)
{
        for (size_t i = 0; i < ELEMENTS(bus->objects); i++)
                bus->objects[i] = sd_bus_slot_unref(bus->objects[i]);
        bus->calls = calls_free(bus->calls);
}

Bus *bus_free(Bus *bus)
{
        if (!bus)
                return NULL;
        bus_stop(bus);
        sd_bus_slot_unref(bus->name);
        publish_free(bus->publish);
        waits_free(bus->waits);
        callers_free(bus->callers);
        sd_bus_flush_close_unref(bus->sd);
        free(bus);
        return NULL;
}
