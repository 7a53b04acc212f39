/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fibers, as somebody would use them who wants to break them. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/unit/base/check.h"

#include "base/limits.h"

/* --- start, join ------------------------------------------------------------------------------------------ */

static int body_count(void *arg)
{
        return ++*(int *) arg;
}

static int body_parent_joins(void *arg)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;
        int result = 0;

        assert_int_equal(fiber_start(&child, "child", body_count, arg), 0);
        assert_false(fiber_ended(child));
        assert_string_equal(fiber_name(child), "child");
        assert_int_equal(fiber_join(&child, &result), 0);
        assert_null(child);
        return result + 10;
}

static int body_parent_joins_late(void *arg)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;
        int result = 0;

        assert_int_equal(fiber_start(&child, "child", body_count, arg), 0);
        assert_int_equal(fiber_yield(), 0);
        assert_true(fiber_ended(child));
        assert_int_equal(fiber_join(&child, &result), 0);
        return result + 20;
}

static void test_start_join(void **state)
{
        Loop *loop = *state;
        Fiber *fiber;
        int n = 0, result = 0;

        assert_null(fiber_current());
        assert_int_equal(fiber_start(&fiber, "one", body_count, &n), 0);
        assert_int_equal(n, 0); /* never inside the call */
        assert_int_equal(loop_n_fibers(loop), 1);
        check_run(loop);
        assert_int_equal(n, 1);
        assert_true(fiber_ended(fiber));
        assert_int_equal(fiber_join(&fiber, &result),
                         0); /* an ended one can be joined off fibers */
        assert_int_equal(result, 1);
        assert_null(fiber);

        assert_int_equal(fiber_start(&fiber, "parent", body_parent_joins, &n), 0);
        check_run(loop);
        assert_int_equal(fiber_join(&fiber, &result), 0);
        assert_int_equal(result, 12);

        assert_int_equal(fiber_start(&fiber, "parent", body_parent_joins_late, &n), 0);
        check_run(loop);
        assert_int_equal(fiber_join(&fiber, &result), 0);
        assert_int_equal(result, 23);
        assert_null(fiber_current());
}

/* --- cancel in every state ---------------------------------------------------------------------------------- */

typedef enum Wait {
        WAIT_SUSPEND,
        WAIT_SLEEP,
        WAIT_QUEUE,
        WAIT_FD,
        WAIT_JOIN,
        WAIT_YIELD,
        N_WAITS,
} Wait;

typedef struct Waiting {
        Wait kind;
        FiberQueue queue;
        int fds[2];
        FdWatch *watch;
        bool begun;
        int result;    /* of the wait that was cancelled */
        int n_refused; /* waits after it that were refused too */
        bool was_cancelled;
} Waiting;

static int body_forever(void *arg)
{
        int r;

        do
                r = fiber_suspend();
        while (r == 0);
        return r;
}

static int wait_one(Waiting *w, Wait kind)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;

        switch (kind) {
        case WAIT_SUSPEND:
                return fiber_suspend();
        case WAIT_SLEEP:
                return fiber_sleep(USEC_PER_HOUR);
        case WAIT_QUEUE:
                return fiber_queue_wait(&w->queue);
        case WAIT_FD:
                return fd_watch_wait(w->watch, EPOLLIN);
        case WAIT_JOIN:
                assert_int_equal(fiber_start(&child, "joined", body_forever, NULL), 0);
                return fiber_join(&child, NULL);
        case WAIT_YIELD:
                return fiber_yield();
        case N_WAITS:
                break;
        }
        return -EINVAL;
}

static int body_waits(void *arg)
{
        Waiting *w = arg;

        w->begun = true;
        do
                w->result = wait_one(w, w->kind);
        while (w->result == 0);
        w->was_cancelled = fiber_cancelled();
        for (Wait kind = 0; kind < N_WAITS; kind++)
                w->n_refused += wait_one(w, kind) == -ECANCELED;
        return w->result;
}

static void waiting_init(Waiting *w, Wait kind)
{
        *w = (Waiting){ .kind = kind };
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, w->fds),
                         0);
        assert_int_equal(fd_watch_new(&w->watch, w->fds[0]), 0);
}

static void waiting_check(Waiting *w)
{
        assert_true(w->begun);
        assert_int_equal(w->result, -ECANCELED);
        assert_true(w->was_cancelled);
        assert_int_equal(w->n_refused, N_WAITS);
        assert_null(w->queue.first);
        assert_null(w->queue.last);
        fd_watch_free(w->watch);
        fd_close(w->fds[0]);
        fd_close(w->fds[1]);
}

static int body_cancels(void *arg)
{
        Fiber **victim = arg;

        *victim = fiber_cancel(*victim);
        assert_null(*victim);
        assert_false(fiber_cancelled());
        return fiber_yield(); /* the canceller itself goes on as before */
}

static void cancel_from_fiber(Loop *loop, Fiber **victim)
{
        Fiber *killer;

        assert_int_equal(fiber_start(&killer, "killer", body_cancels, victim), 0);
        check_run(loop);
        fiber_cancel(killer);
}

