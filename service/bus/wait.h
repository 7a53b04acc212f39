/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Wait(known_state, timeout_usec) of setups and accounts: a call that is answered when the state is another one than the caller
 * knows, or with the state as it is when the time is over. */
#pragma once

#include "bus/bus.h"

int waits_new(Waits **ret, Bus *bus);
Waits *waits_free(Waits *waits);
DEFINE_CLEANUP(Waits, waits_free);

/* The handler of both interfaces. */
int wait_method(sd_bus_message *m, void *userdata, sd_bus_error *error);

/* The object at @path changed its state; it went; the connection @name left the bus. */
void waits_changed(Waits *waits, const char *path);
void waits_gone(Waits *waits, const char *path);
void waits_left(Waits *waits, const char *name);
