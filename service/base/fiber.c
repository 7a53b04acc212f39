/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fiber.h. ucontext switches, pooled mmap'd stacks with a guard page, annotations for AddressSanitizer and
 * valgrind. Callbacks only mark a fiber ready; one deferred event source resumes the ready ones, so a fiber never
 * runs inside somebody else's callback, except that fiber_cancel() runs the cancelled one to its end. */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/clock.h"
#include "base/fiber.h"
#include "base/heap.h"
#include "base/limits.h"
#include "config.h"

#if HAVE_VALGRIND
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_UNDEFINED(p, len) ((void) (p))
#define VALGRIND_STACK_REGISTER(a, b) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void) (id))
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define HAVE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define HAVE_ASAN 1
#endif
#endif
#ifndef HAVE_ASAN
#define HAVE_ASAN 0
#endif

enum { STACKS_KEPT = 32 };

typedef struct Stack {
        struct Stack *next;
        void *map;
        size_t map_len;
        unsigned valgrind_id;
} Stack;

struct Fiber {
        const char *name;
        FiberFunc func;
        void *arg;
        int result;
        bool started, ended, cancelled, running, timed_out;
        ucontext_t context;
        Stack *stack;
        Fiber *resumer;
        FiberDeadline *deadlines;
        uint64_t deadline_inherited;
        HeapEntry timer;
        FiberQueue joiners;
        bool ready;
        Fiber *ready_next, *ready_previous;
        void *asan_stack;
};

struct Loop {
        sd_event *event;
        sd_event_source *defer, *timer;
        ucontext_t context;
        Fiber *current;
        Fiber *ready_first, *ready_last;
        Heap timers;
        uint64_t armed; /* when @timer fires; USEC_INFINITY = it is off */
        Stack *stacks;
        unsigned n_stacks, n_fibers, n_ready;
        const void *main_bottom;
        size_t main_size;
        void *asan_stack;
        bool alone; /* see loop_alone() */
};

typedef struct FiberWaiter {
        struct FiberWaiter *next, *previous;
        Fiber *fiber;
        bool woken, linked;
} FiberWaiter;

struct FdWatch {
        sd_event_source *source;
        Fiber *waiting;
        uint32_t seen;
        int fd;
};

static __thread Loop *the_loop;

/* --- stacks ---------------------------------------------------------------------------------------------- */

static size_t stack_guard(void)
{
        return (size_t) sysconf(_SC_PAGESIZE);
}

static void *stack_bottom(const Stack *stack)
{
        return (char *) stack->map + stack_guard();
}

static Stack *stack_free(Stack *stack)
{
        if (!stack)
                return NULL;
        if (stack->map) {
                VALGRIND_STACK_DEREGISTER(stack->valgrind_id);
                munmap(stack->map, stack->map_len);
        }
        free(stack);
        return NULL;
}
DEFINE_CLEANUP(Stack, stack_free);

static int stack_new(Stack **ret)
{
        _cleanup_(stack_freep) Stack *stack = calloc(1, sizeof(*stack));
        size_t len = LIMIT_STACK + stack_guard();
        void *map;

        if (!stack)
                return -ENOMEM;
        map = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1,
                   0);
        if (map == MAP_FAILED)
                return -ENOMEM;
        stack->map = map;
        stack->map_len = len;
        if (mprotect(map, stack_guard(), PROT_NONE) < 0)
                return -errno;
        stack->valgrind_id = VALGRIND_STACK_REGISTER(stack_bottom(stack), (char *) map + len);
        *ret = TAKE(stack);
        return 0;
}

static int loop_take_stack(Loop *loop, Stack **ret)
{
        Stack *stack = loop->stacks;

        if (!stack)
                return stack_new(ret);
        loop->stacks = stack->next;
        loop->n_stacks--;
        stack->next = NULL;
        *ret = stack;
        return 0;
}

static void loop_give_stack(Loop *loop, Stack *stack)
{
#if HAVE_ASAN
        /* fiber_entry() never returns; its red zones must not stay for whoever gets these pages next. */
        __asan_unpoison_memory_region(stack_bottom(stack), LIMIT_STACK);
#endif
        if (loop->n_stacks >= STACKS_KEPT) {
                stack_free(stack);
                return;
        }
        (void) VALGRIND_MAKE_MEM_UNDEFINED(stack_bottom(stack), LIMIT_STACK);
        /* What a dialogue left on its stack does not outlive it. */
        explicit_bzero((char *) stack_bottom(stack) + LIMIT_STACK - 16 * 1024, 16 * 1024);
        (void) madvise(stack_bottom(stack), LIMIT_STACK - 16 * 1024, MADV_DONTNEED);
        stack->next = loop->stacks;
        loop->stacks = stack;
        loop->n_stacks++;
}

