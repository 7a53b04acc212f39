/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a caller is told when a call is refused: the one place where our results become D-Bus errors. Each function fills @error and
 * returns the negative errno that an sd-bus handler returns with it. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/util.h"

typedef enum Trouble {
        TROUBLE_ADDRESS,
        TROUBLE_ARGUMENT, /* @detail names the argument or key and says what is wrong with it */
        TROUBLE_STATE,
        TROUBLE_EXISTS, /* @detail is the path of the other account, NULL when unknown */
        TROUBLE_STALE,
        TROUBLE_QUOTA, /* @detail says of what, may be NULL */
        TROUBLE_NOT_SUPPORTED,
        TROUBLE_NOT_FOUND,
        TROUBLE_SECRET_SPACES,
        TROUBLE_SECRET_SHAPE,
        TROUBLE_UNKNOWN_OBJECT, /* @detail is the path; the words are those of sd-bus itself */
        TROUBLE_CALLER,         /* the bus did not tell who calls */
        TROUBLE_DENIED,         /* polkit, or its absence, says no */
        TROUBLE_INTERACTION,    /* polkit would ask a person, but the caller did not allow that */
} Trouble;

/* @detail is printable or NULL. */
int error_set(sd_bus_error *error, Trouble trouble, const char *detail);
/* TROUBLE_ARGUMENT about the argument or key @name. */
int error_argument(sd_bus_error *error, const char *name, const char *what);
/* For our own faults: negative @fault is logged with @doing and told in general words. */
int error_fault(sd_bus_error *error, int fault, const char *doing);
/* For the results of core/setup.h (@result > 0: a SetupCondition) and core/account.h; negative results are faults. */
int error_from_setup(sd_bus_error *error, int result, const char *why);
int error_from_account(sd_bus_error *error, int result, const char *why);
