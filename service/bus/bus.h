/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The connection and what hangs on it. The files of this floor share the struct; main.c makes and ends it. */
#pragma once

#include <systemd/sd-bus.h>

#include "core/core.h"

typedef struct Callers Callers;
typedef struct Calls Calls;
typedef struct Publish Publish;
typedef struct Waits Waits;

typedef struct Bus {
        sd_bus *sd;
        Core *core; /* borrowed */
        Callers *callers;
        Publish *publish;
        Waits *waits;
        Calls *calls;
        sd_bus_slot *objects[8]; /* vtables, enumerators, object manager; ends with NULL */
        sd_bus_slot *name;
        uint64_t n_questions; /* put to polkit so far */
        int (*ready)(void *userdata);
        void *userdata;
} Bus;

/* Connects to the system bus, or to the user's own one, offers the objects of @core (borrowed) and asks for the name. Once the
 * name is ours, @ready is called from the loop; it starts @core with bus_observer(). When the connection or the name is lost, the
 * loop ends with a failure. Returns 0, -ENOMEM, what sd-bus says. */
int bus_new(Bus **ret, Core *core, bool user, int (*ready)(void *userdata), void *userdata);
void bus_observer(Bus *bus, Observer *ret);
/* Ends the calls that still work; before core_free(). From then on nobody is answered. */
void bus_stop(Bus *bus);
/* After core_free(): core may tell of its end. */
Bus *bus_free(Bus *bus);
DEFINE_CLEANUP(Bus, bus_free);

/* The bus of the message that is being dispatched to one of our vtables. */
Bus *bus_of(sd_bus_message *m);
/* The uid of the sender of @m. Returns 0, or a negative errno with @error filled. */
int bus_caller(Bus *bus, sd_bus_message *m, uid_t *ret, sd_bus_error *error);

/* One interface per file. */
extern const sd_bus_vtable manager_vtable[], setup_vtable[], account_vtable[];
