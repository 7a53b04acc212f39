/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Calls that take a while: each is answered from a fiber of its own, owned here. The object may vanish while such a fiber waits, so
 * it is named by its id and looked up anew. */
#pragma once

#include "base/fiber.h"
#include "bus/bus.h"
#include "core/record.h"

typedef struct Call {
        Bus *bus;
        sd_bus_message *message; /* rewound to its first argument */
        char id[ID_SIZE];        /* of the object that was called */
        /* While it is set the fiber is cancelled when the caller leaves the bus. Not where it changes something: what was begun
         * for somebody is done to its end. */
        bool leaves_with_caller;
        /* private */
        struct Call *next;
        int (*answer)(struct Call *call, sd_bus_error *error);
        Fiber *fiber;
        uid_t uid;
} Call;

int calls_new(Calls **ret, Bus *bus);
/* Cancels those that still work. */
Calls *calls_free(Calls *calls);
DEFINE_CLEANUP(Calls, calls_free);

/* Runs @answer on a fiber. It replies to call->message and returns what that returned, or fills @error and returns a negative errno.
 * A handler returns what this returns: 1, or negative with @error filled (too many calls under way). */
int call_start(sd_bus_message *m, int (*answer)(Call *call, sd_bus_error *error),
               sd_bus_error *error);
/* How many other calls of the same uid wait for somebody who may never answer: for as long as their callers stay. */
unsigned calls_asking(const Calls *calls, const Call *call);
/* The connection @name has left: ends the calls that are of no use to anybody else. */
void calls_left(Calls *calls, const char *name);
/* @error for an object that has gone since. */
int call_gone(const Call *call, sd_bus_error *error);
