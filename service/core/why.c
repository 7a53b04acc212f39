/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "Why is no mail coming?", answered from what is known already: the account's state, its last runs, its messages, its provider, this
 * machine. Nobody is asked and nothing is sent, so that the answer is there at once; a Check() asks anew. One function for each line of
 * the list; the first that failed is the answer. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/fetch.h"
#include "dbus/names.h"
#include "probe/cause.h"
#include "wire/network.h"

enum { RUNS_SEEN = 50 };

#define ROOM_LEAST (16 * UINT64_C(1024) * 1024)

typedef enum Verdict { FINE, MAYBE, THIS } Verdict;

static const char *const verdicts[] = { "passed", "warned", "failed" };

/* What the last runs say together. */
typedef struct Past {
        uint64_t n_runs, n_well;         /* among the last RUNS_SEEN */
        RunRecord last;                  /* of all; the newest */
        uint64_t well_usec, well_listed; /* of the newest that went well */
        uint64_t mail_usec;              /* the newest that brought mail */
        uint64_t gone, renamed, locked;  /* over all of them */
        uint64_t skipped;                /* of the newest that went well */
} Past;

typedef struct Why {
        Account *account;
        Past past;
        uint64_t n_skipped; /* messages that are left alone */
        char *skipped_reason;
        bool found;  /* a check has failed */
        char *first; /* its cause; NULL for a choice of the user's */
        char *first_text;
        int (*each)(void *userdata, const Dict *check);
        void *userdata;
} Why;

/* --- evidence --- */

static int past_add(void *userdata, const RunRecord *run)
{
        Past *p = userdata;
        int r = 0;

        if (p->n_runs++ == 0) {
                p->last.started_usec = run->started_usec;
                p->last.ended_usec = run->ended_usec;
                r = text_set(&p->last.cause, run->cause);
                if (r == 0)
                        r = text_set(&p->last.text, run->text);
        }
        if (!run->cause && p->n_well++ == 0) {
                p->well_usec = run->ended_usec;
                p->well_listed = run->listed;
                p->skipped = run->skipped;
        }
        if (run->delivered > 0 && !p->mail_usec)
                p->mail_usec = run->ended_usec;
        p->gone += run->gone;
        p->renamed += run->duplicates;
        p->locked += text_equal(run->cause, "mailbox.locked");
        return r;
}

static int skipped_add(void *userdata, const MessageRecord *message)
{
        Why *w = userdata;

        if (message->state != MESSAGE_RESERVED || message->tries < FETCH_TRIES)
                return 0;
        w->n_skipped++;
        return text_set(&w->skipped_reason, message->reason);
}

/* --- one line of the answer --- */

static int say(Why *w, const char *id, Verdict verdict, const char *cause, const char *format, ...)
        _printf_(5, 6);
static int say(Why *w, const char *id, Verdict verdict, const char *cause, const char *format, ...)
{
        Dict check = {};
        char text[512];
        va_list ap;
        int r;

        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        r = dict_set_text(&check, KEY_CHECK, id);
        if (r == 0)
                r = dict_set_text(&check, KEY_VERDICT, verdicts[verdict]);
        if (r == 0)
                r = dict_set_text(&check, KEY_CAUSE, cause ? cause : "");
        if (r == 0)
                r = dict_set_text(&check, KEY_TEXT, text);
        if (r == 0)
                r = w->each(w->userdata, &check);
        if (r == 0 && verdict == THIS && !w->found)
                r = text_set(&w->first, cause) < 0 || text_set(&w->first_text, text) < 0 ? -ENOMEM
                                                                                         : 0;
        w->found |= verdict == THIS;
        dict_clear(&check);
        return r;
}

/* "2026-11-24 11:30" in the machine's time; "never". */
static const char *when(uint64_t usec, char to[32])
{
        time_t seconds = (time_t) (usec / USEC_PER_SEC);
        struct tm tm;

        if (!usec || !localtime_r(&seconds, &tm) || strftime(to, 32, "%F %H:%M", &tm) == 0)
                snprintf(to, 32, "never");
        return to;
}

#define WHEN(usec) when(usec, (char[32]){})

/* --- the list --- */

