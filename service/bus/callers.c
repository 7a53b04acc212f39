/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See callers.h. The surprising thing: held messages go back into sd-bus's own read queue, one at a time, each after the one
 * before it has passed the filter; put back all at once they could be overtaken by messages that wait there already. */
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/callers.h"
#include "bus/errors.h"

/* A connection may have this many calls waiting for the answer to who it is; it comes within a millisecond. */
enum { HELD_MAX = 64 };

/* Those of a user's connections that are too many wait this long for their refusal: as fast as they are refused they would come again, and
 * the bus would have no time for anybody else. */
#define SURPLUS_WAIT_USEC (250 * USEC_PER_MSEC)

typedef struct Held {
        struct Held *next;
        sd_bus_message *message;
} Held;

typedef struct Caller {
        struct Caller *next;
        Callers *callers;
        char *name;
        uid_t uid;
        bool known, surplus, sees_all;
        sd_bus_slot *query;
        Held *first, *last;
        unsigned n_held;
} Caller;

struct Callers {
        sd_bus *bus; /* borrowed: the slots end before it does */
        sd_bus_slot *filter, *match;
        sd_event_source *refusal; /* of what the surplus ones hold */
        Caller *first;
        CallersCame came;
        CallersLeft left;
        void *userdata;
};

static Caller *callers_find(const Callers *callers, const char *name)
{
        for (Caller *c = callers->first; c && name; c = c->next)
                if (strcmp(c->name, name) == 0)
                        return c;
        return NULL;
}

static unsigned callers_count(const Callers *callers, uid_t uid)
{
        unsigned n = 0;

        for (const Caller *c = callers->first; c; c = c->next)
                n += c->known && c->uid == uid;
        return n;
}

/* --- held messages ---------------------------------------------------------------------------------------- */

static int caller_hold(Caller *caller, sd_bus_message *m)
{
        Held *held;

        if (caller->n_held >= HELD_MAX)
                return -ENOBUFS;
        held = calloc(1, sizeof(*held));
        if (!held)
                return -ENOMEM;
        held->message = sd_bus_message_ref(m);
        if (caller->last)
                caller->last->next = held;
        else
                caller->first = held;
        caller->last = held;
        caller->n_held++;
        return 0;
}

static void caller_drop_first(Caller *caller)
{
        Held *held = caller->first;

        caller->first = held->next;
        if (!caller->first)
                caller->last = NULL;
        caller->n_held--;
        sd_bus_message_unref(held->message);
        free(held);
}

/* What is never dispatched is never marked by a vtable: it may hold a password all the same. */
static void message_refuse(sd_bus_message *m, Trouble trouble)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        (void) sd_bus_message_sensitive(m);
        (void) error_set(&error, trouble, NULL);
        (void) sd_bus_reply_method_error(m, &error);
}

static Caller *caller_free(Caller *caller)
{
        if (!caller)
                return NULL;
        while (caller->first) {
                (void) sd_bus_message_sensitive(caller->first->message);
                caller_drop_first(caller);
        }
        sd_bus_slot_unref(caller->query);
        free(caller->name);
        free(caller);
        return NULL;
}
DEFINE_CLEANUP(Caller, caller_free);

static void callers_remove(Callers *callers, Caller *caller)
{
        Caller **at = &callers->first;

        while (*at != caller)
                at = &(*at)->next;
        *at = caller->next;
        caller_free(caller);
}

static void caller_refuse_held(Caller *caller, Trouble trouble)
{
        while (caller->first) {
                message_refuse(caller->first->message, trouble);
                caller_drop_first(caller);
        }
}

static void callers_refuse(Callers *callers, Caller *caller, Trouble trouble)
{
        caller_refuse_held(caller, trouble);
        callers_remove(callers, caller);
}

/* --- too many connections ----------------------------------------------------------------------------------- */

static int on_refusal(sd_event_source *source, uint64_t usec, void *userdata)
{
        Callers *callers = userdata;

        for (Caller *c = callers->first; c; c = c->next)
                if (c->surplus)
                        caller_refuse_held(c, TROUBLE_QUOTA);
        return 0;
}

