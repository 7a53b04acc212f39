/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a message is known by: the same however it is cut, without the notes that servers keep, and nothing else left out. */
#include "tests/unit/base/check.h"

#include <string.h>

#include "core/identity.h"

static void digest_of(Identity *identity, const char *text, size_t step, uint8_t ret[DIGEST_LEN])
{
        size_t len = strlen(text);

        for (size_t at = 0; at < len; at += step)
                assert_int_equal(identity_add(identity, text + at, MIN(step, len - at)), 0);
        assert_int_equal(identity_end(identity, ret), 0);
}

static bool same(Identity *identity, const char *a, const char *b, size_t from, size_t n)
{
        uint8_t x[DIGEST_LEN], y[DIGEST_LEN];

        digest_of(identity, a, 4096, x);
        digest_of(identity, b, 4096, y);
        return memcmp(x + from, y + from, n) == 0;
}

static void pieces(void **state)
{
        static const char *const texts[] = {
                "",
                "\n",
                "\n\n",
                "Subject: a",
                "Subject: a\n",
                "Subject: a\n\nbody\n",
                "Status: RO\nSubject: a\n folded\nX-UIDL: long\n\tfolded too\nTo: b\n\nStatus: of the body\n",
                "no header at all, a long line that is not one\nsecond\n\nthird",
        };
        _cleanup_(identity_freep) Identity *identity = NULL;

        assert_int_equal(identity_new(&identity), 0);
        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                uint8_t whole[DIGEST_LEN], cut[DIGEST_LEN];

                digest_of(identity, texts[i], 4096, whole);
                for (size_t step = 1; step < 40; step++) {
                        digest_of(identity, texts[i], step, cut);
                        assert_memory_equal(whole, cut, DIGEST_LEN);
                }
        }
}

static void notes(void **state)
{
        _cleanup_(identity_freep) Identity *i = NULL;

        assert_int_equal(identity_new(&i), 0);
        assert_true(
                same(i, "To: b\n\nx", "Status: RO\nTo: b\nx-status: A\n b\n\nx", 0, DIGEST_LEN));
        /* A field whose name only begins so is none of them, nor is one of the body. */
        assert_false(same(i, "To: b\n\nx", "Status-X: RO\nTo: b\n\nx", 0, IDENTITY_HALF));
        assert_false(same(i, "To: b\n\nx", "To: b\n\nStatus: RO\nx", IDENTITY_HALF, IDENTITY_HALF));
        assert_false(same(i, "To: b\n\nx", "To: b\n \n\nx", 0, IDENTITY_HALF));
}

static void halves(void **state)
{
        _cleanup_(identity_freep) Identity *i = NULL;

        assert_int_equal(identity_new(&i), 0);
        /* Distinct mails with one header are told apart by the other half. */
        assert_true(same(i, "To: b\n\nx", "To: b\n\ny", 0, IDENTITY_HALF));
        assert_false(same(i, "To: b\n\nx", "To: b\n\ny", IDENTITY_HALF, IDENTITY_HALF));
        assert_false(same(i, "To: b\n\nx", "To: c\n\nx", 0, IDENTITY_HALF));
        assert_false(same(i, "To: b\n\nx", "To: c\n\nx", IDENTITY_HALF, IDENTITY_HALF));
        /* What TOP shows of a message is its header's half. */
        assert_true(
                same(i, "To: b\nCc: c\n\n", "To: b\nCc: c\n\nall of the body\n", 0, IDENTITY_HALF));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(pieces),
                cmocka_unit_test(notes),
                cmocka_unit_test(halves),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
