/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which account is fetched when: due times in a heap, one fiber that sleeps until the first of them. Jitter spreads accounts that
 * would meet; failures in a row lengthen the wait; a start spreads what is overdue. */
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/text.h"
#include "core/core_internal.h"

#define BUSY_GAP_USEC (500 * USEC_PER_MSEC)    /* until a full host is asked again */
#define RATE_LIMIT_USEC (15 * USEC_PER_MINUTE) /* first wait after "too many logins" */

struct Scheduler {
        Core *core;
        Heap heap;
        Fiber *fiber;
        FiberQueue changed;
        Account *running[LIMIT_DIALOGUES];
        size_t n_running;
};

int scheduler_new(Scheduler **ret, Core *core)
{
        Scheduler *scheduler = calloc(1, sizeof(*scheduler));

        if (!scheduler)
                return -ENOMEM;
        scheduler->core = core;
        *ret = scheduler;
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

static uint64_t account_interval(const Account *account)
{
        const Config *config = account->core->config;
        uint64_t usec = MAX(account->record.interval_usec, account->record.poll_minimum_usec), wait;

        usec = MAX(usec, config->interval_minimum_usec);
        if (account->record.failures == 0)
                return usec;
        wait = text_equal(account->record.cause, "auth.rate-limited")
                       ? RATE_LIMIT_USEC
                       : config->interval_minimum_usec;
        wait <<= MIN(account->record.failures - 1, UINT64_C(10));
        wait = MIN(wait, config->backoff_maximum_usec);
        /* A fault is looked at sooner than the next regular run would, then ever later. */
        return MAX(wait, account->record.poll_minimum_usec);
}

static void account_plan_at(Scheduler *scheduler, Account *account, uint64_t due)
{
        if (heap_set(&scheduler->heap, &account->due, due) < 0)
                log_error("no memory to plan the next run of %s", account->record.address);
        fiber_queue_wake_all(&scheduler->changed);
        account_changed(account, ACCOUNT_CHANGED_NEXT_RUN);
}

/* LOGIN-DELAY: a fetch inside of it waits, it does not fail (RFC 2449 section 6.5). */
static uint64_t account_earliest(const Account *account, uint64_t now)
{
        if (!account->last_login_usec)
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
                heap_remove(&scheduler->heap, &account->due);
                account_changed(account, ACCOUNT_CHANGED_NEXT_RUN);
                return;
        }
        /* A login alone, as of a look for the verification mail, is no fetch: the first one does not wait an interval. */
        due = fetched ? now + with_jitter(account_interval(account))
                      : account_earliest(account, now);
        account_plan_at(scheduler, account, MAX(due, not_before_usec));
}

void scheduler_now(Scheduler *scheduler, Account *account)
{
        account_plan_at(scheduler, account, account_earliest(account, clock_now()));
}

void scheduler_forget(Scheduler *scheduler, Account *account)
{
        heap_remove(&scheduler->heap, &account->due);
        for (size_t i = 0; i < scheduler->n_running; i++)
                if (scheduler->running[i] == account) {
                        scheduler->running[i] = scheduler->running[--scheduler->n_running];
                        account->fiber = fiber_cancel(account->fiber);
                        break;
                }
}

/* At start: an account that is due or overdue gets a place somewhere in its interval, so that a thousand do not call at once. One
 * that has never been fetched comes soon. */
static void plan_at_start(Scheduler *scheduler, Account *account)
{
        uint64_t now = clock_now(), spread = scheduler->core->config->start_spread_usec;
        uint64_t interval = account_interval(account);

        if (account_stopped(account))
                return;
        if (!account->record.last_success_usec)
                spread = MIN(interval, 10 * USEC_PER_SEC);
        else if (!spread || spread > interval)
                spread = interval;
        account_plan_at(scheduler, account, now + random_below(spread + 1));
}

/* --- running ------------------------------------------------------------------------------------------------------- */

static bool host_busy(const Scheduler *scheduler, const Account *account)
{
        uint64_t n = 0;

        for (size_t i = 0; i < scheduler->n_running; i++)
                n += text_equal(scheduler->running[i]->record.incoming.host,
                                account->record.incoming.host);
        return scheduler->n_running == ELEMENTS(scheduler->running) ||
               n >= scheduler->core->config->dialogues_per_host;
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

static void scheduler_run_due(Scheduler *scheduler, uint64_t now)
{
        HeapEntry *entry;

        while ((entry = heap_first(&scheduler->heap)) && entry->due <= now) {
                Account *account = CONTAINER_OF(entry, Account, due);

                if (account->fiber || host_busy(scheduler, account)) {
                        (void) heap_set(&scheduler->heap, entry, now + with_jitter(BUSY_GAP_USEC));
                        continue;
                }
                heap_remove(&scheduler->heap, entry);
                if (!account_check_owner(account))
                        continue;
                if (fiber_start(&account->fiber, "fetch", run_on_fiber, account) < 0) {
                        (void) heap_set(&scheduler->heap, entry, now + USEC_PER_MINUTE);
                        return;
                }
                scheduler->running[scheduler->n_running++] = account;
        }
}

static int scheduler_work(void *arg)
{
        Scheduler *scheduler = arg;
        int r = 0;

        while (r == 0 || r == -ETIME) {
                HeapEntry *first;
                uint64_t now = clock_now();

                scheduler_reap(scheduler);
                scheduler_run_due(scheduler, now);
                first = heap_first(&scheduler->heap);
                FIBER_DEADLINE(first ? first->due > now ? first->due - now : 0 : USEC_INFINITY);
                r = fiber_queue_wait(&scheduler->changed);
        }
        return r;
}

int scheduler_start(Scheduler *scheduler)
{
        for (size_t i = 0; i < scheduler->core->n_accounts; i++)
                plan_at_start(scheduler, scheduler->core->accounts[i]);
        return fiber_start(&scheduler->fiber, "scheduler", scheduler_work, scheduler);
}
