/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few macros that every file uses: cleanup attributes, handing over, units. Not a place for functions. */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

/* Defines fp(): the cleanup function of a type whose free function copes with NULL and returns NULL. */
#define DEFINE_CLEANUP(type, f)                    \
        static inline _unused_ void f##p(type **p) \
        {                                          \
                *p = f(*p);                        \
        }                                          \
        struct f##_semicolon

/* Hands a pointer over: its value, and the variable is NULL from then on. */
#define TAKE(p)                         \
        ({                              \
                __typeof__(p) t_ = (p); \
                (p) = NULL;             \
                t_;                     \
        })

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CONTAINER_OF(p, type, member) ((type *) ((char *) (p) -offsetof(type, member)))
#define CONCAT_(a, b) a##b
#define CONCAT(a, b) CONCAT_(a, b)

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)
#define USEC_INFINITY UINT64_MAX

/* For a pointer to anything that malloc() made. */
static inline void free_pointer(void *p)
{
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(free_pointer)

/* close() that keeps errno, for cleanup and error paths. Returns -1, so that fd = fd_close(fd). */
static inline int fd_close(int fd)
{
        if (fd >= 0) {
                int e = errno;
                close(fd);
                errno = e;
        }
        return -1;
}
static inline void fd_closep(int *fd)
{
        *fd = fd_close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)