/* --- switching ------------------------------------------------------------------------------------------- */

static void switch_begin(void **save, const void *bottom, size_t size)
{
#if HAVE_ASAN
        __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}

static void switch_end(void *saved, const void **bottom, size_t *size)
{
#if HAVE_ASAN
        __sanitizer_finish_switch_fiber(saved, bottom, size);
#endif
}

static void ready_remove(Loop *loop, Fiber *fiber);

static void fiber_entry(unsigned high, unsigned low)
{
        Fiber *fiber = (Fiber *) (uintptr_t) (((uint64_t) high << 32) | low);
        Loop *loop = the_loop;
        const void *bottom = NULL;
        size_t size = 0;
        Fiber *back;

        switch_end(NULL, &bottom, &size);
        if (!fiber->resumer) {
                loop->main_bottom = bottom;
                loop->main_size = size;
        }
        fiber->result = fiber->func(fiber->arg);
        fiber->ended = true;
        ready_remove(loop, fiber); /* a callback that came at once has woken it while it ran */
        fiber_queue_wake_all(&fiber->joiners);

        back = fiber->resumer;
        if (back)
                switch_begin(NULL, stack_bottom(back->stack), LIMIT_STACK);
        else
                switch_begin(NULL, loop->main_bottom, loop->main_size);
        setcontext(back ? &back->context : &loop->context);
        abort();
}

static void fiber_resume(Fiber *fiber)
{
        Loop *loop = the_loop;
        Fiber *previous = loop->current;
        void **save = previous ? &previous->asan_stack : &loop->asan_stack;

        assert(!fiber->running && !fiber->ended);
        fiber->resumer = previous;
        fiber->running = fiber->started = true;
        loop->current = fiber;
        switch_begin(save, stack_bottom(fiber->stack), LIMIT_STACK);
        swapcontext(previous ? &previous->context : &loop->context, &fiber->context);
        switch_end(*save, NULL, NULL);
        loop->current = previous;
        fiber->running = false;
        if (fiber->ended) {
                loop_give_stack(loop, TAKE(fiber->stack));
                loop->n_fibers--;
        }
}

static void fiber_switch_out(Fiber *fiber)
{
        Fiber *back = fiber->resumer;
        const void *bottom = NULL;
        size_t size = 0;

        if (back)
                switch_begin(&fiber->asan_stack, stack_bottom(back->stack), LIMIT_STACK);
        else
                switch_begin(&fiber->asan_stack, the_loop->main_bottom, the_loop->main_size);
        swapcontext(&fiber->context, back ? &back->context : &the_loop->context);
        switch_end(fiber->asan_stack, &bottom, &size);
        if (!fiber->resumer && bottom) {
                the_loop->main_bottom = bottom;
                the_loop->main_size = size;
        }
}

/* --- readiness and timers -------------------------------------------------------------------------------- */

static void ready_remove(Loop *loop, Fiber *fiber)
{
        if (!fiber->ready)
                return;
        if (fiber->ready_previous)
                fiber->ready_previous->ready_next = fiber->ready_next;
        else
                loop->ready_first = fiber->ready_next;
        if (fiber->ready_next)
                fiber->ready_next->ready_previous = fiber->ready_previous;
        else
                loop->ready_last = fiber->ready_previous;
        fiber->ready_next = fiber->ready_previous = NULL;
        fiber->ready = false;
        loop->n_ready--;
}

void fiber_wake(Fiber *fiber)
{
        Loop *loop = the_loop;

        if (fiber->ready || fiber->ended)
                return;
        fiber->ready = true;
        loop->n_ready++;
        fiber->ready_previous = loop->ready_last;
        if (loop->ready_last)
                loop->ready_last->ready_next = fiber;
        else
                loop->ready_first = fiber;
        loop->ready_last = fiber;
        (void) sd_event_source_set_enabled(loop->defer, SD_EVENT_ON);
}

static int loop_on_ready(sd_event_source *source, void *userdata);

/* sd-event serves what has been pending longest, and a deferred source stays pending from its birth on: fibers
 * that keep each other ready would lock out all timers and descriptors. A new source is the youngest. */
static void loop_defer_again(Loop *loop)
{
        sd_event_source *defer = NULL;

        if (sd_event_add_defer(loop->event, &defer, loop_on_ready, loop) < 0)
                return; /* no memory: unfair is better than stuck */
        sd_event_source_disable_unref(loop->defer);
        loop->defer = defer;
        (void) sd_event_source_set_enabled(loop->defer, SD_EVENT_ON);
}

