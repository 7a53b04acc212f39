/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Jobs that outlive the fiber that asked for them, and batches whose end fails. */
#include <pthread.h>
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/pool.h"

/* A gate that a job waits at, so that a test decides when the job goes on. */
typedef struct Gate {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        bool reached, open;
} Gate;

#define GATE                                                                         \
        {                                                                            \
                .mutex = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER \
        }

static void gate_pass(Gate *gate)
{
        pthread_mutex_lock(&gate->mutex);
        gate->reached = true;
        pthread_cond_broadcast(&gate->cond);
        while (!gate->open)
                pthread_cond_wait(&gate->cond, &gate->mutex);
        pthread_mutex_unlock(&gate->mutex);
}

static void gate_await(Gate *gate)
{
        pthread_mutex_lock(&gate->mutex);
        while (!gate->reached)
                pthread_cond_wait(&gate->cond, &gate->mutex);
        pthread_mutex_unlock(&gate->mutex);
}

static void gate_open(Gate *gate)
{
        pthread_mutex_lock(&gate->mutex);
        gate->open = true;
        pthread_cond_broadcast(&gate->cond);
        pthread_mutex_unlock(&gate->mutex);
}

static unsigned n_run, n_freed;

typedef struct Work {
        Job job;
        int value;
        Gate *gate;
        pthread_t thread;
} Work;

static int work_run(Job *job)
{
        Work *work = CONTAINER_OF(job, Work, job);

        if (work->gate)
                gate_pass(work->gate);
        work->thread = pthread_self();
        __atomic_add_fetch(&n_run, 1, __ATOMIC_RELAXED);
        return work->value * 2;
}

static void work_free(Job *job)
{
        n_freed++;
        free(CONTAINER_OF(job, Work, job));
}

static Work *work_new(int value, Gate *gate)
{
        Work *work = calloc(1, sizeof(*work));

        assert_non_null(work);
        job_init(&work->job, work_run, work_free);
        work->value = value;
        work->gate = gate;
        return work;
}

typedef struct Asking {
        Pool *pool;
        int value;
        Gate *gate;
        uint64_t deadline;
        int r;
} Asking;

static int body_asks(void *arg)
{
        Asking *asking = arg;
        Work *work = work_new(asking->value, asking->gate);
        _cleanup_(job_unrefp) Job *job = &work->job;
        FIBER_DEADLINE(asking->deadline ? asking->deadline : USEC_INFINITY);

        asking->r = pool_run(asking->pool, job);
        if (asking->r < 0)
                return asking->r;
        assert_false(pthread_equal(work->thread, pthread_self()));
        return job->result;
}

static void reset_counts(void)
{
        n_run = n_freed = 0;
}

static void test_run(void **state)
{
        Loop *loop = *state;
        enum { N = 200 };
        Asking asking[N];
        Fiber *fibers[N];
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 3, NULL), 0);
        for (int i = 0; i < N; i++) {
                asking[i] = (Asking){ .pool = pool, .value = i };
                assert_int_equal(fiber_start(&fibers[i], "asks", body_asks, &asking[i]), 0);
        }
        check_run(loop);
        for (int i = 0; i < N; i++) {
                int result;

                assert_int_equal(fiber_join(&fibers[i], &result), 0);
                assert_int_equal(result, 2 * i);
        }
        pool_free(pool);
        assert_int_equal(n_run, N);
        assert_int_equal(n_freed, N);
}

/* The fiber goes while a thread is in its job: the job ends by itself, and is freed once and not before. */
static void test_cancel_running(void **state)
{
        Loop *loop = *state;
        Gate gate = GATE;
        Asking asking = { .value = 1, .gate = &gate };
        Fiber *fiber;
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, NULL), 0);
        asking.pool = pool;
        assert_int_equal(fiber_start(&fiber, "asks", body_asks, &asking), 0);
        check_settle(loop);
        gate_await(&gate);
        fiber_cancel(fiber);
        assert_int_equal(asking.r, -ECANCELED);
        assert_int_equal(n_run, 0);
        assert_int_equal(n_freed, 0);
        gate_open(&gate);
        while (n_freed == 0)
                assert_int_equal(loop_step(loop, 10 * USEC_PER_SEC), 1);
        assert_int_equal(n_run, 1);
        pool_free(pool);
        assert_int_equal(n_freed, 1);
}

/* Two behind one thread: the queued one is cancelled before it runs and is run all the same. */
static void test_cancel_queued(void **state)
{
        Loop *loop = *state;
        Gate gate = GATE;
        Asking first = { .value = 1, .gate = &gate }, second = { .value = 2 };
        Fiber *fibers[2];
        Pool *pool;
        int result;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, NULL), 0);
        first.pool = second.pool = pool;
        assert_int_equal(fiber_start(&fibers[0], "first", body_asks, &first), 0);
        assert_int_equal(fiber_start(&fibers[1], "second", body_asks, &second), 0);
        check_settle(loop);
        gate_await(&gate);
        fiber_cancel(fibers[1]);
        assert_int_equal(second.r, -ECANCELED);
        gate_open(&gate);
        check_run(loop);
        assert_int_equal(fiber_join(&fibers[0], &result), 0);
        assert_int_equal(result, 2);
        pool_free(pool);
        assert_int_equal(n_run, 2);
        assert_int_equal(n_freed, 2);
}

/* The job is done, the fiber woken and then cancelled before it runs. */
static void test_cancel_done(void **state)
{
        Loop *loop = *state;
        Gate gate = GATE;
        Asking asking = { .value = 1, .gate = &gate };
        Fiber *fiber;
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, NULL), 0);
        asking.pool = pool;
        assert_int_equal(fiber_start(&fiber, "asks", body_asks, &asking), 0);
        check_settle(loop);
        gate_open(&gate);
        pool_free(pool); /* waits for the thread and collects */
        assert_false(fiber_ended(fiber));
        fiber_cancel(fiber);
        assert_int_equal(n_run, 1);
        assert_int_equal(n_freed, 1);
        check_settle(loop);
}

