/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fibers: stackful coroutines over one sd_event loop in one thread, so that a dialogue reads as one.
 *
 * A fiber runs until it calls something that "Suspends."; then others run. No locks are needed between
 * suspensions. Rules:
 *  - Structured: a fiber that starts fibers joins or cancels them before it returns
 *    (_cleanup_(fiber_cancelp) Fiber *child does it on every path).
 *  - fiber_cancel() ends the other fiber before it returns: every suspending call of a cancelled fiber fails
 *    at once with -ECANCELED.
 *  - Deadlines are scopes; the earliest of all enclosing ones counts, a child inherits its starter's.
 *    A suspending call that meets it, or is made after it, returns -ETIME.
 *  - What a library, a thread or the kernel keeps a pointer to lives on the heap, never on a fiber's stack. */
#pragma once

#include <systemd/sd-event.h>

#include "base/util.h"

typedef struct Fiber Fiber;
typedef struct Loop Loop;
typedef struct FdWatch FdWatch;
typedef int (*FiberFunc)(void *arg);

/* --- the loop: one for each thread that runs fibers ---------------------------------------------------- */

/* Makes the loop of this thread. Returns 0, -ENOMEM or what sd_event_new() says. */
int loop_new(Loop **ret);
/* All fibers must have ended. */
Loop *loop_free(Loop *loop);
DEFINE_CLEANUP(Loop, loop_free);
/* Borrowed. */
sd_event *loop_event(Loop *loop);
/* The loop of this thread; there must be one. */
Loop *loop_current(void);
/* Runs until sd_event_exit(); returns its code or a negative errno. With the virtual clock, an idle loop moves
 * time to the next timer instead of waiting. */
int loop_run(Loop *loop);
/* For tests in virtual time: no other thread works for this loop, so that time need not wait for any. */
void loop_alone(Loop *loop);
/* Runs one step; waits at most @timeout_usec. Returns 1 when something happened, 0 when not, negative errno. */
int loop_step(Loop *loop, uint64_t timeout_usec);
/* Number of fibers that have not ended, for tests and for the quotas. */
unsigned loop_n_fibers(Loop *loop);

/* --- fibers --------------------------------------------------------------------------------------------- */

/* Starts @func(@arg) on a fiber of its own; it runs from the loop, never inside this call. @name is borrowed for
 * the fiber's life. The caller owns the fiber and ends it with fiber_cancel() or fiber_join().
 * Returns 0, -ENOMEM. */
int fiber_start(Fiber **ret, const char *name, FiberFunc func, void *arg);
/* Waits for the end of @fiber and frees it. Suspends. Returns 0 and the function's result in @ret_result (may be
 * NULL); -ECANCELED or -ETIME when the caller is, then the fiber is still owned by the caller. */
int fiber_join(Fiber **fiber, int *ret_result);
/* Cancels @fiber, runs it to its end, frees it; one that has not run yet never runs. NULL is fine. Not for the running fiber or one that waits for
 * this very call. Works on and off fibers. Returns NULL. */
Fiber *fiber_cancel(Fiber *fiber);
DEFINE_CLEANUP(Fiber, fiber_cancel);
bool fiber_ended(const Fiber *fiber);
/* The running fiber, NULL outside of fibers. */
Fiber *fiber_current(void);
bool fiber_cancelled(void);
const char *fiber_name(const Fiber *fiber);

/* Lets others run once. Suspends. Returns 0, -ECANCELED, -ETIME. */
int fiber_yield(void);
/* Suspends for @usec. Returns 0, -ECANCELED, -ETIME (an enclosing deadline comes first). */
int fiber_sleep(uint64_t usec);

/* --- deadlines ------------------------------------------------------------------------------------------ */

typedef struct FiberDeadline {
        struct FiberDeadline *outer;
        uint64_t due;
} FiberDeadline;

void fiber_deadline_push(FiberDeadline *deadline, uint64_t usec);
void fiber_deadline_pop(FiberDeadline *deadline);
/* The deadline in force of the running fiber (clock_now() units), USEC_INFINITY for none. */
uint64_t fiber_deadline(void);

/* Until the end of the enclosing block, suspending calls fail with -ETIME @usec from now. */
#define FIBER_DEADLINE_NAMED_(name, usec)                               \
        _cleanup_(fiber_deadline_pop) _unused_ FiberDeadline name = {}; \
        fiber_deadline_push(&name, usec)
#define FIBER_DEADLINE(usec) FIBER_DEADLINE_NAMED_(CONCAT(deadline_line_, __LINE__), usec)

/* --- waiting --------------------------------------------------------------------------------------------- */

/* Waiters for something that other code on this thread will say. Zero-initialised; nobody may wait when it goes. */
typedef struct FiberQueue {
        struct FiberWaiter *first, *last;
} FiberQueue;

/* Waits for a wake; check the condition in a loop. Suspends. Returns 0, -ECANCELED, -ETIME. */
int fiber_queue_wait(FiberQueue *queue);
/* A woken fiber that is cancelled before it runs swallows the wake: for slots use wake_all. */
void fiber_queue_wake_one(FiberQueue *queue);
void fiber_queue_wake_all(FiberQueue *queue);

/* Watches @fd (borrowed; must outlive the watch) without closing it. */
int fd_watch_new(FdWatch **ret, int fd);
FdWatch *fd_watch_free(FdWatch *watch);
DEFINE_CLEANUP(FdWatch, fd_watch_free);
/* Waits for any of @events (EPOLLIN, EPOLLOUT). One fiber at a time. Suspends.
 * Returns the events seen (positive), -ECANCELED, -ETIME, negative errno. */
int fd_watch_wait(FdWatch *watch, uint32_t events);

/* --- for the libraries' callbacks ------------------------------------------------------------------------ */

/* The bare pair that all of the above is made of: a fiber suspends until somebody wakes it. Wakes may be
 * spurious. fiber_wake() is harmless on a fiber that is ready; the caller makes sure that it still lives. */
int fiber_suspend(void);
/* What fiber_suspend() would refuse with right now: -ECANCELED, -ETIME, else 0. Does not suspend. */
int fiber_may_suspend(void);
void fiber_wake(Fiber *fiber);