static void test_cancel_waiting(void **state)
{
        Loop *loop = *state;

        for (Wait kind = 0; kind < N_WAITS; kind++)
                for (int from_fiber = 0; from_fiber < 2; from_fiber++) {
                        Fiber *fiber;
                        Waiting w;

                        waiting_init(&w, kind);
                        assert_int_equal(fiber_start(&fiber, "waits", body_waits, &w), 0);
                        while (!w.begun)
                                assert_int_equal(loop_step(loop, USEC_PER_SEC), 1);
                        if (kind != WAIT_YIELD)
                                check_settle(loop);
                        assert_false(fiber_ended(fiber));
                        if (from_fiber)
                                cancel_from_fiber(loop, &fiber);
                        else
                                fiber_cancel(fiber);
                        assert_int_equal(loop_n_fibers(loop), 0);
                        waiting_check(&w);
                        check_settle(loop); /* nothing of it may be left on the loop */
                }
        assert_null(fiber_cancel(NULL));
}

static void test_cancel_not_started(void **state)
{
        Loop *loop = *state;
        Fiber *fiber;
        int n = 0;

        assert_int_equal(fiber_start(&fiber, "never", body_count, &n), 0);
        assert_null(fiber_cancel(fiber));
        assert_int_equal(loop_n_fibers(loop), 0);
        assert_int_equal(fiber_start(&fiber, "never", body_count, &n), 0);
        fiber_wake(fiber);
        fiber_cancel(fiber);
        check_settle(loop);
        assert_int_equal(n, 0);
}

static void test_cancel_ended(void **state)
{
        Loop *loop = *state;
        Fiber *fiber;
        int n = 0;

        for (int from_fiber = 0; from_fiber < 2; from_fiber++) {
                assert_int_equal(fiber_start(&fiber, "ended", body_count, &n), 0);
                check_run(loop);
                fiber_wake(fiber); /* harmless on an ended one that is still owned */
                check_settle(loop);
                if (from_fiber)
                        cancel_from_fiber(loop, &fiber);
                else
                        fiber_cancel(fiber);
        }
        assert_int_equal(n, 2);
}

typedef struct Tree {
        int depth;
        int *n_begun, *n_unwound;
} Tree;

static int body_tree(void *arg)
{
        const Tree *tree = arg;
        Tree below = *tree;
        int r;
        {
                _cleanup_(fiber_cancelp) Fiber *left = NULL;
                _cleanup_(fiber_cancelp) Fiber *right = NULL;

                (*tree->n_begun)++;
                below.depth--;
                if (below.depth > 0) {
                        assert_int_equal(fiber_start(&left, "left", body_tree, &below), 0);
                        assert_int_equal(fiber_start(&right, "right", body_tree, &below), 0);
                        r = fiber_join(&right, NULL);
                } else
                        r = fiber_sleep(USEC_PER_DAY);
                assert_int_equal(r, -ECANCELED);
        }
        (*tree->n_unwound)++;
        return r;
}

static void test_cancel_nested(void **state)
{
        Loop *loop = *state;

        for (int from_fiber = 0; from_fiber < 2; from_fiber++) {
                int n_begun = 0, n_unwound = 0;
                Tree tree = { 5, &n_begun, &n_unwound };
                Fiber *root;

                assert_int_equal(fiber_start(&root, "root", body_tree, &tree), 0);
                check_settle(loop);
                assert_int_equal(n_begun, 31);
                assert_int_equal(loop_n_fibers(loop), 31);
                if (from_fiber)
                        cancel_from_fiber(loop, &root);
                else
                        fiber_cancel(root);
                assert_int_equal(n_unwound, 31);
                assert_int_equal(loop_n_fibers(loop), 0);
        }
}

/* --- the ready list ------------------------------------------------------------------------------------------ */

static int body_counts_wakes(void *arg)
{
        int r;

        while ((r = fiber_suspend()) == 0)
                ++*(int *) arg;
        return r;
}

static void test_cancel_ready(void **state)
{
        Loop *loop = *state;

        for (int victim = 0; victim < 4; victim++) {
                Fiber *fibers[4];
                int n[4] = { 0 };

                for (int i = 0; i < 4; i++)
                        assert_int_equal(fiber_start(&fibers[i], "ready", body_counts_wakes, &n[i]),
                                         0);
                check_settle(loop);
                for (int i = 0; i < 4; i++) {
                        fiber_wake(fibers[i]);
                        fiber_wake(fibers[i]); /* twice is once */
                }
                fibers[victim] = fiber_cancel(fibers[victim]);
                check_settle(loop);
                for (int i = 0; i < 4; i++) {
                        assert_int_equal(n[i], i != victim);
                        fiber_cancel(fibers[i]);
                }
        }
}

static int body_cancels_many(void *arg)
{
        Fiber **victims = arg;

        for (int i = 0; i < 3; i++)
                victims[i] = fiber_cancel(victims[i]);
        return 0;
}

/* The list changes under loop_on_ready(): the running fiber cancels those that are next. */
static void test_cancel_while_draining(void **state)
{
        Loop *loop = *state;
        Fiber *killer, *fibers[4];
        int n[4] = { 0 };

        assert_int_equal(fiber_start(&killer, "killer", body_cancels_many, fibers), 0);
        for (int i = 0; i < 4; i++)
                assert_int_equal(fiber_start(&fibers[i], "next", body_count, &n[i]), 0);
        check_run(loop);
        assert_int_equal(n[0] + n[1] + n[2], 0);
        assert_int_equal(n[3], 1);
        fiber_cancel(killer);
        fiber_cancel(fibers[3]);
}

static int body_wakes_itself_and_ends(void *arg)
{
        fiber_wake(fiber_current()); /* as a library does that calls back at once */
        return 7;
}

