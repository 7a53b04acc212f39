/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All time of the program. Durations and due times are CLOCK_BOOTTIME, so that suspended time counts;
 * what people read and what is stored is CLOCK_REALTIME. Tests may run the first one virtually. */
#pragma once

#include "base/util.h"

/* Microseconds since boot, suspend included; virtual time when a test asked for it. */
uint64_t clock_now(void);

/* Microseconds since 1970. In virtual time it advances with clock_now(). */
uint64_t clock_real(void);

/* For tests: from now on time stands still and is moved by clock_virtual_advance() or by an idle loop. */
void clock_virtual_start(uint64_t now_usec, uint64_t real_usec);
void clock_virtual_stop(void);
bool clock_virtual(void);
/* Moves virtual time forward to @usec; earlier values are ignored. */
void clock_virtual_advance(uint64_t usec);
