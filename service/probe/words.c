/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See words.h. The nodes of the trie are numbers in one array, 0 is the root and also "none": no literal is empty. */
#include <string.h>

#include "probe/words.h"

typedef struct Node {
        uint32_t child, sibling; /* first child; the next child of the same parent */
        uint32_t fail;           /* the longest proper suffix that is in the trie */
        uint32_t report;         /* the nearest node on the way of @fail that ends a literal */
        uint32_t end;            /* first of the literals that end here, 1 is the first entry */
        unsigned char byte;
} Node;

typedef struct End {
        unsigned id;
        uint32_t next;
} End;

struct Words {
        Node *nodes;
        size_t n_nodes, nodes_size;
        End *ends;
        size_t n_ends, ends_size;
};

static int array_grow(void **array, size_t *size, size_t n, size_t item)
{
        size_t wanted = MAX(*size * 2, (size_t) 64);
        void *larger;

        if (n < *size)
                return 0;
        larger = reallocarray(*array, wanted, item);
        if (!larger)
                return -ENOMEM;
        *array = larger;
        *size = wanted;
        return 0;
}

static int node_new(Words *words, unsigned char byte, uint32_t *ret)
{
        int r = array_grow((void **) &words->nodes, &words->nodes_size, words->n_nodes,
                           sizeof(Node));

        if (r < 0)
                return r;
        words->nodes[words->n_nodes] = (Node){ .byte = byte };
        *ret = (uint32_t) words->n_nodes++;
        return 0;
}

int words_new(Words **ret)
{
        _cleanup_(words_freep) Words *words = calloc(1, sizeof(Words));
        uint32_t root;
        int r;

        if (!words)
                return -ENOMEM;
        r = node_new(words, 0, &root);
        if (r < 0)
                return r;
        *ret = TAKE(words);
        return 0;
}

Words *words_free(Words *words)
{
        if (words) {
                free(words->nodes);
                free(words->ends);
                free(words);
        }
        return NULL;
}

static uint32_t node_child(const Words *words, uint32_t node, unsigned char byte)
{
        uint32_t child = words->nodes[node].child;

        while (child && words->nodes[child].byte != byte)
                child = words->nodes[child].sibling;
        return child;
}

int words_add(Words *words, const char *literal, size_t len, unsigned id)
{
        uint32_t node = 0;
        int r;

        if (len == 0)
                return -EINVAL;
        for (size_t i = 0; i < len; i++) {
                uint32_t child = node_child(words, node, (unsigned char) literal[i]);

                if (!child) {
                        r = node_new(words, (unsigned char) literal[i], &child);
                        if (r < 0)
                                return r;
                        words->nodes[child].sibling = words->nodes[node].child;
                        words->nodes[node].child = child;
                }
                node = child;
        }
        r = array_grow((void **) &words->ends, &words->ends_size, words->n_ends, sizeof(End));
        if (r < 0)
                return r;
        words->ends[words->n_ends] = (End){ .id = id, .next = words->nodes[node].end };
        words->nodes[node].end = (uint32_t) ++words->n_ends;
        return 0;
}

static uint32_t node_step(const Words *words, uint32_t node, unsigned char byte, size_t *steps)
{
        uint32_t next;

        while (++*steps, !(next = node_child(words, node, byte)) && node)
                node = words->nodes[node].fail;
        return next;
}

int words_compile(Words *words)
{
        uint32_t *queue = reallocarray(NULL, words->n_nodes, sizeof(*queue));
        size_t first = 0, last = 0, steps = 0;

        if (!queue)
                return -ENOMEM;
        queue[last++] = 0;
        /* breadth first: what a node fails to is nearer to the root and so complete */
        while (first < last) {
                uint32_t node = queue[first++];

                for (uint32_t c = words->nodes[node].child; c; c = words->nodes[c].sibling) {
                        uint32_t fail = node ? node_step(words, words->nodes[node].fail,
                                                         words->nodes[c].byte, &steps)
                                             : 0;

                        words->nodes[c].fail = fail;
                        words->nodes[c].report = words->nodes[fail].end ? fail
                                                                        : words->nodes[fail].report;
                        queue[last++] = c;
                }
        }
        free(queue);
        return 0;
}

size_t words_scan(const Words *words, const char *text, size_t len, WordsFound *found,
                  void *userdata)
{
        size_t steps = 0;
        uint32_t node = 0;
        unsigned blanks = 0;

        for (size_t i = 0; i < len; i++) {
                blanks += text[i] == ' ';
                node = node_step(words, node, (unsigned char) text[i], &steps);
                for (uint32_t n = node; n; n = words->nodes[n].report)
                        for (uint32_t e = words->nodes[n].end; e;
                             e = words->ends[e - 1].next, steps++)
                                found(userdata, words->ends[e - 1].id, blanks);
        }
        return steps;
}
