/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When which account is fetched, in virtual time. The run itself is played here: it takes its time, and may fail. */
#include "tests/unit/base/check.h"

#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/digest.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/push.h"

enum { ACCOUNTS = 1000, PER_HOST = 50 };

typedef struct Played {
        Account account;
        char host[32], user[16];
        uint64_t n_runs, last_usec, shortest, longest;
        const char *cause; /* its runs end with; NULL well */
        uint64_t takes_usec;
} Played;

typedef struct Fixture {
        Loop *loop;
        Config config;
        Core core;
        Played *played;
        Account **accounts;
        size_t n_running, most_running, most_at_host;
        uint64_t n_logins;
        Fiber *stopper;
        uint64_t until_usec;
} Fixture;

static Fixture *fixture; /* for the functions that stand for the rest of the service */

/* --- the rest of the service --- */

/* Nobody waits for news here. */
bool push_waits(const Account *account)
{
        return false;
}

void push_drop(Push *push, Account *account)
{
}

void push_network(Push *push)
{
}

void account_changed(Account *account, unsigned what)
{
}

bool account_check_owner(Account *account)
{
        return true;
}

const char *core_lane_name(Core *core, const char *host)
{
        return host;
}

static size_t running_at(const char *host)
{
        size_t n = 0;

        for (size_t i = 0; i < fixture->core.n_accounts; i++)
                n += fixture->accounts[i]->fiber && text_equal(fixture->played[i].host, host);
        return n;
}

int fetch_run(void *arg)
{
        Played *played = CONTAINER_OF((Account *) arg, Played, account);
        uint64_t now = clock_now(), gap = now - played->last_usec;
        int r;

        played->account.run_manual = false; /* as fetch.c: it is a run of its own */
        fixture->n_logins++;
        if (played->n_runs++ > 0) {
                played->shortest = MIN(played->shortest, gap);
                played->longest = MAX(played->longest, gap);
        }
        played->last_usec = now;
        fixture->n_running++;
        fixture->most_running = MAX(fixture->most_running, fixture->n_running);
        if (fixture->core.n_accounts <= PER_HOST)
                fixture->most_at_host = MAX(fixture->most_at_host, running_at(played->host));
        r = fiber_sleep(played->takes_usec);
        fixture->n_running--;
        if (r < 0)
                return r;
        played->account.record.failures = played->cause ? played->account.record.failures + 1 : 0;
        played->account.record.cause = (char *) (uintptr_t) played->cause;
        if (!played->cause)
                played->account.record.last_success_usec = clock_real();
        return 0;
}

/* --- */

static int setup(void **state)
{
        Fixture *f = fixture = calloc(1, sizeof(*f));

        assert_int_equal(loop_new(&f->loop), 0);
        loop_alone(f->loop);
        clock_virtual_start(USEC_PER_HOUR, UINT64_C(1700000000) * USEC_PER_SEC);
        f->config = (Config){ .interval_minimum_usec = USEC_PER_MINUTE,
                              .backoff_maximum_usec = USEC_PER_HOUR,
                              .start_spread_usec = 10 * USEC_PER_MINUTE,
                              .dialogues_per_host = 2,
                              .dialogues = LIMIT_DIALOGUES,
                              .logins_per_minute = 600 };
        f->core.config = &f->config;
        assert_int_equal(scheduler_new(&f->core.scheduler, &f->core), 0);
        *state = f;
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        f->core.scheduler = scheduler_free(f->core.scheduler);
        fiber_cancel(f->stopper);
        free(f->played);
        free(f->accounts);
        loop_free(f->loop);
        clock_virtual_stop();
        free(f);
        return 0;
}

/* @n accounts, @per_host of them at one host, each fetched well a moment ago or (@fresh) never. */
static void make(Fixture *f, size_t n, size_t per_host, bool fresh)
{
        f->played = calloc(n, sizeof(*f->played));
        f->accounts = calloc(n, sizeof(*f->accounts));
        for (size_t i = 0; i < n; i++) {
                Played *p = &f->played[i];

                snprintf(p->host, sizeof(p->host), "pop%zu.example.com", i / per_host);
                snprintf(p->user, sizeof(p->user), "user%zu", i);
                p->shortest = UINT64_MAX;
                p->takes_usec = 200 * USEC_PER_MSEC;
                p->account = (Account){
                        .core = &f->core,
                        .record = { .address = p->user,
                                    .incoming = { .host = p->host, .user = p->user },
                                    .interval_usec = 10 * USEC_PER_MINUTE,
                                    .last_success_usec = fresh ? 0 : clock_real() - USEC_PER_DAY },
                };
                f->accounts[i] = &p->account;
        }
        f->core.accounts = f->accounts;
        f->core.n_accounts = n;
}

