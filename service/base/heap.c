/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See heap.h. */
#include "base/heap.h"

static void heap_place(Heap *heap, HeapEntry *entry, size_t index)
{
        heap->entries[index - 1] = entry;
        entry->index = index;
}

static void heap_up(Heap *heap, HeapEntry *entry)
{
        size_t i = entry->index;

        while (i > 1 && heap->entries[i / 2 - 1]->due > entry->due) {
                heap_place(heap, heap->entries[i / 2 - 1], i);
                i /= 2;
        }
        heap_place(heap, entry, i);
}

static void heap_down(Heap *heap, HeapEntry *entry)
{
        size_t i = entry->index;

        while (2 * i <= heap->n_entries) {
                size_t child = 2 * i;

                if (child < heap->n_entries &&
                    heap->entries[child]->due < heap->entries[child - 1]->due)
                        child++;
                if (heap->entries[child - 1]->due >= entry->due)
                        break;
                heap_place(heap, heap->entries[child - 1], i);
                i = child;
        }
        heap_place(heap, entry, i);
}

static int heap_grow(Heap *heap)
{
        size_t n = heap->n_allocated ? 2 * heap->n_allocated : 16;
        HeapEntry **entries;

        if (heap->n_entries < heap->n_allocated)
                return 0;
        entries = reallocarray(heap->entries, n, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        heap->entries = entries;
        heap->n_allocated = n;
        return 0;
}

int heap_set(Heap *heap, HeapEntry *entry, uint64_t due)
{
        int r;

        entry->due = due;
        if (!entry->index) {
                r = heap_grow(heap);
                if (r < 0)
                        return r;
                heap_place(heap, entry, ++heap->n_entries);
        }
        heap_up(heap, entry);
        heap_down(heap, entry);
        return 0;
}

void heap_remove(Heap *heap, HeapEntry *entry)
{
        size_t i = entry->index;
        HeapEntry *last;

        if (!i)
                return;
        last = heap->entries[--heap->n_entries];
        entry->index = 0;
        if (last == entry)
                return;
        heap_place(heap, last, i);
        heap_up(heap, last);
        heap_down(heap, last);
}

HeapEntry *heap_first(const Heap *heap)
{
        return heap->n_entries ? heap->entries[0] : NULL;
}

void heap_deinit(Heap *heap)
{
        assert(heap->n_entries == 0);
        free(heap->entries);
        *heap = (Heap){};
}
