/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Accounts of one provider (or of one host that is no provider's) share a lane: so many dialogues at the same time, so many logins a
 * minute, and whoever is due waits in line for his turn. Lanes do not wait for one another: a slow provider holds up its own. */
#pragma once

#include "base/heap.h"
#include "core/core.h"

typedef struct Lane Lane;
typedef struct Lanes Lanes;

int lanes_new(Lanes **ret, const Config *config);
/* No account may be in it any more. */
Lanes *lanes_free(Lanes *lanes);

/* Puts a due account in line; nothing happens when it waits already. Returns 0, -ENOMEM. */
int lanes_wait(Lanes *lanes, Account *account);
/* Takes it out of the line, if it is in one. */
void lanes_leave(Lanes *lanes, Account *account);
/* The account whose turn it is, out of the line and counted as running; NULL when nobody's is. Lanes take turns. */
Account *lanes_next(Lanes *lanes, uint64_t now);
/* Its dialogue is over. */
void lanes_done(Lanes *lanes, Account *account);
/* When lanes_next() may have somebody; USEC_INFINITY: not before something else happens. */
uint64_t lanes_due(const Lanes *lanes);
size_t lanes_n_running(const Lanes *lanes);