static int body_wakes_itself_and_waits(void *arg)
{
        fiber_wake(fiber_current());
        return fiber_suspend();
}

static void test_wake_of_running(void **state)
{
        Loop *loop = *state;
        Fiber *fiber;
        int result;

        assert_int_equal(fiber_start(&fiber, "self", body_wakes_itself_and_ends, NULL), 0);
        check_settle(loop); /* resuming the ended one would be the end of us */
        assert_int_equal(fiber_join(&fiber, &result), 0);
        assert_int_equal(result, 7);
        assert_int_equal(fiber_start(&fiber, "self", body_wakes_itself_and_waits, NULL), 0);
        check_run(loop); /* the wake is not lost */
        assert_int_equal(fiber_join(&fiber, &result), 0);
        assert_int_equal(result, 0);
}

static int body_wakes_when_cancelled(void *arg)
{
        int r = fiber_suspend();

        fiber_wake(fiber_current());
        fiber_wake(*(Fiber **) arg);
        return r;
}

static void test_wake_of_cancelled(void **state)
{
        Loop *loop = *state;
        Fiber *other, *fiber;
        int n = 0;

        assert_int_equal(fiber_start(&other, "other", body_counts_wakes, &n), 0);
        assert_int_equal(fiber_start(&fiber, "dying", body_wakes_when_cancelled, &other), 0);
        check_settle(loop);
        fiber_cancel(fiber);
        check_settle(loop);
        assert_int_equal(n, 1);
        fiber_cancel(other);
}

typedef struct Ball {
        FiberQueue sides[2];
        int turn, n, max;
        bool stop;
} Ball;

typedef struct Player {
        Ball *ball;
        int side;
} Player;

static int body_plays(void *arg)
{
        Player *p = arg;
        Ball *ball = p->ball;

        while (ball->n < ball->max && !ball->stop) {
                int r = 0;

                while (ball->turn != p->side && ball->n < ball->max && r == 0)
                        r = fiber_queue_wait(&ball->sides[p->side]);
                if (r < 0)
                        return r;
                ball->n++;
                ball->turn = !p->side;
                fiber_queue_wake_one(&ball->sides[!p->side]);
        }
        ball->turn = !p->side;
        fiber_queue_wake_all(&ball->sides[!p->side]);
        return 0;
}

static void test_ping_pong(void **state)
{
        Ball ball = { .max = 20000 };
        Player players[2] = { { &ball, 0 }, { &ball, 1 } };
        Fiber *fibers[2];

        for (int i = 0; i < 2; i++)
                assert_int_equal(fiber_start(&fibers[i], "player", body_plays, &players[i]), 0);
        check_run(*state);
        assert_true(ball.n >= ball.max && ball.n <= ball.max + 1);
        for (int i = 0; i < 2; i++) {
                int result;

                assert_int_equal(fiber_join(&fibers[i], &result), 0);
                assert_int_equal(result, 0);
        }
}

/* --- fairness: fibers that are always ready must not lock out descriptors and timers ----------------------- */

typedef struct Stopper {
        bool stop;
        FdWatch *watch;
        int fd;
} Stopper;

static int body_yields(void *arg)
{
        Stopper *s = arg;
        int r = 0;

        for (unsigned n = 0; !s->stop && r == 0 && n < 1000000; n++)
                r = fiber_yield();
        return s->stop ? 0 : -ELOOP;
}

static int body_stops_by_fd(void *arg)
{
        Stopper *s = arg;
        int r = fd_watch_wait(s->watch, EPOLLIN);

        s->stop = true;
        return r < 0 ? r : 0;
}

static int body_stops_by_timer(void *arg)
{
        Stopper *s = arg;
        int r = fiber_sleep(2 * USEC_PER_MSEC);

        s->stop = true;
        return r;
}

