/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every signal that leaves the service: built here and sent to the watchers that may see the object, one by one. Nothing else calls an
 * emit function of sd-bus: those broadcast. Changes of properties are gathered and told once per turn of the loop. */
#pragma once

#include "bus/bus.h"

int publish_new(Publish **ret, Bus *bus);
Publish *publish_free(Publish *publish);
DEFINE_CLEANUP(Publish, publish_free);

/* Tells the connection @name, which sees everything from now on, of all that is @uid's not: an object manager of its library then knows
 * as much as if it had asked anew. */
void publish_introduce(Publish *publish, const char *name, uid_t uid);
/* The observer that does it. */
void publish_observer(Publish *publish, Observer *ret);
