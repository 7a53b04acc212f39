/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which account is fetched when: due times in a heap, one fiber that sleeps until the first of them; who is due waits in a lane
 * (core/lane.h) for his turn. Jitter spreads accounts that would meet, failures in a row lengthen the wait, and whatever makes many due
 * at once (a start, a resume, a network that is back) spreads them anew. All time is CLOCK_BOOTTIME: setting the clock changes nothing. */
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/lane.h"
#include "core/push.h"

#define BUSY_GAP_USEC \
        (500 * USEC_PER_MSEC)         /* until one whose last run has not ended is asked again */
#define LATE_USEC (30 * USEC_PER_SEC) /* a sleep that took so much longer was a suspend */
#define SPREAD_EACH_USEC USEC_PER_SEC /* of accounts that are overdue together */
#define FIRST_SPREAD_USEC (10 * USEC_PER_SEC)
#define EAGER_LEAST_USEC (2 * USEC_PER_MINUTE)

enum { EAGER_MAX = 2 };

struct Scheduler {
        Core *core;
        Heap heap;
        Lanes *lanes;
        Fiber *fiber;
        FiberQueue changed;
        bool offline;
        Account *running[LIMIT_DIALOGUES];
        size_t n_running;
};

int scheduler_new(Scheduler **ret, Core *core)
{
        _cleanup_(scheduler_freep) Scheduler *scheduler = calloc(1, sizeof(*scheduler));
        int r;

        if (!scheduler)
                return -ENOMEM;
        scheduler->core = core;
        r = lanes_new(&scheduler->lanes, core->config);
        if (r < 0)
                return r;
        *ret = TAKE(scheduler);
        return 0;
}

Scheduler *scheduler_free(Scheduler *scheduler)
{
        if (!scheduler)
                return NULL;
        scheduler->fiber = fiber_cancel(scheduler->fiber);
        while (scheduler->n_running > 0) {
                Account *account = scheduler->running[--scheduler->n_running];

                account->fiber = fiber_cancel(account->fiber);
        }
        for (size_t i = 0; scheduler->lanes && i < scheduler->core->n_accounts; i++)
                lanes_leave(scheduler->lanes, scheduler->core->accounts[i]);
        lanes_free(scheduler->lanes);
        while (heap_first(&scheduler->heap))
                heap_remove(&scheduler->heap, heap_first(&scheduler->heap));
        heap_deinit(&scheduler->heap);
        free(scheduler);
        return NULL;
}

/* --- planning ------------------------------------------------------------------------------------------------------ */

/* A tenth up or down. */
static uint64_t with_jitter(uint64_t usec)
{
        return usec - usec / 10 + random_below(usec / 5 + 1);
}

/* Stopped: another try would only be one more refused login. */
static bool account_stopped(const Account *account)
{
        if (account->disowned)
                return true;
        switch (account->state) {
        case ACCOUNT_STATE_PAUSED:
        case ACCOUNT_STATE_NEEDS_PASSWORD:
        case ACCOUNT_STATE_NEEDS_AUTHORIZATION:
        case ACCOUNT_STATE_NEEDS_APPROVAL:
                return true;
        case ACCOUNT_STATE_BLOCKED:
                return text_starts_nocase(account->record.cause, "auth.") ||
                       text_starts_nocase(account->record.cause, "access.");
        case ACCOUNT_STATE_ACTIVE:
        case ACCOUNT_STATE_FAILING:
                return false;
        }
        return true;
}

/* How long the first wait after a failure is; each further one is twice as long. The administrator's backoff-maximum bounds all. */
static const struct {
        const char *prefix;
        uint64_t usec;
} backoffs[] = {
        { "auth.rate-limited", 15 * USEC_PER_MINUTE },
        { "auth.account-locked", 15 * USEC_PER_MINUTE },
        { "mailbox.locked",
          5 * USEC_PER_MINUTE }, /* a session that died may hold it for as long as that, or longer */
        { "server.maintenance", 10 * USEC_PER_MINUTE },
        { "policy.quota", 10 * USEC_PER_MINUTE },
        { "tls.", 10 * USEC_PER_MINUTE }, /* somebody has to act */
};

static uint64_t backoff(const Account *account)
{
        const Config *config = account->core->config;
        uint64_t wait = config->interval_minimum_usec;

        for (size_t i = 0; i < ELEMENTS(backoffs); i++)
                if (account->record.cause &&
                    text_starts_nocase(account->record.cause, backoffs[i].prefix))
                        wait = MAX(wait, backoffs[i].usec);
        wait <<= MIN(account->record.failures - 1, UINT64_C(10));
        wait = MIN(wait, config->backoff_maximum_usec);
        return MAX(wait, account->record.poll_minimum_usec);
}

