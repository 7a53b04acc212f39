/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Worker threads for what blocks (fsync, key derivation, SQLite). A job lives on the heap and is counted: the
 * fiber that waits for it may be cancelled while a thread still works on it; the job then ends by itself. */
#pragma once

#include "base/fiber.h"

typedef struct Pool Pool;
typedef struct Job Job;

/* The head of a job; embed it first in a heap-allocated struct. Threads see only the job. */
struct Job {
        int (*run)(Job *job);   /* on a worker thread; its value becomes @result */
        void (*free)(Job *job); /* frees the whole struct; on whichever thread drops it last */
        int result;             /* valid after pool_run() returned 0 */
        /* private */
        unsigned n_ref;
        Job *next;
        Fiber *waiting;
        bool done;
};

/* A pool with one thread can treat the jobs that are queued at one moment as a batch (the store commits them as
 * a group). @begin runs before them, @end after; if @end returns negative, every job's result becomes that. Both
 * run on the worker thread. */
typedef struct PoolBatch {
        int (*begin)(void *userdata);
        int (*end)(void *userdata);
        void *userdata;
        unsigned max_jobs;
} PoolBatch;

/* Starts @n_threads for the loop of this thread. @batch may be NULL. Returns 0, -ENOMEM, -EAGAIN. */
int pool_new(Pool **ret, unsigned n_threads, const PoolBatch *batch);
/* Lets the queued jobs run to their end, then stops the threads. */
Pool *pool_free(Pool *pool);
DEFINE_CLEANUP(Pool, pool_free);

/* Sets up the head with one reference. */
void job_init(Job *job, int (*run)(Job *), void (*free)(Job *));
Job *job_unref(Job *job);
DEFINE_CLEANUP(Job, job_unref);

/* Runs @job (borrowed; the pool takes a reference of its own) and waits. Suspends.
 * Returns 0: done, see job->result. -ECANCELED, -ETIME: the job goes on or will be run without us, or was not even
 * queued because the call came after the cancel or the deadline. */
int pool_run(Pool *pool, Job *job);
/* Queues @job without waiting for it. Off fibers too. */
void pool_submit(Pool *pool, Job *job);