static void check_fairness(Loop *loop, FiberFunc stopping)
{
        int fds[2];
        Stopper s = {};
        Fiber *busy, *stopper;
        int result;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(fd_watch_new(&s.watch, fds[0]), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        assert_int_equal(fiber_start(&busy, "busy", body_yields, &s), 0);
        assert_int_equal(fiber_start(&stopper, "stopper", stopping, &s), 0);
        check_run(loop);
        assert_int_equal(fiber_join(&busy, &result), 0);
        assert_int_equal(result, 0);
        assert_int_equal(fiber_join(&stopper, &result), 0);
        assert_int_equal(result, 0);
        fd_watch_free(s.watch);
        fd_close(fds[0]);
        fd_close(fds[1]);
}

static void test_fair_to_fds(void **state)
{
        check_fairness(*state, body_stops_by_fd);
}

static void test_fair_to_timers(void **state)
{
        check_fairness(*state, body_stops_by_timer);
}

static int body_reads_forever(void *arg)
{
        Stopper *s = arg;
        int r = 0;

        for (unsigned n = 0; !s->stop && r >= 0 && n < 1000000; n++) {
                FIBER_DEADLINE(USEC_PER_SEC);
                r = fd_watch_wait(s->watch, EPOLLIN); /* never emptied: always ready */
        }
        return s->stop ? 0 : r < 0 ? r : -ELOOP;
}

/* Each wait sets a timer of its own; the sleeper's must be served all the same. */
static void test_fair_to_timers_beside_io(void **state)
{
        Loop *loop = *state;
        int pairs[3][2];
        Stopper s[3] = {};
        Fiber *busy[3], *sleeper;
        Stopper *last = &s[0];

        for (int i = 0; i < 3; i++) {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
                assert_int_equal(fd_watch_new(&s[i].watch, pairs[i][0]), 0);
                assert_int_equal(write(pairs[i][1], "x", 1), 1);
                assert_int_equal(fiber_start(&busy[i], "busy", body_reads_forever, &s[i]), 0);
        }
        assert_int_equal(fiber_start(&sleeper, "sleeper", body_stops_by_timer, last), 0);
        for (unsigned n = 0; !last->stop && n < 1000000; n++)
                assert_int_equal(loop_step(loop, USEC_PER_SEC), 1);
        assert_true(last->stop);
        for (int i = 0; i < 3; i++) {
                fiber_cancel(busy[i]);
                fd_watch_free(s[i].watch);
                fd_close(pairs[i][0]);
                fd_close(pairs[i][1]);
        }
        fiber_cancel(sleeper);
}

static int body_hears_a_talker(void *arg)
{
        Stopper *s = arg;
        FIBER_DEADLINE(5 * USEC_PER_MSEC);
        int r = 0;

        for (unsigned n = 0; r >= 0 && n < 10000000; n++)
                r = fd_watch_wait(s->watch, EPOLLIN | EPOLLOUT);
        return r;
}

static void test_talker_meets_deadline(void **state)
{
        int fds[2];
        Stopper s = {};
        Fiber *fiber;
        int result;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(fd_watch_new(&s.watch, fds[0]), 0);
        assert_int_equal(fiber_start(&fiber, "hears", body_hears_a_talker, &s), 0);
        check_run(*state);
        assert_int_equal(fiber_join(&fiber, &result), 0);
        assert_int_equal(result, -ETIME);
        fd_watch_free(s.watch);
        fd_close(fds[0]);
        fd_close(fds[1]);
}

/* --- time ---------------------------------------------------------------------------------------------------- */

static int body_sleeps(void *arg)
{
        return fiber_sleep(*(uint64_t *) arg);
}

static int fiber_result(Loop *loop, FiberFunc func, void *arg)
{
        Fiber *fiber;
        int result = -EINVAL;

        assert_int_equal(fiber_start(&fiber, "result", func, arg), 0);
        check_run(loop);
        assert_int_equal(fiber_join(&fiber, &result), 0);
        return result;
}

static void test_sleep_real(void **state)
{
        uint64_t usec = 20 * USEC_PER_MSEC, begun = clock_now();

        assert_int_equal(fiber_result(*state, body_sleeps, &usec), 0);
        assert_true(clock_now() - begun >= usec);
        usec = 0;
        assert_int_equal(fiber_result(*state, body_sleeps, &usec), 0);
}

static void test_sleep_virtual(void **state)
{
        uint64_t usec = 30 * USEC_PER_DAY, begun, real = clock_now();

        check_virtual_clock();
        begun = clock_now();
        assert_int_equal(fiber_result(*state, body_sleeps, &usec), 0);
        assert_int_equal(clock_now() - begun, usec);
        clock_virtual_stop();
        assert_true(clock_now() - real < 10 * USEC_PER_SEC);
}

typedef struct Order {
        uint64_t usec;
        char name, *log;
} Order;

static int body_sleeps_and_logs(void *arg)
{
        Order *o = arg;
        int r = fiber_sleep(o->usec);

        o->log[strlen(o->log)] = o->name;
        return r;
}

static void test_sleep_order(void **state)
{
        char log[8] = "";
        Order orders[] = { { 30, 'c', log }, { 10, 'a', log }, { 40, 'd', log }, { 20, 'b', log } };
        Fiber *fibers[4];

        check_virtual_clock();
        for (int i = 0; i < 4; i++)
                assert_int_equal(fiber_start(&fibers[i], "order", body_sleeps_and_logs, &orders[i]),
                                 0);
        check_run(*state);
        for (int i = 0; i < 4; i++)
                fiber_cancel(fibers[i]);
        assert_string_equal(log, "abcd");
}

static int body_deadlines(void *arg)
{
        uint64_t begun = clock_now();

        assert_true(fiber_deadline() == USEC_INFINITY);
        {
                FIBER_DEADLINE(10 * USEC_PER_SEC);
                assert_int_equal(fiber_deadline(), begun + 10 * USEC_PER_SEC);
                {
                        FIBER_DEADLINE(60 * USEC_PER_SEC); /* the outer one is earlier and stays */
                        assert_int_equal(fiber_deadline(), begun + 10 * USEC_PER_SEC);
                        {
                                FIBER_DEADLINE(3 * USEC_PER_SEC);
                                assert_int_equal(fiber_deadline(), begun + 3 * USEC_PER_SEC);
                                assert_int_equal(fiber_sleep(2 * USEC_PER_SEC), 0);
                                assert_int_equal(fiber_sleep(2 * USEC_PER_SEC), -ETIME);
                                assert_int_equal(clock_now(), begun + 3 * USEC_PER_SEC);
                                /* what is asked after it fails at once */
                                assert_int_equal(fiber_yield(), -ETIME);
                                assert_int_equal(fiber_suspend(), -ETIME);
                                assert_int_equal(fiber_sleep(0), -ETIME);
                        }
                        assert_int_equal(fiber_sleep(USEC_PER_SEC), 0);
                        assert_int_equal(fiber_suspend(), -ETIME);
                        assert_int_equal(clock_now(), begun + 10 * USEC_PER_SEC);
                }
        }
        FIBER_DEADLINE(USEC_INFINITY); /* no overflow */
        assert_true(fiber_deadline() == USEC_INFINITY);
        return fiber_sleep(USEC_PER_SEC);
}

static void test_deadlines(void **state)
{
        check_virtual_clock();
        assert_int_equal(fiber_result(*state, body_deadlines, NULL), 0);
}

static int body_returns_deadline_wait(void *arg)
{
        *(uint64_t *) arg = fiber_deadline();
        return fiber_suspend();
}

static int body_inherits(void *arg)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;
        uint64_t begun = clock_now(), seen = 0;
        int result = 0;
        {
                FIBER_DEADLINE(5 * USEC_PER_SEC);
                assert_int_equal(fiber_start(&child, "child", body_returns_deadline_wait, &seen),
                                 0);
        }
        assert_int_equal(fiber_join(&child, &result), 0); /* the parent itself has none any more */
        assert_int_equal(seen, begun + 5 * USEC_PER_SEC);
        assert_int_equal(clock_now(), begun + 5 * USEC_PER_SEC);
        return result;
}

