/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The few macros that the client's files share. The client sees nothing of service/, so they are said again here. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))

/* Hands a pointer over: its value, and the variable is NULL from then on. */
#define TAKE(p)                         \
        ({                              \
                __typeof__(p) t_ = (p); \
                (p) = NULL;             \
                t_;                     \
        })

#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

static inline void free_charp(char **p)
{
        free(*p);
}
#define _cleanup_free_ _cleanup_(free_charp)

static inline void fd_closep(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}
#define _cleanup_close_ _cleanup_(fd_closep)
