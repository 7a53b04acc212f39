/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A stored message on its way out: line ends, dots, and what a server could misread; however it is cut; and back again by unstuff. */
#include "tests/unit/base/check.h"

#include <string.h>

#include "proto/stuff.h"
#include "proto/unstuff.h"

static size_t stuffed(Stuff *stuff, const char *text, size_t len, size_t step, char *to)
{
        size_t n = 0;

        for (size_t at = 0; at < len; at += step)
                n += stuff_feed(stuff, text + at, MIN(step, len - at), to + n);
        return n;
}

static void lines_and_dots(void **state)
{
        static const struct {
                const char *in, *data, *counted;
                bool ambiguous, ends;
        } table[] = {
                { "", "", "", false, true },
                { "a\n", "a\r\n", "a\r\n", false, true },
                { ".\n..\n", "..\r\n...\r\n", ".\r\n..\r\n", false, true },
                { "a.\n.b", "a.\r\n..b", "a.\r\n.b", false, false },
                { "x\r.\n", "x\r.\r\n", "x\r.\r\n", true, true },
                { "x\r\n.\n", "x\r\r\n..\r\n", "x\r\r\n.\r\n", false, true },
                { "x\ry\n", "x\ry\r\n", "x\ry\r\n", false, true },
                { "\r", "\r", "\r", false, false },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++)
                for (size_t step = 1; step < 10; step++) {
                        Stuff data = { .dots = true }, counted = {};
                        char to[64];
                        size_t n;

                        n = stuffed(&data, table[i].in, strlen(table[i].in), step, to);
                        assert_int_equal(n, strlen(table[i].data));
                        assert_memory_equal(to, table[i].data, n);
                        assert_int_equal(data.ambiguous, table[i].ambiguous);
                        assert_int_equal(data.in_line, !table[i].ends);
                        n = stuffed(&counted, table[i].in, strlen(table[i].in), step, to);
                        assert_int_equal(n, strlen(table[i].counted));
                        assert_memory_equal(to, table[i].counted, n);
                }
}

/* 100 000 messages made of the octets that matter come back as they were. */
static void there_and_back(void **state)
{
        static const char octets[] = { '.', '\n', 'a', '\r', 0, '\n', '.' };
        unsigned seed = 1;

        for (unsigned round = 0; round < 100000; round++) {
                char in[24], wire[64], back[72];
                size_t len = round % 20, n, consumed, n_back = 0;
                Stuff stuff = { .dots = true };
                Unstuff unstuff = {};

                for (size_t i = 0; i < len; i++) {
                        seed = seed * 1103515245 + 12345;
                        in[i] = octets[(seed >> 16) % sizeof(octets)];
                        /* A CR at a line's end is part of the end on the wire, and one that is content cannot be told from it. */
                        if (in[i] == '\n' && i > 0 && in[i - 1] == '\r')
                                in[i - 1] = 'r';
                }
                in[len++] = '\n';
                if (len > 1 && in[len - 2] == '\r')
                        in[len - 2] = 'r';
                n = stuffed(&stuff, in, len, 1 + round % 7, wire);
                memcpy(wire + n, ".\r\n", 3);
                assert_int_equal(unstuff_feed(&unstuff, wire, n + 3, &consumed, back, &n_back), 1);
                assert_int_equal(consumed, n + 3);
                assert_int_equal(n_back, len);
                assert_memory_equal(back, in, len);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_and_dots),
                cmocka_unit_test(there_and_back),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
