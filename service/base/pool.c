/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pool.h. An eventfd tells the loop that finished jobs wait to be noticed; no other word crosses threads. */
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/pool.h"

typedef struct JobList {
        Job *first, *last;
} JobList;

struct Pool {
        pthread_mutex_t mutex;
        pthread_cond_t cond;
        JobList queued, finished;
        bool stopping;
        PoolBatch batch;
        pthread_t *threads;
        unsigned n_threads;
        int event_fd;
        sd_event_source *source;
};

static void list_append(JobList *list, Job *job)
{
        job->next = NULL;
        if (list->last)
                list->last->next = job;
        else
                list->first = job;
        list->last = job;
}

static Job *list_pop(JobList *list)
{
        Job *job = list->first;

        if (!job)
                return NULL;
        list->first = job->next;
        if (!list->first)
                list->last = NULL;
        job->next = NULL;
        return job;
}

void job_init(Job *job, int (*run)(Job *), void (*free_func)(Job *))
{
        *job = (Job){ .run = run, .free = free_func, .n_ref = 1 };
}

Job *job_unref(Job *job)
{
        if (job && __atomic_sub_fetch(&job->n_ref, 1, __ATOMIC_ACQ_REL) == 0)
                job->free(job);
        return NULL;
}

/* Takes what one turn of a thread works on: one job, or all that are queued when they make a batch. */
static JobList pool_take(Pool *pool)
{
        JobList taken = {};
        unsigned max = pool->batch.begin ? pool->batch.max_jobs : 1;
        Job *job;

        for (unsigned n = 0; n < max && (job = list_pop(&pool->queued)); n++)
                list_append(&taken, job);
        return taken;
}

static void pool_work(Pool *pool, JobList *taken)
{
        int r = pool->batch.begin ? pool->batch.begin(pool->batch.userdata) : 0;
        int begun = r;

        for (Job *job = taken->first; job; job = job->next)
                job->result = r < 0 ? r : job->run(job);
        if (!pool->batch.end || begun < 0)
                return;
        r = pool->batch.end(pool->batch.userdata);
        for (Job *job = taken->first; job && r < 0; job = job->next)
                job->result = r;
}

static void *pool_thread(void *arg)
{
        Pool *pool = arg;

        pthread_mutex_lock(&pool->mutex);
        for (;;) {
                JobList taken = pool_take(pool);
                Job *job;

                if (!taken.first) {
                        if (pool->stopping)
                                break;
                        pthread_cond_wait(&pool->cond, &pool->mutex);
                        continue;
                }
                pthread_mutex_unlock(&pool->mutex);
                pool_work(pool, &taken);
                pthread_mutex_lock(&pool->mutex);
                while ((job = list_pop(&taken)))
                        list_append(&pool->finished, job);
                (void) eventfd_write(pool->event_fd, 1);
        }
        pthread_mutex_unlock(&pool->mutex);
        return NULL;
}

static void pool_collect(Pool *pool)
{
        JobList finished;
        Job *job;

        pthread_mutex_lock(&pool->mutex);
        finished = pool->finished;
        pool->finished = (JobList){};
        pthread_mutex_unlock(&pool->mutex);
        while ((job = list_pop(&finished))) {
                job->done = true;
                if (job->waiting)
                        fiber_wake(job->waiting);
                job_unref(job);
        }
}

static int pool_on_finished(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        eventfd_t value;

        (void) eventfd_read(fd, &value);
        pool_collect(userdata);
        return 0;
}

static int pool_start_threads(Pool *pool, unsigned n_threads)
{
        sigset_t all, old;
        int r = 0;

        pool->threads = calloc(n_threads, sizeof(*pool->threads));
        if (!pool->threads)
                return -ENOMEM;
        sigfillset(&all); /* signals belong to the loop */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (pool->n_threads < n_threads && r == 0) {
                r = -pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread, pool);
                if (r == 0)
                        pool->n_threads++;
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return r;
}

int pool_new(Pool **ret, unsigned n_threads, const PoolBatch *batch)
{
        _cleanup_(pool_freep) Pool *pool = calloc(1, sizeof(*pool));
        int r;

        if (!pool)
                return -ENOMEM;
        assert(!batch || (n_threads == 1 && batch->max_jobs > 0));
        pthread_mutex_init(&pool->mutex, NULL);
        pthread_cond_init(&pool->cond, NULL);
        if (batch)
                pool->batch = *batch;
        pool->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pool->event_fd < 0)
                return -errno;
        r = sd_event_add_io(loop_event(loop_current()), &pool->source, pool->event_fd, EPOLLIN,
                            pool_on_finished, pool);
        if (r < 0)
                return r;
        r = pool_start_threads(pool, n_threads);
        if (r < 0)
                return r;
        *ret = TAKE(pool);
        return 0;
}

Pool *pool_free(Pool *pool)
{
        if (!pool)
                return NULL;
        pthread_mutex_lock(&pool->mutex);
        pool->stopping = true;
        pthread_cond_broadcast(&pool->cond);
        pthread_mutex_unlock(&pool->mutex);
        for (unsigned i = 0; i < pool->n_threads; i++)
                pthread_join(pool->threads[i], NULL);
        pool_collect(pool);
        sd_event_source_disable_unref(pool->source);
        fd_close(pool->event_fd);
        pthread_cond_destroy(&pool->cond);
        pthread_mutex_destroy(&pool->mutex);
        free(pool->threads);
        free(pool);
        return NULL;
}

void pool_submit(Pool *pool, Job *job)
{
        __atomic_add_fetch(&job->n_ref, 1, __ATOMIC_ACQ_REL);
        job->done = false;
        pthread_mutex_lock(&pool->mutex);
        list_append(&pool->queued, job);
        pthread_cond_signal(&pool->cond);
        pthread_mutex_unlock(&pool->mutex);
}

int pool_run(Pool *pool, Job *job)
{
        int r = fiber_may_suspend();

        if (r < 0)
                return r;
        job->waiting = fiber_current();
        pool_submit(pool, job);
        while (!job->done && r == 0)
                r = fiber_suspend();
        job->waiting = NULL;
        return job->done ? 0 : r;
}
