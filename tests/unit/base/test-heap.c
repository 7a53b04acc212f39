/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The heap beside a plain array that is searched: whatever is done at random, both name the same earliest time. */
#include "tests/unit/base/check.h"

#include "base/heap.h"

enum { N = 200, TURNS = 50000 };

static uint32_t seed = 42;

static unsigned any(unsigned bound)
{
        seed = seed * 1664525 + 1013904223;
        return (seed >> 8) % bound;
}

static uint64_t earliest(const HeapEntry *entries, size_t *ret_n)
{
        uint64_t due = USEC_INFINITY;

        *ret_n = 0;
        for (int i = 0; i < N; i++)
                if (entries[i].index) {
                        due = MIN(due, entries[i].due);
                        (*ret_n)++;
                }
        return due;
}

static void check_heap(const Heap *heap, const HeapEntry *entries)
{
        size_t n;
        uint64_t due = earliest(entries, &n);
        HeapEntry *first = heap_first(heap);

        assert_int_equal(heap->n_entries, n);
        if (n == 0) {
                assert_null(first);
                return;
        }
        assert_int_equal(first->due, due);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(heap->entries[i]->index, i + 1);
}

static void test_random(void **state)
{
        HeapEntry entries[N] = {};
        Heap heap = {};

        for (int turn = 0; turn < TURNS; turn++) {
                HeapEntry *entry = &entries[any(N)];

                /* phases that fill and phases that empty; times collide often */
                if (any(100) < (turn / 1000 % 2 ? 35u : 65u))
                        assert_int_equal(heap_set(&heap, entry, any(300)), 0);
                else
                        heap_remove(&heap, entry);
                check_heap(&heap, entries);
        }
        for (int i = 0; i < N; i++)
                heap_remove(&heap, &entries[i]);
        assert_null(heap_first(&heap));
        heap_deinit(&heap);
}

static void test_sorts(void **state)
{
        HeapEntry entries[N] = {};
        Heap heap = {};
        uint64_t last = 0;
        HeapEntry *entry;

        for (int i = 0; i < N; i++)
                assert_int_equal(heap_set(&heap, &entries[i], (uint64_t) any(1u << 20) << 40), 0);
        for (int n = N; n > 0; n--) {
                entry = heap_first(&heap);
                assert_non_null(entry);
                assert_true(entry->due >= last);
                last = entry->due;
                heap_remove(&heap, entry);
                heap_remove(&heap, entry); /* twice is nothing */
                assert_int_equal(entry->index, 0);
        }
        assert_null(heap_first(&heap));
        heap_deinit(&heap);
        heap_deinit(&heap);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_random),
                cmocka_unit_test(test_sorts),
        };

        return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