static void test_deadline(void **state)
{
        Loop *loop = *state;
        Gate gate = GATE;
        Asking asking = { .value = 1, .gate = &gate, .deadline = USEC_PER_MSEC };
        Fiber *fiber;
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, NULL), 0);
        asking.pool = pool;
        assert_int_equal(fiber_start(&fiber, "asks", body_asks, &asking), 0);
        check_run(loop);
        assert_int_equal(asking.r, -ETIME);
        fiber_cancel(fiber);
        gate_open(&gate);
        pool_free(pool);
        assert_int_equal(n_run, 1);
        assert_int_equal(n_freed, 1);
}

static int body_asks_late(void *arg)
{
        Asking *asking = arg;
        int r = fiber_sleep(USEC_PER_HOUR);

        assert_int_equal(r, -ECANCELED);
        return body_asks(asking);
}

static void test_ask_when_cancelled(void **state)
{
        Asking asking = { .value = 1 };
        Fiber *fiber;
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, NULL), 0);
        asking.pool = pool;
        assert_int_equal(fiber_start(&fiber, "late", body_asks_late, &asking), 0);
        check_settle(*state);
        fiber_cancel(fiber);
        assert_int_equal(asking.r, -ECANCELED);
        pool_free(pool);
        assert_int_equal(n_run, 0); /* was never queued */
        assert_int_equal(n_freed, 1);
}

static void test_submit_off_fibers(void **state)
{
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 2, NULL), 0);
        for (int i = 0; i < 100; i++) {
                Work *work = work_new(i, NULL);

                pool_submit(pool, &work->job);
                job_unref(&work->job);
        }
        pool_free(pool); /* lets them run to their end */
        assert_int_equal(n_run, 100);
        assert_int_equal(n_freed, 100);
        pool_free(NULL);
}

/* --- batches -------------------------------------------------------------------------------------------------- */

typedef struct Batches {
        unsigned n_begun, n_ended, sizes[16];
        int begin_result, end_result;
        unsigned n_run_before;
} Batches;

static int batch_begin(void *userdata)
{
        Batches *b = userdata;

        b->n_begun++;
        b->n_run_before = n_run;
        return b->begin_result;
}

static int batch_end(void *userdata)
{
        Batches *b = userdata;

        b->sizes[b->n_ended++] = n_run - b->n_run_before;
        return b->end_result;
}

enum { BATCH_JOBS = 7 };

/* One job holds the thread while the others queue up behind it; then all go. Returns the results. */
static void run_batches(Loop *loop, Batches *b, unsigned max_jobs, int results[BATCH_JOBS])
{
        PoolBatch batch = { batch_begin, batch_end, b, max_jobs };
        Asking asking[BATCH_JOBS];
        Fiber *fibers[BATCH_JOBS];
        Gate gate = GATE;
        Pool *pool;

        reset_counts();
        assert_int_equal(pool_new(&pool, 1, &batch), 0);
        for (int i = 0; i < BATCH_JOBS; i++) {
                asking[i] = (Asking){ .pool = pool, .value = i, .gate = i == 0 ? &gate : NULL };
                assert_int_equal(fiber_start(&fibers[i], "asks", body_asks, &asking[i]), 0);
                check_settle(loop);
                if (i == 0 && b->begin_result == 0)
                        gate_await(&gate);
        }
        gate_open(&gate);
        check_run(loop);
        for (int i = 0; i < BATCH_JOBS; i++)
                assert_int_equal(fiber_join(&fibers[i], &results[i]), 0);
        pool_free(pool);
        assert_int_equal(n_freed, BATCH_JOBS);
}

static void test_batch(void **state)
{
        Batches b = {};
        int results[BATCH_JOBS];

        run_batches(*state, &b, 4, results);
        for (int i = 0; i < BATCH_JOBS; i++)
                assert_int_equal(results[i], 2 * i);
        assert_int_equal(b.n_begun, 3);
        assert_int_equal(b.n_ended, 3);
        assert_int_equal(b.sizes[0], 1); /* the one that held the thread */
        assert_int_equal(b.sizes[1], 4);
        assert_int_equal(b.sizes[2], 2);
}

static void test_batch_end_fails(void **state)
{
        Batches b = { .end_result = -ENOSPC };
        int results[BATCH_JOBS];

        run_batches(*state, &b, 100, results);
        for (int i = 0; i < BATCH_JOBS; i++)
                assert_int_equal(results[i], -ENOSPC); /* nobody's was committed */
        assert_int_equal(n_run, BATCH_JOBS);
        assert_int_equal(b.n_ended, 2);
}

static void test_batch_begin_fails(void **state)
{
        Batches b = { .begin_result = -EBUSY };
        int results[BATCH_JOBS];

        run_batches(*state, &b, 100, results);
        for (int i = 0; i < BATCH_JOBS; i++)
                assert_int_equal(results[i], -EBUSY);
        assert_int_equal(n_run, 0);
        assert_int_equal(b.n_ended, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                LOOP_TEST(test_run),
                LOOP_TEST(test_cancel_running),
                LOOP_TEST(test_cancel_queued),
                LOOP_TEST(test_cancel_done),
                LOOP_TEST(test_deadline),
                LOOP_TEST(test_ask_when_cancelled),
                LOOP_TEST(test_submit_off_fibers),
                LOOP_TEST(test_batch),
                LOOP_TEST(test_batch_end_fails),
                LOOP_TEST(test_batch_begin_fails),
        };

        return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