static int loop_on_ready(sd_event_source *source, void *userdata)
{
        Loop *loop = userdata;

        /* Only those that are ready now: a fiber that yields must let the events in. */
        for (unsigned n = loop->n_ready; n > 0 && loop->ready_first; n--) {
                Fiber *fiber = loop->ready_first;

                ready_remove(loop, fiber);
                fiber_resume(fiber);
        }
        if (loop->ready_first)
                loop_defer_again(loop);
        else
                (void) sd_event_source_set_enabled(loop->defer, SD_EVENT_OFF);
        return 0;
}

static void loop_fire_timers(Loop *loop)
{
        uint64_t now = clock_now();
        HeapEntry *entry;

        while ((entry = heap_first(&loop->timers)) && entry->due <= now) {
                Fiber *fiber = CONTAINER_OF(entry, Fiber, timer);

                heap_remove(&loop->timers, entry);
                fiber->timed_out = true;
                fiber_wake(fiber);
        }
}

/* A timer that fires too early looks again and is cheap. Moving it later would cost a system call for each wait
 * and take it off the pending ones: under load it would never be served. */
static void loop_arm(Loop *loop)
{
        HeapEntry *first = heap_first(&loop->timers);

        if (!first || clock_virtual()) {
                (void) sd_event_source_set_enabled(loop->timer, SD_EVENT_OFF);
                loop->armed = USEC_INFINITY;
                return;
        }
        if (loop->armed <= first->due)
                return;
        loop->armed = first->due;
        (void) sd_event_source_set_time(loop->timer, first->due);
        (void) sd_event_source_set_enabled(loop->timer, SD_EVENT_ONESHOT);
}

static int loop_on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
        Loop *loop = userdata;

        loop->armed = USEC_INFINITY;
        loop_fire_timers(loop);
        loop_arm(loop);
        return 0;
}

/* --- the loop -------------------------------------------------------------------------------------------- */

Loop *loop_free(Loop *loop)
{
        if (!loop)
                return NULL;
        assert(loop->n_fibers == 0);
        while (loop->stacks) {
                Stack *stack = loop->stacks;
                loop->stacks = stack->next;
                stack_free(stack);
        }
        heap_deinit(&loop->timers);
        sd_event_source_unref(loop->defer);
        sd_event_source_unref(loop->timer);
        sd_event_unref(loop->event);
        if (the_loop == loop)
                the_loop = NULL;
        free(loop);
        return NULL;
}

int loop_new(Loop **ret)
{
        _cleanup_(loop_freep) Loop *loop = calloc(1, sizeof(*loop));
        int r;

        if (!loop)
                return -ENOMEM;
        assert(!the_loop);
        loop->armed = USEC_INFINITY;
        r = sd_event_new(&loop->event);
        if (r < 0)
                return r;
        r = sd_event_add_defer(loop->event, &loop->defer, loop_on_ready, loop);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(loop->defer, SD_EVENT_OFF);
        if (r < 0)
                return r;
        r = sd_event_add_time(loop->event, &loop->timer, CLOCK_BOOTTIME, UINT64_MAX, USEC_PER_MSEC,
                              loop_on_timer, loop);
        if (r < 0)
                return r;
        the_loop = loop;
        *ret = TAKE(loop);
        return 0;
}

sd_event *loop_event(Loop *loop)
{
        return loop->event;
}

Loop *loop_current(void)
{
        assert(the_loop);
        return the_loop;
}

unsigned loop_n_fibers(Loop *loop)
{
        return loop->n_fibers;
}

void loop_alone(Loop *loop)
{
        loop->alone = true;
}

int loop_step(Loop *loop, uint64_t timeout_usec)
{
        HeapEntry *first;
        int r;

        if (!clock_virtual())
                return sd_event_run(loop->event, timeout_usec);
        /* Other threads work in real time: give them a moment before time moves on. */
        r = sd_event_run(loop->event, loop->alone ? 0 : USEC_PER_MSEC);
        if (r != 0)
                return r;
        first = heap_first(&loop->timers);
        if (!first)
                return sd_event_run(loop->event, timeout_usec);
        clock_virtual_advance(first->due);
        loop_fire_timers(loop);
        return 1;
}

int loop_run(Loop *loop)
{
        int code = 0, r;

        while (sd_event_get_state(loop->event) != SD_EVENT_FINISHED) {
                r = loop_step(loop, USEC_INFINITY);
                if (r < 0)
                        return r;
        }
        r = sd_event_get_exit_code(loop->event, &code);
        return r < 0 ? r : code;
}