/* The user's wish is the longest wait. Mail that has just come is often followed by more: then it is looked for sooner, up to four
 * times, as far as the server allows. */
static uint64_t account_interval(const Account *account)
{
        uint64_t least = MAX(account->record.poll_minimum_usec,
                             account->core->config->interval_minimum_usec);
        uint64_t wish = MAX(account->record.interval_usec, least);

        if (account->record.failures > 0)
                return backoff(account); /* sooner than the next regular run, then ever later */
        return MAX(wish >> account->eager, MIN(wish, MAX(least, EAGER_LEAST_USEC)));
}

static void account_put(Scheduler *scheduler, Account *account, uint64_t due)
{
        lanes_leave(scheduler->lanes, account);
        if (heap_set(&scheduler->heap, &account->due, due) < 0)
                log_error("no memory to plan the next run of %s", account->record.address);
}

static void account_plan_at(Scheduler *scheduler, Account *account, uint64_t due)
{
        account_put(scheduler, account, due);
        fiber_queue_wake_all(&scheduler->changed);
        account_changed(account, ACCOUNT_CHANGED_NEXT_RUN);
}

static void account_unplan(Scheduler *scheduler, Account *account)
{
        lanes_leave(scheduler->lanes, account);
        heap_remove(&scheduler->heap, &account->due);
}

/* LOGIN-DELAY: a fetch inside of it waits, it does not fail (RFC 2449 section 6.5). */
static uint64_t account_earliest(const Account *account, uint64_t now)
{
        /* Who is signed in already does not sign in too often. */
        if (!account->last_login_usec || push_waits(account))
                return now;
        return MAX(now, account->last_login_usec + account->record.poll_minimum_usec);
}

void scheduler_plan(Scheduler *scheduler, Account *account, uint64_t not_before_usec)
{
        uint64_t now = clock_now(), due;
        bool fetched = account->record.last_success_usec || account->record.failures;

        if (account->run.n_entries)
                return; /* the run plans the next one when it ends */
        if (account_stopped(account)) {
                account_unplan(scheduler, account);
                push_drop(account->core->push, account);
                account_changed(account, ACCOUNT_CHANGED_NEXT_RUN);
                return;
        }
        /* A login alone, as of a look for the verification mail, is no fetch: the first one does not wait an interval. */
        due = fetched && !account->run_left ? now + with_jitter(account_interval(account))
                                            : account_earliest(account, now);
        account_plan_at(scheduler, account, MAX(due, not_before_usec));
}

void scheduler_now(Scheduler *scheduler, Account *account)
{
        account_plan_at(scheduler, account, account_earliest(account, clock_now()));
}

void scheduler_forget(Scheduler *scheduler, Account *account)
{
        account_unplan(scheduler, account);
        push_drop(account->core->push, account);
        for (size_t i = 0; i < scheduler->n_running; i++)
                if (scheduler->running[i] == account) {
                        scheduler->running[i] = scheduler->running[--scheduler->n_running];
                        account->fiber = fiber_cancel(account->fiber);
                        lanes_done(scheduler->lanes, account);
                        break;
                }
}

/* --- many at once ---------------------------------------------------------------------------------------------------- */

/* At start: one that was fetched less than an interval ago goes on where it was; what is overdue gets a place somewhere in its interval,
 * so that a thousand do not call at once. One that has never been fetched comes soon. A clock that has been set back tells nothing. Nobody
 * has asked yet: there is nothing to tell. */
static void plan_at_start(Scheduler *scheduler, Account *account)
{
        uint64_t now = clock_now(), real = clock_real(),
                 spread = scheduler->core->config->start_spread_usec;
        uint64_t interval = account_interval(account), last = account->record.last_success_usec;

        if (account_stopped(account))
                return;
        if (!last)
                spread = MIN(interval, FIRST_SPREAD_USEC);
        else if (!spread || spread > interval)
                spread = interval;
        if (last && last <= real && real - last < interval)
                account_put(scheduler, account,
                            now + MAX(last + interval - real, random_below(spread + 1) / 8));
        else
                account_put(scheduler, account, now + random_below(spread + 1));
}

/* Plans all that are due within @usec or, with @failed, wait because there was no network, anew: from now on, one after the other, and
 * not later than they would have been asked at start. */
static void scheduler_spread(Scheduler *scheduler, uint64_t usec, bool failed)
{
        const Core *core = scheduler->core;
        uint64_t now = clock_now(), n = 0, spread;

        for (int pass = 0; pass < 2; pass++) {
                spread = MIN(n * SPREAD_EACH_USEC, core->config->start_spread_usec);
                for (size_t i = 0; i < core->n_accounts; i++) {
                        Account *account = core->accounts[i];
                        bool net = failed && account->record.cause &&
                                   (text_starts_nocase(account->record.cause, "net.") ||
                                    text_starts_nocase(account->record.cause, "dns."));

                        if (!account->due.index || (account->due.due > now + usec && !net))
                                continue;
                        if (pass == 0)
                                n++;
                        else if (heap_set(&scheduler->heap, &account->due,
                                          now + random_below(spread + 1)) == 0)
                                account_changed(account, ACCOUNT_CHANGED_NEXT_RUN);
                }
        }
}