static int callers_refuse_soon(Callers *callers)
{
        int enabled, r;

        r = sd_event_source_get_enabled(callers->refusal, &enabled);
        if (r < 0 || enabled != SD_EVENT_OFF)
                return r;
        r = sd_event_source_set_time_relative(callers->refusal, SURPLUS_WAIT_USEC);
        return r < 0 ? r : sd_event_source_set_enabled(callers->refusal, SD_EVENT_ONESHOT);
}

/* Quotas keep users from one another; root needs no connection to do harm. */
static bool callers_room(const Callers *callers, uid_t uid)
{
        return uid == 0 || callers_count(callers, uid) < LIMIT_WATCHERS_PER_UID;
}

static void caller_welcome(Callers *callers, Caller *caller)
{
        caller->surplus = false;
        caller->known = true;
        callers->came(callers->userdata, caller->uid);
}

/* Is there a place for it by now? */
static bool caller_admit(Callers *callers, Caller *caller)
{
        if (!caller->surplus || !callers_room(callers, caller->uid))
                return false;
        caller_refuse_held(caller, TROUBLE_QUOTA);
        caller_welcome(callers, caller);
        return true;
}

/* --- who is it? ------------------------------------------------------------------------------------------- */

static int on_uid(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Caller *caller = userdata;
        Callers *callers = caller->callers;
        uint32_t uid;
        int r;

        caller->query = sd_bus_slot_unref(caller->query);
        r = sd_bus_message_is_method_error(m, NULL) ? -EACCES : sd_bus_message_read(m, "u", &uid);
        if (r < 0 || uid == (uid_t) -1) {
                log_debug("%s: the bus does not tell its uid", caller->name);
                callers_refuse(callers, caller, TROUBLE_CALLER);
                return 0;
        }
        caller->uid = uid;
        if (!callers_room(callers, uid)) {
                caller->surplus = true;
                if (callers_refuse_soon(callers) < 0)
                        callers_refuse(callers, caller, TROUBLE_QUOTA);
                return 0;
        }
        caller_welcome(callers, caller);
        if (sd_bus_enqueue_for_read(callers->bus, caller->first->message) < 0)
                callers_refuse(callers, caller, TROUBLE_CALLER);
        return 0;
}