static int stop_work(void *arg)
{
        Fixture *f = arg;

        return fiber_sleep(f->until_usec);
}

static void run_for(Fixture *f, uint64_t usec)
{
        f->stopper = fiber_cancel(f->stopper);
        f->until_usec = usec;
        assert_int_equal(fiber_start(&f->stopper, "stop", stop_work, f), 0);
        while (!fiber_ended(f->stopper))
                assert_int_equal(loop_step(f->loop, 0), 1);
}

/* --- */

/* 1 000 accounts for a day: nobody is missed, nobody asked twice, nothing grows. */
static void a_day(void **state)
{
        Fixture *f = *state;
        const uint64_t interval = 10 * USEC_PER_MINUTE;
        struct mallinfo2 before;
        unsigned n_fibers;
        uint64_t total = 0;

        make(f, ACCOUNTS, 10, false);
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, USEC_PER_HOUR);
        before = mallinfo2();
        n_fibers = loop_n_fibers(f->loop) - (unsigned) f->n_running;
        run_for(f, 23 * USEC_PER_HOUR);
        for (size_t i = 0; i < ACCOUNTS; i++) {
                Played *p = &f->played[i];

                assert_true(p->n_runs >= 24 * 6 * 10 / 11 - 2 && p->n_runs <= 24 * 6 * 10 / 9 + 2);
                assert_true(p->shortest >= interval * 9 / 10);
                assert_true(p->longest <= interval * 11 / 10 + 10 * USEC_PER_SEC);
                assert_true(clock_now() - p->last_usec <= interval * 11 / 10 + 10 * USEC_PER_SEC);
                total += p->n_runs;
        }
        assert_true(total > 140 * ACCOUNTS && total < 148 * ACCOUNTS);
        assert_int_equal(loop_n_fibers(f->loop) - f->n_running, n_fibers);
        assert_true(mallinfo2().uordblks < before.uordblks + 64 * 1024);
}

/* A restart: at most one login for each in an interval, spread over it, and never more than two at one provider. */
static void a_start_is_spread(void **state)
{
        Fixture *f = *state;
        uint64_t first = UINT64_MAX, last = 0;

        make(f, ACCOUNTS, ACCOUNTS, false);
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 10 * USEC_PER_MINUTE + 5 * USEC_PER_SEC);
        for (size_t i = 0; i < ACCOUNTS; i++) {
                assert_true(f->played[i].n_runs >= 1 && f->played[i].n_runs <= 2);
                assert_true(f->played[i].n_runs == 1 ||
                            f->played[i].shortest >= 9 * USEC_PER_MINUTE);
                if (f->played[i].n_runs == 1) {
                        first = MIN(first, f->played[i].last_usec);
                        last = MAX(last, f->played[i].last_usec);
                }
        }
        assert_true(last - first >= 8 * USEC_PER_MINUTE);
        assert_true(f->most_running <= 2);
}

/* One that was fetched just before the restart is not fetched again at once. */
static void a_start_goes_on(void **state)
{
        Fixture *f = *state;

        make(f, PER_HOST, PER_HOST, false);
        for (size_t i = 0; i < PER_HOST; i++)
                f->played[i].account.record.last_success_usec = clock_real() - USEC_PER_MINUTE;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 8 * USEC_PER_MINUTE);
        assert_int_equal(f->n_logins, 0);
        run_for(f, 3 * USEC_PER_MINUTE);
        assert_int_equal(f->n_logins, PER_HOST);
}

static void a_clock_set_back_stops_nobody(void **state)
{
        Fixture *f = *state;

        make(f, 10, 1, false);
        for (size_t i = 0; i < 10; i++)
                f->played[i].account.record.last_success_usec = clock_real() + 3650 * USEC_PER_DAY;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 10 * USEC_PER_MINUTE + USEC_PER_SEC);
        for (size_t i = 0; i < 10; i++)
                assert_true(f->played[i].n_runs >= 1);
}

/* Two at a host, and a slow host holds up its own accounts only. */
static void lanes(void **state)
{
        Fixture *f = *state;

        make(f, 40, 20, true);
        for (size_t i = 0; i < 20; i++)
                f->played[i].takes_usec = USEC_PER_HOUR;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 30 * USEC_PER_SEC);
        assert_int_equal(f->most_at_host, 2);
        for (size_t i = 0; i < 40; i++)
                assert_int_equal(f->played[i].n_runs,
                                 i < 20 ? (f->played[i].account.fiber ? 1 : 0) : 1);
        assert_int_equal(f->n_running, 2);
}

static void logins_a_minute(void **state)
{
        Fixture *f = *state;

        f->config.logins_per_minute = 10;
        make(f, 40, 40, true);
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 2 * USEC_PER_MINUTE);
        assert_true(f->n_logins >= 19 && f->n_logins <= 21);
}

