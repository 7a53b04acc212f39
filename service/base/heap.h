/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A binary heap of due times. Entries live inside their owners; the heap only points at them. */
#pragma once

#include "base/util.h"

typedef struct HeapEntry {
        uint64_t due;
        size_t index; /* 1-based; 0 = in no heap */
} HeapEntry;

typedef struct Heap {
        HeapEntry **entries;
        size_t n_entries, n_allocated;
} Heap;

/* Puts @entry in, or moves it when it is in already. Returns 0, -ENOMEM (then it is not in). */
int heap_set(Heap *heap, HeapEntry *entry, uint64_t due);
/* Takes @entry out; nothing happens when it is not in. */
void heap_remove(Heap *heap, HeapEntry *entry);
/* The earliest entry, or NULL. */
HeapEntry *heap_first(const Heap *heap);
/* Frees the memory; all entries must be out. */
void heap_deinit(Heap *heap);