static void test_deadline_inherited(void **state)
{
        check_virtual_clock();
        assert_int_equal(fiber_result(*state, body_inherits, NULL), -ETIME);
}

static int body_join_times_out(void *arg)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;

        assert_int_equal(fiber_start(&child, "child", body_forever, NULL), 0);
        {
                FIBER_DEADLINE(USEC_PER_SEC);
                assert_int_equal(fiber_join(&child, NULL), -ETIME);
        }
        assert_non_null(child);
        assert_false(fiber_ended(child));
        child = fiber_cancel(child);
        return 0;
}

static void test_join_times_out(void **state)
{
        check_virtual_clock();
        assert_int_equal(fiber_result(*state, body_join_times_out, NULL), 0);
}

/* --- queues ---------------------------------------------------------------------------------------------------- */

typedef struct Queued {
        FiberQueue *queue;
        char name, *log;
        uint64_t deadline;
        int result;
} Queued;

static int body_queues(void *arg)
{
        Queued *q = arg;
        FIBER_DEADLINE(q->deadline ? q->deadline : USEC_INFINITY);

        q->result = fiber_queue_wait(q->queue);
        q->log[strlen(q->log)] = q->name;
        return q->result;
}

static void test_queue(void **state)
{
        Loop *loop = *state;
        FiberQueue queue = {};
        char log[8] = "";
        Queued q[] = { { &queue, 'a', log },
                       { &queue, 'b', log },
                       { &queue, 'c', log },
                       { &queue, 'd', log } };
        Fiber *fibers[4];

        fiber_queue_wake_one(&queue); /* nobody there: forgotten */
        for (int i = 0; i < 4; i++)
                assert_int_equal(fiber_start(&fibers[i], "queued", body_queues, &q[i]), 0);
        check_settle(loop);
        fiber_wake(fibers[0]); /* spurious: must go on waiting, at its place */
        check_settle(loop);
        assert_string_equal(log, "");
        fiber_queue_wake_one(&queue);
        check_settle(loop);
        assert_string_equal(log, "a");
        fibers[2] = fiber_cancel(fibers[2]); /* from the middle */
        assert_string_equal(log, "ac");
        assert_int_equal(q[2].result, -ECANCELED);
        fiber_queue_wake_all(&queue);
        check_run(loop);
        assert_string_equal(log, "acbd");
        assert_null(queue.first);
        for (int i = 0; i < 4; i++)
                fiber_cancel(fibers[i]);
}

static void test_queue_timeout(void **state)
{
        FiberQueue queue = {};
        char log[8] = "";
        Queued q[] = { { &queue, 'a', log, 3 * USEC_PER_SEC },
                       { &queue, 'b', log, 1 * USEC_PER_SEC },
                       { &queue, 'c', log, 2 * USEC_PER_SEC } };
        Fiber *fibers[3];

        check_virtual_clock();
        for (int i = 0; i < 3; i++)
                assert_int_equal(fiber_start(&fibers[i], "queued", body_queues, &q[i]), 0);
        check_run(*state);
        assert_string_equal(log, "bca");
        assert_null(queue.first);
        assert_null(queue.last);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(q[i].result, -ETIME);
                fiber_cancel(fibers[i]);
        }
}

/* The queue may go once its waiters are woken, also when one is cancelled before it runs. */
static void test_queue_gone(void **state)
{
        Loop *loop = *state;
        FiberQueue *queue = calloc(1, sizeof(*queue));
        char log[8] = "";
        Queued q[] = { { queue, 'a', log }, { queue, 'b', log } };
        Fiber *fibers[2];

        assert_non_null(queue);
        for (int i = 0; i < 2; i++)
                assert_int_equal(fiber_start(&fibers[i], "queued", body_queues, &q[i]), 0);
        check_settle(loop);
        fiber_queue_wake_all(queue);
        free(queue);
        fiber_cancel(fibers[0]);
        check_run(loop);
        assert_int_equal(q[0].result, -ECANCELED);
        assert_int_equal(q[1].result, 0);
        fiber_cancel(fibers[1]);
}

/* --- descriptors ------------------------------------------------------------------------------------------------ */