static int check_state(Why *w)
{
        const Account *a = w->account;

        switch (a->state) {
        case ACCOUNT_STATE_PAUSED:
                return say(w, "state", THIS, NULL, "Fetching is paused, by choice. Resume it.");
        case ACCOUNT_STATE_NEEDS_PASSWORD:
        case ACCOUNT_STATE_NEEDS_AUTHORIZATION:
        case ACCOUNT_STATE_NEEDS_APPROVAL:
        case ACCOUNT_STATE_BLOCKED:
                return say(w, "state", THIS, a->record.cause,
                           "Fetching has stopped since %s, until somebody acts.",
                           WHEN(a->record.since_usec));
        case ACCOUNT_STATE_FAILING:
                return say(w, "state", THIS, a->record.cause,
                           "Fetching fails since %s; it is tried again by itself.",
                           WHEN(a->record.since_usec));
        case ACCOUNT_STATE_ACTIVE:
                break;
        }
        return say(w, "state", FINE, NULL, "It is being fetched.");
}

static int check_network(Why *w)
{
        Network network;

        if (network_look(&network) < 0 || network.link || w->account->core->config->allow_local)
                return say(w, "network", FINE, NULL, "This machine has a network.");
        return say(w, "network", THIS, "net.offline", "This machine has no network right now.");
}

static int check_login(Why *w)
{
        const Past *p = &w->past;

        if (p->n_runs == 0)
                return say(w, "login", MAYBE, NULL,
                           "It has not been fetched yet; the first time is %s.",
                           WHEN(account_next_run_usec(w->account)));
        if (!p->last.cause)
                return say(w, "login", FINE, NULL, "Signed in and listed the mailbox at %s.",
                           WHEN(p->well_usec));
        return say(w, "login", THIS, p->last.cause,
                   "The last try, at %s, failed%s%s%s. The last good one: %s.",
                   WHEN(p->last.started_usec), p->last.text ? ": \"" : "",
                   p->last.text ? p->last.text : "", p->last.text ? "\"" : "", WHEN(p->well_usec));
}

static int check_interval(Why *w)
{
        const AccountRecord *r = &w->account->record;
        uint64_t next = account_next_run_usec(w->account),
                 minimum = r->poll_minimum_usec / USEC_PER_MINUTE;

        if (w->account->run.n_entries)
                return say(w, "interval", FINE, NULL, "It is being fetched right now.");
        if (!next)
                return say(w, "interval", MAYBE, NULL, "No fetch is planned.");
        if (r->failures > 0)
                return say(w, "interval", MAYBE, NULL,
                           "After %ju failures in a row the next try is at %s.",
                           (uintmax_t) r->failures, WHEN(next));
        return say(w, "interval", FINE, NULL, "The next fetch is at %s%s.", WHEN(next),
                   minimum * USEC_PER_MINUTE > r->interval_usec
                           ? ", as often as the provider allows"
                           : "");
}

/* Gmail and its like: every message that any program has fetched by POP3 once is hidden, and old ones show in parts. */
static int check_list(Why *w)
{
        const AccountRecord *record = &w->account->record;
        const Past *p = &w->past;
        const Provider *provider = provider_by_host(w->account->core->providers,
                                                    record->incoming.host);
        bool hides = provider && provider->pop_window && record->incoming.protocol == PROTOCOL_POP3;

        if (p->n_well == 0)
                return say(w, "list", MAYBE, NULL,
                           "The mailbox has not been listed in the last %ju runs.",
                           (uintmax_t) p->n_runs);
        if (p->well_listed > 0)
                return say(w, "list", FINE, NULL, "Messages there: %ju, all of them known%s.",
                           (uintmax_t) p->well_listed, w->n_skipped ? " or left alone" : "");
        if (hides && record->messages_fetched == 0)
                return say(
                        w, "list", THIS, "fetch.pop-window-consumed",
                        "%s shows no message, and never did: another program may have taken all by POP3.",
                        provider->name);
        if (hides)
                return say(
                        w, "list", MAYBE, "fetch.pop-window-consumed",
                        "%s shows no message. What any program has fetched by POP3 once is hidden there.",
                        provider->name);
        return say(w, "list", FINE, NULL, "The mailbox is empty.");
}

