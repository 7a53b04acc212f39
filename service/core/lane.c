/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See lane.h. A lane exists while somebody waits or runs in it. Those that could start somebody are in a heap, by the time at which
 * they may: the gap between two logins is what makes them take turns. */
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "core/lane.h"

enum { LANE_BUCKETS = 1024 };

struct Lane {
        char *name;
        Lane *next; /* in its bucket */
        uint64_t n_running;
        Account *first, *last; /* in line */
        HeapEntry due;         /* in the heap while it could start somebody */
        uint64_t next_login_usec;
};

struct Lanes {
        const Config *config;
        Heap heap;
        size_t n_running;
        Lane *buckets[LANE_BUCKETS];
};

int lanes_new(Lanes **ret, const Config *config)
{
        Lanes *lanes = calloc(1, sizeof(*lanes));

        if (!lanes)
                return -ENOMEM;
        lanes->config = config;
        *ret = lanes;
        return 0;
}

Lanes *lanes_free(Lanes *lanes)
{
        if (!lanes)
                return NULL;
        for (size_t i = 0; i < LANE_BUCKETS; i++)
                while (lanes->buckets[i]) {
                        Lane *lane = lanes->buckets[i];

                        lanes->buckets[i] = lane->next;
                        heap_remove(&lanes->heap, &lane->due);
                        free(lane->name);
                        free(lane);
                }
        heap_deinit(&lanes->heap);
        free(lanes);
        return NULL;
}

/* FNV-1a; names come from the administrator and from providers, and a long bucket is only slow. */
static size_t bucket_of(const char *name)
{
        uint64_t hash = UINT64_C(14695981039346656037);

        for (; *name; name++)
                hash = (hash ^ (uint8_t) *name) * UINT64_C(1099511628211);
        return hash % LANE_BUCKETS;
}

static int lane_get(Lanes *lanes, const char *name, Lane **ret)
{
        Lane **at = &lanes->buckets[bucket_of(name)], *lane;

        for (lane = *at; lane; lane = lane->next)
                if (text_equal(lane->name, name)) {
                        *ret = lane;
                        return 0;
                }
        lane = calloc(1, sizeof(*lane));
        if (!lane || text_set(&lane->name, name) < 0) {
                free(lane);
                return -ENOMEM;
        }
        lane->next = *at;
        *at = *ret = lane;
        return 0;
}

/* In the heap or out of it, or gone, as its state asks for. One that nobody needs stays until its next login may be. */
static int lane_settle(Lanes *lanes, Lane *lane, uint64_t now)
{
        Lane **at = &lanes->buckets[bucket_of(lane->name)];

        if (lane->first && lane->n_running < lanes->config->dialogues_per_host)
                return heap_set(&lanes->heap, &lane->due, lane->next_login_usec);
        heap_remove(&lanes->heap, &lane->due);
        if (lane->first || lane->n_running > 0 || lane->next_login_usec > now)
                return 0;
        while (*at != lane)
                at = &(*at)->next;
        *at = lane->next;
        free(lane->name);
        free(lane);
        return 0;
}

int lanes_wait(Lanes *lanes, Account *account)
{
        Lane *lane;
        int r;

        if (account->waiting)
                return 0;
        r = lane_get(lanes, core_lane_name(account->core, account->record.incoming.host), &lane);
        if (r < 0)
                return r;
        account->lane = lane;
        account->waiting = true;
        account->line_next = NULL;
        account->line_before = lane->last;
        if (lane->last)
                lane->last->line_next = account;
        else
                lane->first = account;
        lane->last = account;
        return lane_settle(lanes, lane, clock_now());
}

static void line_leave(Lane *lane, Account *account)
{
        if (account->line_before)
                account->line_before->line_next = account->line_next;
        else
                lane->first = account->line_next;
        if (account->line_next)
                account->line_next->line_before = account->line_before;
        else
                lane->last = account->line_before;
        account->line_next = account->line_before = NULL;
        account->waiting = false;
}

void lanes_leave(Lanes *lanes, Account *account)
{
        Lane *lane = account->lane;

        if (!account->waiting)
                return;
        line_leave(lane, account);
        account->lane = NULL;
        (void) lane_settle(lanes, lane, clock_now());
}

Account *lanes_next(Lanes *lanes, uint64_t now)
{
        HeapEntry *entry = heap_first(&lanes->heap);
        Account *account;
        Lane *lane;

        if (!entry || entry->due > now || lanes->n_running >= lanes->config->dialogues)
                return NULL;
        lane = CONTAINER_OF(entry, Lane, due);
        account = lane->first;
        line_leave(lane, account);
        lane->n_running++;
        lanes->n_running++;
        lane->next_login_usec = now + USEC_PER_MINUTE / lanes->config->logins_per_minute;
        (void) lane_settle(lanes, lane, now);
        return account;
}

void lanes_done(Lanes *lanes, Account *account)
{
        Lane *lane = account->lane;

        account->lane = NULL;
        lane->n_running--;
        lanes->n_running--;
        (void) lane_settle(lanes, lane, clock_now());
}

uint64_t lanes_due(const Lanes *lanes)
{
        HeapEntry *entry = heap_first(&lanes->heap);

        return entry && lanes->n_running < lanes->config->dialogues ? entry->due : USEC_INFINITY;
}

size_t lanes_n_running(const Lanes *lanes)
{
        return lanes->n_running;
}