static int body_echo(void *arg)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        int fd = *(int *) arg, n_total = 0, r;
        char bytes[64];

        assert_int_equal(fd_watch_new(&watch, fd), 0);
        for (;;) {
                ssize_t n = read(fd, bytes, sizeof(bytes));

                if (n == 0)
                        return n_total;
                if (n < 0) {
                        assert_int_equal(errno, EAGAIN);
                        r = fd_watch_wait(watch, EPOLLIN);
                        if (r < 0)
                                return r;
                        assert_true(r & (EPOLLIN | EPOLLHUP));
                        continue;
                }
                n_total += (int) n;
                assert_int_equal(write(fd, bytes, (size_t) n), n);
        }
}

static int body_asks(void *arg)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        int fd = *(int *) arg, r;

        assert_int_equal(fd_watch_new(&watch, fd), 0);
        for (int i = 0; i < 100; i++) {
                char byte = (char) i, back = 0;

                r = fd_watch_wait(watch, EPOLLOUT);
                assert_int_equal(r, EPOLLOUT);
                assert_int_equal(write(fd, &byte, 1), 1);
                r = fd_watch_wait(watch, EPOLLIN);
                assert_true(r > 0);
                assert_int_equal(read(fd, &back, 1), 1);
                assert_int_equal(back, byte);
        }
        shutdown(fd, SHUT_WR);
        return 0;
}

static void test_fd_dialogue(void **state)
{
        Loop *loop = *state;
        Fiber *echo, *asks;
        int fds[2], result;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds),
                         0);
        assert_int_equal(fiber_start(&echo, "echo", body_echo, &fds[0]), 0);
        assert_int_equal(fiber_start(&asks, "asks", body_asks, &fds[1]), 0);
        check_run(loop);
        assert_int_equal(fiber_join(&echo, &result), 0);
        assert_int_equal(result, 100);
        assert_int_equal(fiber_join(&asks, &result), 0);
        assert_int_equal(result, 0);
        fd_close(fds[0]);
        fd_close(fds[1]);
}

static int body_fd_times_out(void *arg)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        int *fds = arg;
        char byte;

        assert_int_equal(fd_watch_new(&watch, fds[0]), 0);
        {
                FIBER_DEADLINE(USEC_PER_SEC);
                assert_int_equal(fd_watch_wait(watch, EPOLLIN), -ETIME);
        }
        assert_int_equal(write(fds[1], "x", 1), 1);
        assert_int_equal(fd_watch_wait(watch, EPOLLIN), EPOLLIN);
        assert_int_equal(fd_watch_wait(watch, EPOLLIN), EPOLLIN); /* level: it is still there */
        assert_int_equal(read(fds[0], &byte, 1), 1);
        fds[1] = fd_close(fds[1]);
        assert_true(fd_watch_wait(watch, EPOLLIN) & EPOLLHUP);
        return 0;
}

static void test_fd_timeout_and_hangup(void **state)
{
        int fds[2];

        check_virtual_clock();
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(fiber_result(*state, body_fd_times_out, fds), 0);
        fd_close(fds[0]);
        fd_close(fds[1]);
}

/* What epoll refuses is an error and no wait without end. */
static int body_fd_refused(void *arg)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = NULL;
        _cleanup_close_ int fd = fileno(tmpfile());
        int r = fd_watch_new(&watch, fd);

        return r < 0 ? r : fd_watch_wait(watch, EPOLLIN);
}

static void test_fd_refused(void **state)
{
        assert_int_equal(fiber_result(*state, body_fd_refused, NULL), -EPERM);
}

static void test_fd_ready_and_cancelled(void **state)
{
        Loop *loop = *state;
        Fiber *fiber;
        Waiting w;

        waiting_init(&w, WAIT_FD);
        assert_int_equal(fiber_start(&fiber, "waits", body_waits, &w), 0);
        check_settle(loop);
        assert_int_equal(write(w.fds[1], "x", 1), 1);
        assert_int_equal(loop_step(loop, USEC_PER_SEC),
                         1); /* the event has come, the fiber not run */
        assert_false(fiber_ended(fiber));
        fiber_cancel(fiber);
        waiting_check(&w);
        check_settle(loop);
}

/* --- stacks ------------------------------------------------------------------------------------------------------ */

static unsigned n_maps(void)
{
        FILE *f = fopen("/proc/self/maps", "re");
        unsigned n = 0;
        int c;

        assert_non_null(f);
        while ((c = getc(f)) != EOF)
                n += c == '\n';
        fclose(f);
        return n;
}

static void test_many_in_sequence(void **state)
{
        Loop *loop = *state;
        unsigned before = n_maps();
        int n = 0;

        for (int i = 0; i < 10000; i++) {
                Fiber *fiber;

                assert_int_equal(fiber_start(&fiber, "one of many", body_count, &n), 0);
                check_run(loop);
                fiber_cancel(fiber);
        }
        assert_int_equal(n, 10000);
        assert_in_range(n_maps(), 1, before + 100);
}

static void test_many_at_once(void **state)
{
        Loop *loop = *state;
        enum { N = 1000 };
        unsigned before = n_maps();
        Fiber *fibers[N];
        int n = 0;

        for (int i = 0; i < N; i++)
                assert_int_equal(fiber_start(&fibers[i], "one of many", body_counts_wakes, &n), 0);
        check_settle(loop);
        assert_int_equal(loop_n_fibers(loop), N);
        for (int i = 0; i < N; i++)
                fiber_wake(fibers[i]);
        check_settle(loop);
        assert_int_equal(n, N);
        for (int i = 0; i < N; i++)
                fiber_cancel(fibers[i]);
        /* 32 stacks with their guards are kept, not a thousand. */
        assert_in_range(n_maps(), 1, before + 200);
}