static int callers_ask(Callers *callers, sd_bus_message *m)
{
        _cleanup_(caller_freep) Caller *caller = calloc(1, sizeof(*caller));
        int r;

        if (!caller)
                return -ENOMEM;
        caller->callers = callers;
        caller->name = strdup(sd_bus_message_get_sender(m));
        if (!caller->name)
                return -ENOMEM;
        r = sd_bus_call_method_async(callers->bus, &caller->query, "org.freedesktop.DBus",
                                     "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                     "GetConnectionUnixUser", on_uid, caller, "s", caller->name);
        if (r < 0)
                return r;
        r = caller_hold(caller, m);
        if (r < 0)
                return r;
        caller->next = callers->first;
        callers->first = TAKE(caller);
        return 0;
}

/* The head of the held ones has come round again: the next one may follow it. */
static int caller_pass(Callers *callers, Caller *caller)
{
        caller_drop_first(caller);
        if (caller->first && sd_bus_enqueue_for_read(callers->bus, caller->first->message) < 0)
                callers_refuse(callers, caller, TROUBLE_CALLER);
        return 0;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Callers *callers = userdata;
        Caller *caller;
        uint8_t type;
        int r;

        if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
                return 0;
        if (text_equal(sd_bus_message_get_interface(m), "org.freedesktop.DBus.Peer"))
                return 0;
        if (!sd_bus_message_get_sender(m)) {
                message_refuse(m, TROUBLE_CALLER);
                return 1;
        }
        caller = callers_find(callers, sd_bus_message_get_sender(m));
        if (caller && caller->known && !caller->first)
                return 0;
        if (caller && caller->known && caller->first->message == m)
                return caller_pass(callers, caller);
        if (caller && caller_admit(callers, caller))
                return 0;
        r = caller ? caller_hold(caller, m) : callers_ask(callers, m);
        if (r == 0 && caller && caller->surplus)
                r = callers_refuse_soon(callers);
        if (r < 0)
                message_refuse(m, r == -ENOBUFS ? TROUBLE_QUOTA : TROUBLE_CALLER);
        return 1;
}

/* --- who has left? ---------------------------------------------------------------------------------------- */

static int on_left(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Callers *callers = userdata;
        const char *name, *old, *new;
        Caller *caller;

        if (sd_bus_message_read(m, "sss", &name, &old, &new) < 0 || *new)
                return 0;
        caller = callers_find(callers, name);
        if (!caller)
                return 0;
        callers_remove(callers, caller);
        callers->left(callers->userdata, name);
        return 0;
}

static int on_match(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Callers *callers = userdata;

        if (!sd_bus_message_is_method_error(m, NULL))
                return 0;
        /* Without it a name could be given to somebody else unnoticed: never, but then we do not run. */
        log_error("the bus does not tell who leaves: %s", sd_bus_message_get_error(m)->message);
        return sd_event_exit(sd_bus_get_event(callers->bus), EXIT_FAILURE);
}

Callers *callers_free(Callers *callers)
{
        if (!callers)
                return NULL;
        sd_bus_slot_unref(callers->filter);
        sd_bus_slot_unref(callers->match);
        sd_event_source_disable_unref(callers->refusal);
        while (callers->first)
                callers_remove(callers, callers->first);
        free(callers);
        return NULL;
}

int callers_new(Callers **ret, sd_bus *bus, CallersCame came, CallersLeft left, void *userdata)
{
        _cleanup_(callers_freep) Callers *callers = calloc(1, sizeof(*callers));
        int r;

        if (!callers)
                return -ENOMEM;
        callers->bus = bus;
        callers->came = came;
        callers->left = left;
        callers->userdata = userdata;
        r = sd_event_add_time_relative(sd_bus_get_event(bus), &callers->refusal, CLOCK_BOOTTIME, 0,
                                       10 * USEC_PER_MSEC, on_refusal, callers);
        if (r >= 0)
                r = sd_event_source_set_enabled(callers->refusal, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_bus_add_filter(bus, &callers->filter, on_message, callers);
        if (r < 0)
                return r;
        /* One match for everybody who leaves: one for each caller would meet the bus's ceiling of matches. */
        r = sd_bus_add_match_async(bus, &callers->match,
                                   "type='signal',sender='org.freedesktop.DBus',"
                                   "path='/org/freedesktop/DBus',"
                                   "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                   "arg2=''",
                                   on_left, on_match, callers);
        if (r < 0)
                return r;
        *ret = TAKE(callers);
        return 0;
}

/* --- questions -------------------------------------------------------------------------------------------- */

bool callers_uid(const Callers *callers, const char *name, uid_t *ret)
{
        const Caller *caller = callers_find(callers, name);

        if (!caller || !caller->known)
                return false;
        *ret = caller->uid;
        return true;
}

static bool caller_may_see(const Caller *caller, uid_t owner)
{
        return caller->known && (caller->uid == 0 || caller->uid == owner || caller->sees_all);
}

bool callers_may_see(const Callers *callers, const char *name, uid_t owner)
{
        const Caller *caller = callers_find(callers, name);

        return caller && caller_may_see(caller, owner);
}

bool callers_see_all(const Callers *callers, const char *name)
{
        const Caller *caller = callers_find(callers, name);

        return caller && caller->known && (caller->uid == 0 || caller->sees_all);
}

bool callers_grant(Callers *callers, const char *name)
{
        Caller *caller = callers_find(callers, name);

        if (!caller || !caller->known || caller->sees_all)
                return false;
        caller->sees_all = true;
        return true;
}

void callers_each_watcher(const Callers *callers, uid_t owner,
                          void (*each)(void *userdata, const char *name), void *userdata)
{
        for (const Caller *c = callers->first; c; c = c->next)
                if (caller_may_see(c, owner))
                        each(userdata, c->name);
}
