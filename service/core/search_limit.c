/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How often one user may let us search and probe. A service that connects to whatever name a local user gives is a tool for scanning and for
 * hiding behind; setups are few at a time, this bounds how many follow each other. */
#include "base/clock.h"
#include "core/core_internal.h"

enum { USERS_MAX = 4096 };

/* A bucket of tokens in microseconds: one search costs a minute divided by how many there may be. */
struct Searches {
        uid_t uid;
        uint64_t spent_until;
};

/* A bucket that has run empty says nothing any more: its place is free. */
static struct Searches *searches_find(Core *core, uid_t uid, uint64_t now)
{
        struct Searches *idle = NULL, *grown;

        for (size_t i = 0; i < core->n_searches; i++) {
                if (core->searches[i].uid == uid)
                        return &core->searches[i];
                if (core->searches[i].spent_until <= now)
                        idle = &core->searches[i];
        }
        if (!idle && core->n_searches < USERS_MAX) {
                grown = reallocarray(core->searches, core->n_searches + 1, sizeof(*grown));
                if (!grown)
                        return NULL;
                core->searches = grown;
                idle = &grown[core->n_searches++];
        }
        if (idle)
                *idle = (struct Searches){ .uid = uid };
        return idle;
}

int core_search_allowed(Core *core, uid_t uid)
{
        uint64_t now = clock_now(), cost = USEC_PER_MINUTE / core->config->searches_per_minute;
        struct Searches *searches;

        if (uid == 0 || core->config->user)
                return 1; /* they need no service of ours to connect to things */
        searches = searches_find(core, uid, now);
        if (!searches)
                return core->n_searches >= USERS_MAX ? 0 : -ENOMEM;
        searches->spent_until = MAX(searches->spent_until, now);
        if (searches->spent_until + cost > now + USEC_PER_MINUTE)
                return 0;
        searches->spent_until += cost;
        return 1;
}
