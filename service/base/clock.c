/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See clock.h. The virtual clock is the one mutable global of this floor beside the loop: time is global. */
#include <time.h>

#include "base/clock.h"

static struct {
        bool on;
        uint64_t now, real_offset;
} virtual;

static uint64_t clock_get(clockid_t id)
{
        struct timespec ts;

        if (clock_gettime(id, &ts) < 0)
                abort(); /* the kernel has both clocks since 2.6.39 */
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

uint64_t clock_now(void)
{
        return virtual.on ? virtual.now : clock_get(CLOCK_BOOTTIME);
}

uint64_t clock_real(void)
{
        return virtual.on ? virtual.now + virtual.real_offset : clock_get(CLOCK_REALTIME);
}

void clock_virtual_start(uint64_t now_usec, uint64_t real_usec)
{
        virtual.on = true;
        virtual.now = now_usec;
        virtual.real_offset = real_usec - now_usec;
}

void clock_virtual_stop(void)
{
        virtual.on = false;
}

bool clock_virtual(void)
{
        return virtual.on;
}

void clock_virtual_advance(uint64_t usec)
{
        virtual.now = MAX(virtual.now, usec);
}
