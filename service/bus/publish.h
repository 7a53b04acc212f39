/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every signal that leaves the service: built here and sent to the watchers that may see the object, one by one. Nothing else calls an
 * emit function of sd-bus: those broadcast. Changes of properties are gathered and told once per turn of the loop. */
#pragma once

#include "bus/bus.h"

int publish_new(Publish **ret, Bus *bus);
Publish *publish_free(Publish *publish);
DEFINE_CLEANUP(Publish, publish_free);

/* The observer that does it. */
void publish_observer(Publish *publish, Observer *ret);
