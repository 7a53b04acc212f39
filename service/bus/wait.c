/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See wait.h. No fiber: a pending wait is a message and a timer. */
#include <string.h>

#include "base/clock.h"
#include "base/fiber.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/text.h"
#include "bus/errors.h"
#include "bus/objects.h"
#include "bus/variant.h"
#include "bus/wait.h"

typedef struct Wait {
        struct Wait *next;
        Waits *waits;
        sd_bus_message *message;
        const char *known; /* in the message */
        sd_event_source *timer;
        uid_t uid;
} Wait;

struct Waits {
        Bus *bus;
        Wait *first;
};

static Wait *wait_free(Wait *wait)
{
        if (!wait)
                return NULL;
        sd_event_source_disable_unref(wait->timer);
        sd_bus_message_unref(wait->message);
        free(wait);
        return NULL;
}
DEFINE_CLEANUP(Wait, wait_free);

static void wait_remove(Wait *wait)
{
        Wait **at = &wait->waits->first;

        while (*at != wait)
                at = &(*at)->next;
        *at = wait->next;
        wait_free(wait);
}

/* With the state as it is; without one the object is unknown by now. */
static void wait_answer(Wait *wait)
{
        const char *path = sd_bus_message_get_path(wait->message);
        const char *state = object_state(wait->waits->bus->core, path);
        int r;

        if (state)
                r = sd_bus_reply_method_return(wait->message, "s", state);
        else
                r = sd_bus_reply_method_errorf(wait->message, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                               "Unknown object '%s'.", path);
        if (r < 0)
                log_debug("cannot answer a wait: %s", strerrordesc_np(-r));
        wait_remove(wait);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        wait_answer(userdata);
        return 0;
}

static int wait_set_timer(Wait *wait, uint64_t timeout_usec)
{
        uint64_t now = clock_now();

        if (timeout_usec >= USEC_INFINITY - now)
                return 0;
        return sd_event_add_time(loop_event(loop_current()), &wait->timer, CLOCK_BOOTTIME,
                                 now + timeout_usec, 10 * USEC_PER_MSEC, on_timer, wait);
}

static unsigned waits_count(const Waits *waits, uid_t uid)
{
        unsigned n = 0;

        for (const Wait *w = waits->first; w; w = w->next)
                n += w->uid == uid;
        return n;
}

static int wait_start(Waits *waits, sd_bus_message *m, const char *known, uint64_t timeout_usec,
                      uid_t uid)
{
        _cleanup_(wait_freep) Wait *wait = calloc(1, sizeof(*wait));
        int r;

        if (!wait)
                return -ENOMEM;
        wait->waits = waits;
        wait->message = sd_bus_message_ref(m);
        wait->known = known;
        wait->uid = uid;
        r = wait_set_timer(wait, timeout_usec);
        if (r < 0)
                return r;
        wait->next = waits->first;
        waits->first = TAKE(wait);
        return 1;
}

int wait_method(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
        Bus *bus = bus_of(m);
        const char *known, *state = object_state(bus->core, sd_bus_message_get_path(m));
        uint64_t timeout_usec;
        uid_t uid;
        int r;

        r = variant_read_text(m, "known_state", &known, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(m, 't', &timeout_usec);
        if (r < 0)
                return error_fault(error, r, "reading an argument");
        r = bus_caller(bus, m, &uid, error);
        if (r < 0)
                return r;
        if (!text_equal(known, state) || timeout_usec == 0 || !sd_bus_message_get_expect_reply(m))
                return sd_bus_reply_method_return(m, "s", state);
        if (waits_count(bus->waits, uid) >= LIMIT_WAITS_PER_UID)
                return error_set(error, TROUBLE_QUOTA, "Waits are pending.");
        r = wait_start(bus->waits, m, known, timeout_usec, uid);
        return r < 0 ? error_fault(error, r, "waiting") : r;
}

void waits_changed(Waits *waits, const char *path)
{
        const char *state = object_state(waits->bus->core, path);

        for (Wait *w = waits->first, *next; w; w = next) {
                next = w->next;
                if (text_equal(sd_bus_message_get_path(w->message), path) &&
                    !text_equal(w->known, state))
                        wait_answer(w);
        }
}

void waits_gone(Waits *waits, const char *path)
{
        for (Wait *w = waits->first, *next; w; w = next) {
                next = w->next;
                if (!text_equal(sd_bus_message_get_path(w->message), path))
                        continue;
                (void) sd_bus_reply_method_errorf(w->message, SD_BUS_ERROR_UNKNOWN_OBJECT,
                                                  "Unknown object '%s'.", path);
                wait_remove(w);
        }
}

void waits_left(Waits *waits, const char *name)
{
        for (Wait *w = waits->first, *next; w; w = next) {
                next = w->next;
                if (text_equal(sd_bus_message_get_sender(w->message), name))
                        wait_remove(w);
        }
}

Waits *waits_free(Waits *waits)
{
        if (!waits)
                return NULL;
        while (waits->first)
                wait_remove(waits->first);
        free(waits);
        return NULL;
}

int waits_new(Waits **ret, Bus *bus)
{
        Waits *waits = calloc(1, sizeof(*waits));

        if (!waits)
                return -ENOMEM;
        waits->bus = bus;
        *ret = waits;
        return 0;
}