void scheduler_network(Scheduler *scheduler, bool online)
{
        bool back = online && scheduler->offline;

        scheduler->offline = !online;
        if (!scheduler->fiber)
                return;
        log_info("the network is %s",
                 online ? back ? "back" : "another one" : "gone: waiting for it");
        if (online) {
                scheduler_spread(scheduler, 0, true);
                push_network(scheduler->core->push);
        }
        fiber_queue_wake_all(&scheduler->changed);
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static void account_note_end(Account *account)
{
        if (account->record.failures > 0)
                return;
        if (account->run_arrived && account->known_before)
                account->eager = EAGER_MAX;
        else if (account->eager > 0)
                account->eager--;
}

static void scheduler_reap(Scheduler *scheduler)
{
        for (size_t i = 0; i < scheduler->n_running;) {
                Account *account = scheduler->running[i];

                if (!fiber_ended(account->fiber)) {
                        i++;
                        continue;
                }
                scheduler->running[i] = scheduler->running[--scheduler->n_running];
                account->fiber = fiber_cancel(account->fiber);
                lanes_done(scheduler->lanes, account);
                account_note_end(account);
                /* Asked for after the run was over, and before its fiber was: nobody else remembers. */
                if (account->run_manual && !account_stopped(account))
                        scheduler_now(scheduler, account);
                else
                        scheduler_plan(scheduler, account, 0);
        }
}

static int run_on_fiber(void *arg)
{
        Account *account = arg;
        Scheduler *scheduler = account->core->scheduler;
        int r = fetch_run(account);

        if (r != -ECANCELED)
                fiber_queue_wake_all(&scheduler->changed);
        return r;
}

/* Into their lanes. Without a network only who was asked for tries, to be told so. */
static void scheduler_line_up(Scheduler *scheduler, uint64_t now)
{
        HeapEntry *entry;

        while ((entry = heap_first(&scheduler->heap)) && entry->due <= now) {
                Account *account = CONTAINER_OF(entry, Account, due);

                if (account->fiber)
                        (void) heap_set(&scheduler->heap, entry, now + with_jitter(BUSY_GAP_USEC));
                else if (scheduler->offline && !account->run_manual)
                        (void) heap_set(&scheduler->heap, entry,
                                        now + with_jitter(account_interval(account)));
                else {
                        heap_remove(&scheduler->heap, entry);
                        if (lanes_wait(scheduler->lanes, account) < 0)
                                (void) heap_set(&scheduler->heap, entry, now + USEC_PER_MINUTE);
                }
        }
}

static void scheduler_run_due(Scheduler *scheduler, uint64_t now)
{
        Account *account;

        scheduler_line_up(scheduler, now);
        while ((account = lanes_next(scheduler->lanes, now))) {
                if (!account_check_owner(account)) {
                        lanes_done(scheduler->lanes, account);
                        continue;
                }
                if (fiber_start(&account->fiber, "fetch", run_on_fiber, account) < 0) {
                        lanes_done(scheduler->lanes, account);
                        account_plan_at(scheduler, account, now + USEC_PER_MINUTE);
                        return;
                }
                scheduler->running[scheduler->n_running++] = account;
        }
}

static uint64_t scheduler_due(const Scheduler *scheduler)
{
        HeapEntry *first = heap_first(&scheduler->heap);
        uint64_t due = lanes_due(scheduler->lanes);

        return first ? MIN(first->due, due) : due;
}

static int scheduler_work(void *arg)
{
        Scheduler *scheduler = arg;
        int r = 0;

        while (r == 0 || r == -ETIME) {
                uint64_t now = clock_now(), due;

                scheduler_reap(scheduler);
                scheduler_run_due(scheduler, now);
                due = scheduler_due(scheduler);
                {
                        FIBER_DEADLINE(due == USEC_INFINITY ? due : due - MIN(due, now));
                        r = fiber_queue_wait(&scheduler->changed);
                }
                if (r == -ETIME && clock_now() > due + LATE_USEC) {
                        log_info("the machine slept: what is overdue is spread");
                        scheduler_spread(scheduler, 0, true);
                }
        }
        return r;
}

int scheduler_start(Scheduler *scheduler)
{
        for (size_t i = 0; i < scheduler->core->n_accounts; i++)
                plan_at_start(scheduler, scheduler->core->accounts[i]);
        return fiber_start(&scheduler->fiber, "scheduler", scheduler_work, scheduler);
}
