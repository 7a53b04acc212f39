/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See errors.h. Texts are for people who write clients; people who onboard see causes and their remedies instead. */
#include <string.h>

#include "base/log.h"
#include "bus/errors.h"
#include "core/account.h"
#include "core/setup.h"
#include "dbus/names.h"

static int error_say(sd_bus_error *error, const char *name, const char *sentence,
                     const char *detail)
{
        if (!detail || !*detail)
                return sd_bus_error_setf(error, name, "%s", sentence);
        return sd_bus_error_setf(error, name, "%s %s", sentence, detail);
}

int error_set(sd_bus_error *error, Trouble trouble, const char *detail)
{
        switch (trouble) {
        case TROUBLE_ADDRESS:
                return error_say(error, ERROR_INVALID_ADDRESS,
                                 "This is not a mail address that can be set up.", detail);
        case TROUBLE_ARGUMENT:
                return sd_bus_error_setf(error, ERROR_INVALID_ARGUMENT, "%s",
                                         detail ?: "An argument is not valid");
        case TROUBLE_STATE:
                return error_say(error, ERROR_INVALID_STATE,
                                 "This is not possible in the present state.", detail);
        case TROUBLE_EXISTS:
                return error_say(error, ERROR_ACCOUNT_EXISTS,
                                 detail ? "There is such an account already:"
                                        : "There is such an account already, of one who had this "
                                          "user number before.",
                                 detail);
        case TROUBLE_STALE:
                return error_say(error, ERROR_STALE, "The token is not that of what is shown now.",
                                 detail);
        case TROUBLE_QUOTA:
                return error_say(error, ERROR_QUOTA, "There are too many already.", detail);
        case TROUBLE_NOT_SUPPORTED:
                return error_say(error, ERROR_NOT_SUPPORTED, "This service does not support that.",
                                 detail);
        case TROUBLE_NOT_FOUND:
                return error_say(error, ERROR_NOT_FOUND, "There is no such thing.", detail);
        case TROUBLE_SECRET_SPACES:
                return error_say(error, ERROR_SECRET_SPACES,
                                 "There are blanks in this app password; given again it is taken "
                                 "as it is:",
                                 detail);
        case TROUBLE_SECRET_SHAPE:
                return error_say(error, ERROR_SECRET_SHAPE,
                                 "This does not look like an app password and was not sent; given "
                                 "again it is taken as it is:",
                                 detail);
        case TROUBLE_UNKNOWN_OBJECT:
                return sd_bus_error_setf(error, SD_BUS_ERROR_UNKNOWN_OBJECT, "Unknown object '%s'.",
                                         detail);
        case TROUBLE_CALLER:
                return error_say(error, SD_BUS_ERROR_ACCESS_DENIED,
                                 "The bus does not tell who is calling.", detail);
        case TROUBLE_DENIED:
                return error_say(error, SD_BUS_ERROR_ACCESS_DENIED, "This is not allowed.", detail);
        case TROUBLE_INTERACTION:
                return error_say(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                                 "Somebody has to authenticate, and the call does not allow to "
                                 "ask.",
                                 detail);
        }
        return sd_bus_error_set(error, ERROR_FAILED, NULL);
}

int error_argument(sd_bus_error *error, const char *name, const char *what)
{
        return sd_bus_error_setf(error, ERROR_INVALID_ARGUMENT, "'%s' %s", name, what);
}

int error_fault(sd_bus_error *error, int fault, const char *doing)
{
        if (fault == -ENOMEM)
                return sd_bus_error_set(error, SD_BUS_ERROR_NO_MEMORY, "Out of memory.");
        if (fault == -ECANCELED)
                return sd_bus_error_set(error, ERROR_FAILED, "The service is stopping.");
        (void) log_fault(fault, "%s", doing);
        return sd_bus_error_setf(error, ERROR_FAILED, "The service failed by itself (%s): %s.",
                                 doing, strerrordesc_np(-fault) ?: "unknown error");
}

static Trouble trouble_from_setup(SetupCondition condition)
{
        switch (condition) {
        case SETUP_INVALID_STATE:
                return TROUBLE_STATE;
        case SETUP_STALE:
                return TROUBLE_STALE;
        case SETUP_INVALID_KEY:
                return TROUBLE_ARGUMENT;
        case SETUP_INVALID_ADDRESS:
                return TROUBLE_ADDRESS;
        case SETUP_QUOTA:
                return TROUBLE_QUOTA;
        case SETUP_ACCOUNT_EXISTS:
                return TROUBLE_EXISTS;
        case SETUP_NOT_FOUND:
                return TROUBLE_NOT_FOUND;
        case SETUP_NOT_SUPPORTED:
                return TROUBLE_NOT_SUPPORTED;
        case SETUP_SECRET_SPACES:
                return TROUBLE_SECRET_SPACES;
        case SETUP_SECRET_SHAPE:
                return TROUBLE_SECRET_SHAPE;
        }
        return TROUBLE_ARGUMENT;
}

int error_from_setup(sd_bus_error *error, int result, const char *why)
{
        if (result < 0)
                return error_fault(error, result, "setup");
        return error_set(error, trouble_from_setup((SetupCondition) result), why);
}

int error_from_account(sd_bus_error *error, int result, const char *why)
{
        if (result < 0)
                return error_fault(error, result, "account");
        return error_set(error, result == ACCOUNT_INVALID_KEY ? TROUBLE_ARGUMENT : TROUBLE_STATE,
                         why);
}