static void dialogues_in_all(void **state)
{
        Fixture *f = *state;

        f->config.dialogues = 7;
        make(f, 100, 1, true);
        for (size_t i = 0; i < 100; i++)
                f->played[i].takes_usec = USEC_PER_MINUTE;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 5 * USEC_PER_MINUTE);
        assert_int_equal(f->most_running, 7);
}

static void failures(void **state)
{
        static const struct {
                const char *cause;
                uint64_t first_usec;
        } table[] = { { "net.refused", USEC_PER_MINUTE },
                      { "auth.rate-limited", 15 * USEC_PER_MINUTE },
                      { "mailbox.locked", 5 * USEC_PER_MINUTE } };
        Fixture *f = *state;

        make(f, ELEMENTS(table), 1, true);
        for (size_t i = 0; i < ELEMENTS(table); i++)
                f->played[i].cause = table[i].cause;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, USEC_PER_DAY);
        for (size_t i = 0; i < ELEMENTS(table); i++) {
                Played *p = &f->played[i];

                assert_true(p->shortest >= table[i].first_usec * 9 / 10);
                assert_true(p->shortest <= table[i].first_usec * 11 / 10 + 10 * USEC_PER_SEC);
                assert_true(p->longest <= 66 * USEC_PER_MINUTE + 10 * USEC_PER_SEC);
                assert_true(p->n_runs >= 24 && p->n_runs <= 36);
        }
}

static void stopped_ones_are_left_alone(void **state)
{
        Fixture *f = *state;

        make(f, 3, 1, true);
        f->played[0].account.state = ACCOUNT_STATE_NEEDS_PASSWORD;
        f->played[1].account.state = ACCOUNT_STATE_PAUSED;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, USEC_PER_HOUR);
        assert_int_equal(f->played[0].n_runs + f->played[1].n_runs, 0);
        assert_true(f->played[2].n_runs > 4);
}

/* Without a network nobody tries but who is asked for; when it is back, all do, soon, one after the other. */
static void network(void **state)
{
        Fixture *f = *state;

        make(f, 10, 1, true);
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        scheduler_network(f->core.scheduler, false);
        run_for(f, USEC_PER_HOUR);
        assert_int_equal(f->n_logins, 0);
        f->played[0].account.run_manual = true;
        scheduler_now(f->core.scheduler, &f->played[0].account);
        f->played[0].cause = "net.offline";
        run_for(f, USEC_PER_SEC);
        assert_int_equal(f->n_logins, 1);
        f->played[0].cause = NULL;
        scheduler_network(f->core.scheduler, true);
        run_for(f, 11 * USEC_PER_MINUTE);
        for (size_t i = 0; i < 10; i++)
                assert_true(f->played[i].n_runs >= 1);
        assert_true(f->played[0].last_usec <= clock_now() - 30 * USEC_PER_SEC ||
                    f->played[0].n_runs >= 2);
}

/* The machine sleeps for a night: everybody is fetched soon after, and not all in one moment. */
static void suspend(void **state)
{
        Fixture *f = *state;
        uint64_t woke;

        make(f, 200, 1, false);
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, USEC_PER_HOUR);
        woke = clock_now() + 8 * USEC_PER_HOUR;
        clock_virtual_advance(woke);
        run_for(f, 5 * USEC_PER_MINUTE);
        assert_true(f->most_running < 50);
        for (size_t i = 0; i < 200; i++)
                assert_true(f->played[i].last_usec >= woke);
}

/* After mail has come it is looked for sooner; the wish is reached again when none does. */
static void eager(void **state)
{
        Fixture *f = *state;

        make(f, 1, 1, true);
        f->played[0].account.record.interval_usec = USEC_PER_HOUR;
        f->played[0].account.run_arrived = f->played[0].account.known_before = true;
        assert_int_equal(scheduler_start(f->core.scheduler), 0);
        run_for(f, 6 * USEC_PER_HOUR);
        assert_true(f->played[0].shortest >= 13 * USEC_PER_MINUTE);
        assert_true(f->played[0].longest <= 17 * USEC_PER_MINUTE);
        f->played[0].account.run_arrived = false;
        f->played[0].longest = 0;
        run_for(f, 6 * USEC_PER_HOUR);
        assert_true(f->played[0].longest >= 53 * USEC_PER_MINUTE);
        assert_true(f->played[0].longest <= 67 * USEC_PER_MINUTE);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                CASE(a_day),
                CASE(a_start_is_spread),
                CASE(a_start_goes_on),
                CASE(a_clock_set_back_stops_nobody),
                CASE(lanes),
                CASE(logins_a_minute),
                CASE(dialogues_in_all),
                CASE(failures),
                CASE(stopped_ones_are_left_alone),
                CASE(network),
                CASE(suspend),
                CASE(eager),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