/* --- fibers ---------------------------------------------------------------------------------------------- */

static Fiber *fiber_free(Fiber *fiber)
{
        if (!fiber)
                return NULL;
        assert(!fiber->joiners.first);
        ready_remove(the_loop, fiber);
        heap_remove(&the_loop->timers, &fiber->timer);
        stack_free(fiber->stack);
        free(fiber);
        return NULL;
}
DEFINE_CLEANUP(Fiber, fiber_free);

/* Apart from fiber_start(): getcontext() returns twice in the compiler's eyes. */
static int fiber_prepare(Fiber *fiber)
{
        uint64_t value = (uintptr_t) fiber;

        if (getcontext(&fiber->context) < 0)
                return -errno;
        fiber->context.uc_stack.ss_sp = stack_bottom(fiber->stack);
        fiber->context.uc_stack.ss_size = LIMIT_STACK;
        makecontext(&fiber->context, (void (*)(void)) fiber_entry, 2, (unsigned) (value >> 32),
                    (unsigned) value);
        return 0;
}

int fiber_start(Fiber **ret, const char *name, FiberFunc func, void *arg)
{
        _cleanup_(fiber_freep) Fiber *fiber = calloc(1, sizeof(*fiber));
        int r;

        if (!fiber)
                return -ENOMEM;
        r = loop_take_stack(the_loop, &fiber->stack);
        if (r < 0)
                return r;
        fiber->name = name;
        fiber->func = func;
        fiber->arg = arg;
        fiber->deadline_inherited = fiber_deadline();
        r = fiber_prepare(fiber);
        if (r < 0)
                return r;
        the_loop->n_fibers++;
        fiber_wake(fiber);
        *ret = TAKE(fiber);
        return 0;
}

int fiber_join(Fiber **fiber, int *ret_result)
{
        Fiber *f = *fiber;
        int r;

        while (!f->ended) {
                r = fiber_queue_wait(&f->joiners);
                if (r < 0)
                        return r;
        }
        if (ret_result)
                *ret_result = f->result;
        *fiber = fiber_free(f);
        return 0;
}

Fiber *fiber_cancel(Fiber *fiber)
{
        if (!fiber)
                return NULL;
        if (!fiber->ended) {
                fiber->cancelled = true;
                ready_remove(the_loop, fiber);
                if (!fiber->started) {
                        fiber->ended = true;
                        fiber->result = -ECANCELED;
                        the_loop->n_fibers--;
                        fiber_queue_wake_all(&fiber->joiners);
                } else
                        fiber_resume(fiber);
                assert(fiber->ended); /* a cancelled fiber cannot suspend */
        }
        return fiber_free(fiber);
}

bool fiber_ended(const Fiber *fiber)
{
        return fiber->ended;
}

Fiber *fiber_current(void)
{
        return the_loop ? the_loop->current : NULL;
}

bool fiber_cancelled(void)
{
        Fiber *fiber = fiber_current();

        return fiber && fiber->cancelled;
}

const char *fiber_name(const Fiber *fiber)
{
        return fiber->name;
}

/* Asked before every wait, so that a peer who always has something to say cannot talk past a deadline. */
int fiber_may_suspend(void)
{
        uint64_t deadline;

        assert(fiber_current()); /* suspending calls belong on fibers */
        if (fiber_cancelled())
                return -ECANCELED;
        deadline = fiber_deadline();
        return deadline != USEC_INFINITY && deadline <= clock_now() ? -ETIME : 0;
}

static int fiber_suspend_until(uint64_t due)
{
        Loop *loop = the_loop;
        Fiber *fiber = loop->current;
        int r;

        r = fiber_may_suspend();
        if (r < 0)
                return r;
        fiber->timed_out = false;
        if (due != USEC_INFINITY) {
                r = heap_set(&loop->timers, &fiber->timer, due);
                if (r < 0)
                        return r;
                loop_arm(loop);
        }
        fiber_switch_out(fiber);
        heap_remove(&loop->timers, &fiber->timer);
        if (fiber->cancelled)
                return -ECANCELED;
        return fiber->timed_out ? -ETIME : 0;
}

int fiber_suspend(void)
{
        return fiber_suspend_until(fiber_deadline());
}

int fiber_yield(void)
{
        int r = fiber_may_suspend();

        if (r < 0)
                return r;
        fiber_wake(the_loop->current);
        return fiber_suspend();
}