static int body_deep(void *arg)
{
        unsigned char big[200 * 1024];
        int r;

        for (size_t i = 0; i < sizeof(big); i++)
                big[i] = (unsigned char) (i * 7);
        __asm__ volatile("" : : "r"(big) : "memory");
        r = fiber_sleep(*(uint64_t *) arg);
        for (size_t i = 0; i < sizeof(big); i++)
                if (big[i] != (unsigned char) (i * 7))
                        return -EILSEQ;
        return r;
}

static void test_deep_stack(void **state)
{
        Loop *loop = *state;
        uint64_t usec[] = { 1, 5, 3 };
        Fiber *fibers[3];

        check_virtual_clock();
        for (int i = 0; i < 3; i++)
                assert_int_equal(fiber_start(&fibers[i], "deep", body_deep, &usec[i]), 0);
        check_run(loop);
        for (int i = 0; i < 3; i++) {
                int result;

                assert_int_equal(fiber_join(&fibers[i], &result), 0);
                assert_int_equal(result, 0);
        }
}

static __attribute__((noinline)) void leave_deep_trace(uintptr_t *ret)
{
        volatile char bytes[100 * 1024];

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = 'S';
        *ret = (uintptr_t) bytes;
}

static int body_leaves_traces(void *arg)
{
        volatile char bytes[64];
        uintptr_t *seen = arg;

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = 'S';
        seen[0] = (uintptr_t) bytes;
        leave_deep_trace(&seen[1]);
        return 0;
}

/* A kept stack is mapped but nobody's, so it is read from outside: what was on it is gone. */
static void test_stack_wiped(void **state)
{
        _cleanup_close_ int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
        static const char zeros[64];
        uintptr_t seen[2];
        char bytes[64];

        assert_true(memory >= 0);
        assert_int_equal(fiber_result(*state, body_leaves_traces, seen), 0);
        for (int i = 0; i < 2; i++) {
                memset(bytes, 'x', sizeof(bytes));
                assert_int_equal(pread(memory, bytes, sizeof(bytes), (off_t) seen[i]),
                                 sizeof(bytes));
                assert_memory_equal(bytes, zeros, sizeof(bytes));
        }
}

static volatile unsigned no_end = 1000000;

static unsigned overflow(unsigned n)
{
        volatile char page[512];

        page[n % sizeof(page)] = (char) n;
        return n >= no_end ? 0 : overflow(n + 1) + (unsigned) page[n % sizeof(page)];
}

static int body_overflows(void *arg)
{
        return (int) overflow(0);
}

