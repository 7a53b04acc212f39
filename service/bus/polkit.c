/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See polkit.h. The subject is the caller's unique bus name: polkit asks the bus whose it is, and such a name is never given to
 * somebody else, unlike a process id. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "bus/errors.h"
#include "bus/polkit.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

enum { POLKIT_INTERACTIVE = 1 }; /* its flag AllowUserInteraction */

/* On the heap: sd-bus holds on to it. */
typedef struct Question {
        sd_bus_slot *slot;
        sd_bus_message *answer;
        FiberQueue asker;
        char id[32]; /* polkit's handle to cancel it by */
} Question;

static Question *question_free(Question *question)
{
        if (!question)
                return NULL;
        sd_bus_slot_unref(question->slot);
        sd_bus_message_unref(question->answer);
        free(question);
        return NULL;
}
DEFINE_CLEANUP(Question, question_free);

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
        Question *question = userdata;

        question->answer = sd_bus_message_ref(m);
        fiber_queue_wake_all(&question->asker);
        return 0;
}

static int append_details(sd_bus_message *m, const char *const *details)
{
        int r = sd_bus_message_open_container(m, 'a', "{ss}");

        for (; r >= 0 && details && details[0]; details += 2)
                r = sd_bus_message_append(m, "{ss}", details[0], details[1]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static bool call_is_interactive(const Call *call)
{
        return sd_bus_message_get_allow_interactive_authorization(call->message) > 0;
}

static int question_send(Question *question, Call *call, const char *action,
                         const char *const *details)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(call->bus->sd, &m, POLKIT_NAME, POLKIT_PATH,
                                           POLKIT_INTERFACE, "CheckAuthorization");
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "(sa{sv})s", "system-bus-name", 1, "name", "s",
                                  sd_bus_message_get_sender(call->message), action);
        if (r < 0)
                return r;
        r = append_details(m, details);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "us", call_is_interactive(call) ? POLKIT_INTERACTIVE : 0,
                                  question->id);
        if (r < 0)
                return r;
        /* Our own deadline counts: people type. */
        return sd_bus_call_async(call->bus->sd, &question->slot, m, on_answer, question,
                                 UINT64_MAX);
}

/* So that no password is asked for on behalf of somebody who has left. */
static void question_cancel(const Question *question, sd_bus *bus)
{
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                           "CancelCheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", question->id);
        if (r >= 0)
                r = sd_bus_message_set_expect_reply(m, false);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_send(bus, m, NULL);
        if (r < 0 && r != -ENOTCONN)
                (void) log_fault(r, "cannot take back a question to polkit");
}

static int question_wait(Question *question, Call *call)
{
        int r = 0;

        FIBER_DEADLINE(call_is_interactive(call) ? LIMIT_POLKIT_PERSON_USEC : LIMIT_POLKIT_USEC);
        call->leaves_with_caller = true;
        while (r == 0 && !question->answer)
                r = fiber_queue_wait(&question->asker);
        call->leaves_with_caller = false;
        if (r < 0)
                question_cancel(question, call->bus->sd);
        return r;
}

/* A challenge that is left after somebody might have been asked: there was nobody. */
static int answer_read(sd_bus_message *answer, const char *action, bool interactive,
                       sd_bus_error *error)
{
        const sd_bus_error *e = sd_bus_message_get_error(answer);
        int allowed, challenge, r;

        if (e) {
                log_debug("polkit does not judge %s: %s: %s", action, e->name, e->message ?: "");
                return error_set(error, TROUBLE_DENIED,
                                 "polkit is not there, or does not know the action: only root "
                                 "may.");
        }
        r = sd_bus_message_enter_container(answer, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(answer, "bb", &allowed, &challenge);
        if (r < 0)
                return error_fault(error, r, "reading polkit's answer");
        if (allowed)
                return 0;
        return error_set(error, challenge && !interactive ? TROUBLE_INTERACTION : TROUBLE_DENIED,
                         NULL);
}

int polkit_ask(Call *call, const char *action, const char *const *details, sd_bus_error *error)
{
        _cleanup_(question_freep) Question *question = NULL;
        int r;

        if (calls_asking(call->bus->calls, call) >= LIMIT_POLKIT_PER_UID)
                return error_set(error, TROUBLE_QUOTA, "Questions to polkit are pending.");
        question = calloc(1, sizeof(*question));
        if (!question)
                return error_fault(error, -ENOMEM, "asking polkit");
        (void) snprintf(question->id, sizeof(question->id), "waypost-%" PRIu64,
                        ++call->bus->n_questions);
        r = question_send(question, call, action, details);
        if (r < 0)
                return error_fault(error, r, "asking polkit");
        r = question_wait(question, call);
        if (r == -ETIME)
                return error_set(error, TROUBLE_DENIED, "polkit did not answer in time.");
        if (r < 0)
                return error_fault(error, r, "asking polkit");
        return answer_read(question->answer, action, call_is_interactive(call), error);
}