int fiber_sleep(uint64_t usec)
{
        uint64_t now = clock_now(), due = usec > USEC_INFINITY - now ? USEC_INFINITY : now + usec;
        uint64_t deadline = fiber_deadline();
        int r = fiber_may_suspend();

        while (r == 0) {
                r = fiber_suspend_until(MIN(due, deadline));
                if (r == -ETIME && due <= deadline)
                        return 0;
        }
        return r;
}

/* --- deadlines ------------------------------------------------------------------------------------------- */

void fiber_deadline_push(FiberDeadline *deadline, uint64_t usec)
{
        Fiber *fiber = the_loop->current;
        uint64_t now = clock_now();

        assert(fiber);
        deadline->outer = fiber->deadlines;
        deadline->due = usec > USEC_INFINITY - now ? USEC_INFINITY : now + usec;
        fiber->deadlines = deadline;
}

void fiber_deadline_pop(FiberDeadline *deadline)
{
        Fiber *fiber = the_loop->current;

        assert(fiber && fiber->deadlines == deadline);
        fiber->deadlines = deadline->outer;
}

uint64_t fiber_deadline(void)
{
        Fiber *fiber = the_loop->current;
        uint64_t due;

        if (!fiber)
                return USEC_INFINITY;
        due = fiber->deadline_inherited;
        for (FiberDeadline *d = fiber->deadlines; d; d = d->outer)
                due = MIN(due, d->due);
        return due;
}

/* --- queues ---------------------------------------------------------------------------------------------- */

static void queue_unlink(FiberQueue *queue, FiberWaiter *waiter)
{
        if (!waiter->linked)
                return;
        if (waiter->previous)
                waiter->previous->next = waiter->next;
        else
                queue->first = waiter->next;
        if (waiter->next)
                waiter->next->previous = waiter->previous;
        else
                queue->last = waiter->previous;
        waiter->linked = false;
}

int fiber_queue_wait(FiberQueue *queue)
{
        FiberWaiter waiter = { .fiber = the_loop->current, .linked = true };
        int r = 0;

        waiter.previous = queue->last;
        if (queue->last)
                queue->last->next = &waiter;
        else
                queue->first = &waiter;
        queue->last = &waiter;
        while (!waiter.woken && r == 0)
                r = fiber_suspend();
        /* A woken waiter was unlinked by the one who woke it: the queue itself may be gone by now. */
        queue_unlink(queue, &waiter);
        return waiter.woken && r != -ECANCELED ? 0 : r;
}

void fiber_queue_wake_one(FiberQueue *queue)
{
        FiberWaiter *waiter = queue->first;

        if (!waiter)
                return;
        queue_unlink(queue, waiter);
        waiter->woken = true;
        fiber_wake(waiter->fiber);
}

void fiber_queue_wake_all(FiberQueue *queue)
{
        while (queue->first)
                fiber_queue_wake_one(queue);
}

/* --- descriptors ----------------------------------------------------------------------------------------- */

static int fd_watch_on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
        FdWatch *watch = userdata;

        watch->seen = revents;
        if (watch->waiting)
                fiber_wake(watch->waiting);
        return 0;
}

FdWatch *fd_watch_free(FdWatch *watch)
{
        if (!watch)
                return NULL;
        assert(!watch->waiting);
        sd_event_source_disable_unref(watch->source);
        free(watch);
        return NULL;
}

int fd_watch_new(FdWatch **ret, int fd)
{
        _cleanup_(fd_watch_freep) FdWatch *watch = calloc(1, sizeof(*watch));
        int r;

        if (!watch)
                return -ENOMEM;
        watch->fd = fd;
        r = sd_event_add_io(the_loop->event, &watch->source, fd, EPOLLIN, fd_watch_on_io, watch);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
        if (r < 0)
                return r;
        *ret = TAKE(watch);
        return 0;
}

int fd_watch_wait(FdWatch *watch, uint32_t events)
{
        int r;

        assert(!watch->waiting);
        r = fiber_may_suspend();
        if (r < 0)
                return r;
        r = sd_event_source_set_io_events(watch->source, events);
        if (r < 0)
                return r;
        r = sd_event_source_set_enabled(watch->source, SD_EVENT_ONESHOT);
        if (r < 0)
                return r;
        watch->seen = 0;
        watch->waiting = the_loop->current;
        do
                r = fiber_suspend();
        while (r == 0 && !watch->seen);
        watch->waiting = NULL;
        (void) sd_event_source_set_enabled(watch->source, SD_EVENT_OFF);
        if (r == -ECANCELED)
                return r;
        return watch->seen ? (int) watch->seen : r;
}
