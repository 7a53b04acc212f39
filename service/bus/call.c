/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See call.h. A fiber cannot free itself: the ended ones are taken away by a deferred source. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/call.h"
#include "bus/errors.h"

struct Calls {
        Bus *bus;
        Call *first;
        sd_event_source *reap;
};

static Call *call_free(Call *call)
{
        if (!call)
                return NULL;
        fiber_cancel(call->fiber);
        sd_bus_message_unref(call->message);
        free(call);
        return NULL;
}
DEFINE_CLEANUP(Call, call_free);

static int on_reap(sd_event_source *source, void *userdata)
{
        Calls *calls = userdata;
        Call **at = &calls->first;

        while (*at) {
                Call *call = *at;

                if (fiber_ended(call->fiber)) {
                        *at = call->next;
                        call_free(call);
                } else
                        at = &call->next;
        }
        return 0;
}

static int call_run(void *arg)
{
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        Call *call = arg;
        int r;

        r = call->answer(call, &error);
        if (r < 0) {
                if (!sd_bus_error_is_set(&error))
                        (void) error_fault(&error, r, "answering a call");
                r = sd_bus_reply_method_error(call->message, &error);
        }
        if (r < 0 && r != -ENOTCONN)
                (void) log_fault(r, "cannot answer a call");
        (void) sd_event_source_set_enabled(call->bus->calls->reap, SD_EVENT_ONESHOT);
        return 0;
}

static unsigned calls_count(const Calls *calls, uid_t uid)
{
        unsigned n = 0;

        for (const Call *c = calls->first; c; c = c->next)
                n += c->uid == uid;
        return n;
}

unsigned calls_asking(const Calls *calls, const Call *call)
{
        unsigned n = 0;

        for (const Call *c = calls->first; c; c = c->next)
                n += c != call && c->uid == call->uid && c->leaves_with_caller;
        return n;
}

/* A cancelled fiber runs to its end in here, and the list may be another one afterwards: from its head again. */
void calls_left(Calls *calls, const char *name)
{
        Call **at = &calls->first;

        while (*at) {
                Call *call = *at;

                if (call->leaves_with_caller &&
                    text_equal(sd_bus_message_get_sender(call->message), name)) {
                        *at = call->next;
                        call_free(call);
                        at = &calls->first;
                } else
                        at = &call->next;
        }
}

int call_start(sd_bus_message *m, int (*answer)(Call *call, sd_bus_error *error),
               sd_bus_error *error)
{
        _cleanup_(call_freep) Call *call = calloc(1, sizeof(*call));
        Bus *bus = bus_of(m);
        int r;

        if (!call)
                return error_fault(error, -ENOMEM, "a call");
        r = bus_caller(bus, m, &call->uid, error);
        if (r < 0)
                return r;
        if (calls_count(bus->calls, call->uid) >= LIMIT_WAITS_PER_UID)
                return error_set(error, TROUBLE_QUOTA, "Calls are under way.");
        call->bus = bus;
        call->answer = answer;
        call->message = sd_bus_message_ref(m);
        (void) snprintf(call->id, sizeof(call->id), "%s",
                        strrchr(sd_bus_message_get_path(m), '/') + 1);
        r = sd_bus_message_rewind(m, true);
        if (r >= 0)
                r = fiber_start(&call->fiber, "call", call_run, call);
        if (r < 0)
                return error_fault(error, r, "a call");
        call->next = bus->calls->first;
        bus->calls->first = TAKE(call);
        return 1;
}

int call_gone(const Call *call, sd_bus_error *error)
{
        return error_set(error, TROUBLE_UNKNOWN_OBJECT, sd_bus_message_get_path(call->message));
}

Calls *calls_free(Calls *calls)
{
        if (!calls)
                return NULL;
        while (calls->first) {
                Call *call = calls->first;

                calls->first = call->next;
                call_free(call);
        }
        sd_event_source_disable_unref(calls->reap);
        free(calls);
        return NULL;
}

int calls_new(Calls **ret, Bus *bus)
{
        _cleanup_(calls_freep) Calls *calls = calloc(1, sizeof(*calls));
        int r;

        if (!calls)
                return -ENOMEM;
        calls->bus = bus;
        r = sd_event_add_defer(loop_event(loop_current()), &calls->reap, on_reap, calls);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(calls->reap, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE(calls);
        return 0;
}