static void test_guard_page(void **state)
{
        pid_t pid = fork();
        int status;

        assert_true(pid >= 0);
        if (pid == 0) {
                const struct rlimit none = {};
                Loop *loop;
                Fiber *fiber;

                setrlimit(RLIMIT_CORE, &none);
                dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
                if (loop_new(&loop) == 0 &&
                    fiber_start(&fiber, "overflow", body_overflows, NULL) == 0)
                        (void) loop_step(loop, USEC_PER_SEC);
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static int body_exits_loop(void *arg)
{
        int r = fiber_sleep(USEC_PER_SEC);

        sd_event_exit(loop_event(loop_current()), 42);
        return r;
}

static void test_loop_run(void **state)
{
        Loop *loop = *state;
        Fiber *exits, *stays;

        check_virtual_clock();
        assert_int_equal(fiber_start(&stays, "stays", body_forever, NULL), 0);
        assert_int_equal(fiber_start(&exits, "exits", body_exits_loop, NULL), 0);
        assert_int_equal(loop_run(loop), 42);
        assert_true(fiber_ended(exits));
        assert_false(fiber_ended(stays));
        fiber_cancel(exits);
        fiber_wake(stays); /* after the end of the loop: nothing happens */
        fiber_cancel(stays);
        assert_int_equal(loop_n_fibers(loop), 0);
}

static void *thread_with_loop(void *arg)
{
        bool *done = arg;
        Ball ball = { .max = 5000 };
        Player players[2] = { { &ball, 0 }, { &ball, 1 } };
        Fiber *fibers[2];
        Loop *loop;

        if (loop_new(&loop) < 0)
                return NULL;
        for (int i = 0; i < 2; i++)
                if (fiber_start(&fibers[i], "player", body_plays, &players[i]) < 0)
                        return NULL;
        while (loop_n_fibers(loop) > 0 && loop_step(loop, USEC_PER_SEC) > 0)
                ;
        for (int i = 0; i < 2; i++)
                fiber_cancel(fibers[i]);
        loop_free(loop);
        *done = ball.n >= ball.max;
        return NULL;
}

static void test_loops_in_threads(void **state)
{
        pthread_t threads[3];
        bool done[3] = { false };

        for (int i = 0; i < 3; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, thread_with_loop, &done[i]), 0);
        test_ping_pong(state);
        for (int i = 0; i < 3; i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_true(done[i]);
        }
}

/* --- everything at once ------------------------------------------------------------------------------------------- */

enum { MESS_SLOTS = 24, MESS_TURNS = 1500 };

typedef struct Mess {
        FiberQueue queue;
        Fiber *slots[MESS_SLOTS];
        uint32_t seed;
        unsigned n_begun, n_ended;
} Mess;

static unsigned mess_random(Mess *mess, unsigned bound)
{
        mess->seed = mess->seed * 1664525 + 1013904223;
        return (mess->seed >> 8) % bound;
}

static int body_mess(void *arg);

static int mess_child(Mess *mess)
{
        _cleanup_(fiber_cancelp) Fiber *child = NULL;
        FIBER_DEADLINE(mess_random(mess, 50));
        int r = fiber_start(&child, "child", body_mess, mess);

        if (r < 0 || mess_random(mess, 3) == 0)
                return r;
        return fiber_join(&child, NULL);
}

static int mess_act(Mess *mess)
{
        switch (mess_random(mess, 7)) {
        case 0:
                return fiber_yield();
        case 1:
                return fiber_sleep(mess_random(mess, 20));
        case 2:
                return fiber_queue_wait(&mess->queue);
        case 3:
                fiber_queue_wake_one(&mess->queue);
                return 0;
        case 4:
                fiber_wake(fiber_current());
                return mess_random(mess, 2) ? fiber_suspend() : 0;
        case 5:
                return loop_n_fibers(loop_current()) < 200 ? mess_child(mess) : 0;
        default:
                return mess_random(mess, 4) == 0 ? -EINTR : 0;
        }
}

static int body_mess(void *arg)
{
        Mess *mess = arg;
        FIBER_DEADLINE(1 + mess_random(mess, 100));
        int r = 0;

        mess->n_begun++;
        while (r == 0)
                r = mess_act(mess);
        mess->n_ended++;
        return r;
}

/* Cancels, wakes and replaces its slots at random; runs on a fiber and off fibers. */
static void mess_stir(Mess *mess)
{
        Fiber **slot = &mess->slots[mess_random(mess, MESS_SLOTS)];

        if (!*slot)
                assert_int_equal(fiber_start(slot, "mess", body_mess, mess), 0);
        else if (mess_random(mess, 2))
                *slot = fiber_cancel(*slot);
        else if (!fiber_ended(*slot))
                fiber_wake(*slot);
        if (mess_random(mess, 8) == 0)
                fiber_queue_wake_all(&mess->queue);
}

static int body_stirs(void *arg)
{
        Mess *mess = arg;
        int r = 0;

        for (int i = 0; i < MESS_TURNS && r == 0; i++) {
                mess_stir(mess);
                if (mess_random(mess, 3) == 0)
                        r = fiber_sleep(mess_random(mess, 3));
        }
        return r;
}

static void test_mess(void **state)
{
        Loop *loop = *state;

        check_virtual_clock();
        for (uint32_t seed = 1; seed <= 3; seed++) {
                Mess mess = { .seed = seed };

                assert_int_equal(fiber_result(loop, body_stirs, &mess), 0);
                for (int i = 0; i < MESS_TURNS; i++) {
                        mess_stir(&mess);
                        if (mess_random(&mess, 4) == 0)
                                assert_true(loop_step(loop, 0) >= 0);
                }
                for (int i = 0; i < MESS_SLOTS; i++)
                        fiber_cancel(mess.slots[i]);
                assert_int_equal(loop_n_fibers(loop), 0);
                assert_true(mess.n_begun > 100);
                assert_int_equal(mess.n_begun, mess.n_ended);
                assert_null(mess.queue.first);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                LOOP_TEST(test_start_join),
                LOOP_TEST(test_cancel_waiting),
                LOOP_TEST(test_cancel_not_started),
                LOOP_TEST(test_cancel_ended),
                LOOP_TEST(test_cancel_nested),
                LOOP_TEST(test_cancel_ready),
                LOOP_TEST(test_cancel_while_draining),
                LOOP_TEST(test_wake_of_running),
                LOOP_TEST(test_wake_of_cancelled),
                LOOP_TEST(test_ping_pong),
                LOOP_TEST(test_fair_to_fds),
                LOOP_TEST(test_fair_to_timers),
                LOOP_TEST(test_fair_to_timers_beside_io),
                LOOP_TEST(test_talker_meets_deadline),
                LOOP_TEST(test_sleep_real),
                LOOP_TEST(test_sleep_virtual),
                LOOP_TEST(test_sleep_order),
                LOOP_TEST(test_deadlines),
                LOOP_TEST(test_deadline_inherited),
                LOOP_TEST(test_join_times_out),
                LOOP_TEST(test_queue),
                LOOP_TEST(test_queue_timeout),
                LOOP_TEST(test_queue_gone),
                LOOP_TEST(test_fd_dialogue),
                LOOP_TEST(test_fd_timeout_and_hangup),
                LOOP_TEST(test_fd_refused),
                LOOP_TEST(test_fd_ready_and_cancelled),
                LOOP_TEST(test_many_in_sequence),
                LOOP_TEST(test_many_at_once),
                LOOP_TEST(test_deep_stack),
                LOOP_TEST(test_stack_wiped),
                cmocka_unit_test(test_guard_page),
                LOOP_TEST(test_loop_run),
                LOOP_TEST(test_loops_in_threads),
                LOOP_TEST(test_mess),
        };

        return cmocka_run_group_tests_name("fiber", tests, NULL, NULL);
}