/* A mailbox that was emptied by somebody else, over and over. */
static int check_others(Why *w)
{
        const Past *p = &w->past;

        if (p->gone == 0 || w->account->record.keep == KEEP_NOT)
                return say(w, "other-programs", FINE, NULL,
                           "Nobody else has removed messages that were known here.");
        return say(
                w, "other-programs", p->well_listed == 0 ? THIS : MAYBE,
                "fetch.other-client-deletes",
                "%ju messages were removed from the server in the last %ju runs, not by this program.",
                (uintmax_t) p->gone, (uintmax_t) p->n_runs);
}

static int check_names(Why *w)
{
        if (w->past.renamed == 0)
                return say(w, "names", FINE, NULL,
                           "The server has kept the names of its messages.");
        return say(w, "names", MAYBE, "fetch.uid-reset",
                   "The server has named %ju known messages anew; they were recognised.",
                   (uintmax_t) w->past.renamed);
}

static int check_skipped(Why *w)
{
        if (w->n_skipped == 0)
                return say(w, "skipped", FINE, NULL, "No message is left alone.");
        return say(
                w, "skipped", MAYBE, "fetch.message-unreadable",
                "%ju messages could not be read and are left alone%s%s%s; FetchNow with 'skipped' tries them.",
                (uintmax_t) w->n_skipped, w->skipped_reason ? ": \"" : "",
                w->skipped_reason ? w->skipped_reason : "", w->skipped_reason ? "\"" : "");
}

static int check_lock(Why *w)
{
        if (w->past.locked == 0)
                return say(w, "lock", FINE, NULL, "The mailbox was free each time.");
        return say(w, "lock", MAYBE, "mailbox.locked",
                   "In %ju of the last %ju runs another program held the mailbox.",
                   (uintmax_t) w->past.locked, (uintmax_t) w->past.n_runs);
}

static int check_room(Why *w)
{
        const AccountRecord *record = &w->account->record;
        uint64_t quota = core_quota(w->account->core, record->uid);
        struct statvfs disk;

        if (quota == 0 || text_equal(record->cause, "policy.quota"))
                return say(w, "room", THIS, "policy.quota",
                           "The space for this user's mail is used up.");
        if (record->location && statvfs(record->location, &disk) == 0 &&
            (uint64_t) disk.f_bavail * disk.f_frsize < ROOM_LEAST)
                return say(w, "room", THIS, "delivery.no-space", "The disk with the mail is full.");
        return say(w, "room", FINE, NULL, "There is room for mail.");
}

static int check_elsewhere(Why *w)
{
        return say(
                w, "elsewhere", FINE, NULL,
                w->account->record.incoming.protocol == PROTOCOL_POP3
                        ? "Mail in the spam folder, or moved by a filter of the provider, cannot be seen by POP3."
                        : "Mail in the spam folder, or moved by a filter of the provider, is not in the inbox.");
}

static int conclude(Why *w)
{
        if (w->found)
                return say(w, "answer", THIS, w->first, "%s", w->first_text);
        if (w->past.n_well == 0)
                return say(w, "answer", MAYBE, NULL, "It is not known yet.");
        return say(w, "answer", FINE, "fetch.no-new-mail",
                   "All is well: last looked at %s, the last mail came at %s.",
                   WHEN(w->past.well_usec), WHEN(w->past.mail_usec));
}

int account_why(Account *account, int (*each)(void *userdata, const Dict *check), void *userdata)
{
        static int (*const checks[])(Why *) = {
                check_state, check_network, check_login,     check_interval,
                check_list,  check_others,  check_names,     check_skipped,
                check_lock,  check_room,    check_elsewhere, conclude,
        };
        Why w = { .account = account, .each = each, .userdata = userdata };
        Store *store = account->core->store;
        int r;

        r = store_runs(store, account->record.id, RUNS_SEEN, past_add, &w.past);
        if (r == 0)
                r = store_messages(store, account->record.id, skipped_add, &w);
        for (size_t i = 0; i < ELEMENTS(checks) && r == 0; i++)
                r = checks[i](&w);
        run_record_deinit(&w.past.last);
        free(w.skipped_reason);
        free(w.first);
        free(w.first_text);
        return r;
}
