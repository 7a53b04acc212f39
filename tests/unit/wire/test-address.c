/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which addresses may be connected to, and the small tables of names. */
#include <arpa/inet.h>
#include <string.h>

#include "tests/unit/wire/helper.h"

static const struct {
        const char *text;
        unsigned needs; /* policy bits; ~0u: never */
} cases[] = {
        { "198.51.100.10", 0 },
        { "8.8.8.8", 0 },
        { "126.255.255.255", 0 },
        { "128.0.0.1", 0 },
        { "2001:db8:100::10", 0 },
        { "2a00:1450::1", 0 },
        { "3fff::1", 0 },
        { "10.0.0.1", ADDRESS_PRIVATE },
        { "11.0.0.1", 0 },
        { "172.15.255.255", 0 },
        { "172.16.0.1", ADDRESS_PRIVATE },
        { "172.31.255.255", ADDRESS_PRIVATE },
        { "172.32.0.1", 0 },
        { "192.168.1.1", ADDRESS_PRIVATE },
        { "192.167.1.1", 0 },
        { "100.64.0.1", ADDRESS_PRIVATE },
        { "100.127.255.255", ADDRESS_PRIVATE },
        { "100.128.0.1", 0 },
        { "198.18.0.1", ADDRESS_PRIVATE },
        { "198.19.255.255", ADDRESS_PRIVATE },
        { "198.20.0.1", 0 },
        { "fd00::1", ADDRESS_PRIVATE },
        { "fc00::1", ADDRESS_PRIVATE },
        { "fec0::1", ADDRESS_PRIVATE },
        { "127.0.0.1", ADDRESS_LOCAL },
        { "127.255.255.254", ADDRESS_LOCAL },
        { "169.254.169.254", ADDRESS_LOCAL },
        { "::1", ADDRESS_LOCAL },
        { "fe80::1", ADDRESS_LOCAL },
        { "febf::1", ADDRESS_LOCAL },
        { "0.0.0.0", ~0u },
        { "0.1.2.3", ~0u },
        { "224.0.0.1", ~0u },
        { "240.0.0.1", ~0u },
        { "255.255.255.255", ~0u },
        { "::", ~0u },
        { "ff02::1", ~0u },
        { "100::1", ~0u },
        { "4000::1", ~0u },
        { "2001::1", ~0u },
        /* IPv4 inside */
        { "::ffff:127.0.0.1", ADDRESS_LOCAL },
        { "::ffff:10.0.0.1", ADDRESS_PRIVATE },
        { "::ffff:198.51.100.1", 0 },
        { "::ffff:0.0.0.0", ~0u },
        { "64:ff9b::127.0.0.1", ADDRESS_LOCAL },
        { "64:ff9b::a00:1", ADDRESS_PRIVATE },
        { "64:ff9b::808:808", 0 },
        { "64:ff9b:1::808:808", ADDRESS_PRIVATE },
        { "2002:7f00:1::1", ADDRESS_LOCAL },
        { "2002:c0a8:101::1", ADDRESS_PRIVATE },
        { "2002:808:808::1", 0 },
        { "::127.0.0.1", ADDRESS_LOCAL },
};

static struct sockaddr_storage address_of(const char *text)
{
        struct sockaddr_storage at = {};

        if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *) &at)->sin6_addr) == 1)
                at.ss_family = AF_INET6;
        else {
                assert_int_equal(inet_pton(AF_INET, text, &((struct sockaddr_in *) &at)->sin_addr),
                                 1);
                at.ss_family = AF_INET;
        }
        return at;
}

static void test_policy(void **state)
{
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct sockaddr_storage at = address_of(cases[i].text);

                for (unsigned policy = 0; policy <= (ADDRESS_PRIVATE | ADDRESS_LOCAL); policy++) {
                        bool allowed = address_allowed((struct sockaddr *) &at, policy);
                        bool expected = cases[i].needs != ~0u &&
                                        (cases[i].needs & policy) == cases[i].needs;

                        if (allowed != expected)
                                fail_msg("%s under %u: %d", cases[i].text, policy, allowed);
                }
        }
}

static void test_other_families(void **state)
{
        struct sockaddr_storage at = { .ss_family = AF_UNIX };
        char text[48];

        assert_false(address_allowed((struct sockaddr *) &at, ADDRESS_PRIVATE | ADDRESS_LOCAL));
        address_text((struct sockaddr *) &at, text);
        assert_string_equal(text, "");
}

static void test_text(void **state)
{
        static const char *const texts[] = { "127.0.0.1", "2001:db8::10", "::ffff:192.0.2.1" };
        char text[48];

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                struct sockaddr_storage at = address_of(texts[i]);

                address_text((struct sockaddr *) &at, text);
                assert_string_equal(text, texts[i]);
        }
}

static void test_names(void **state)
{
        for (int phase = PHASE_NONE + 1; phase <= PHASE_HTTP; phase++)
                assert_string_not_equal(phase_name((Phase) phase), "none");
        for (int kind = OUTCOME_NONE + 1; kind <= OUTCOME_HTTP; kind++)
                assert_string_not_equal(outcome_kind_name((OutcomeKind) kind), "none");
        assert_string_equal(phase_name(PHASE_DATA_END), "data-end");
        assert_string_equal(certificate_fault_name(CERTIFICATE_WRONG_NAME), "wrong-name");
}

static void test_outcome(void **state)
{
        _cleanup_outcome_ Outcome no = {}, copy = {};
        char long_text[2 * LIMIT_REPLY_TEXT];

        memset(long_text, 'x', sizeof(long_text));
        outcome_set_text(&no, long_text, sizeof(long_text));
        assert_int_equal(strlen(no.text), LIMIT_REPLY_TEXT);
        outcome_set_text(&no, "-ERR\0 no\n", 9);
        assert_string_equal(no.text, "-ERR? no?");
        assert_int_equal(outcome_set(&no, OUTCOME_REPLY, PHASE_LOGIN), 1);
        no.certificate = calloc(1, sizeof(Certificate));
        assert_int_equal(outcome_copy(&copy, &no), 0);
        assert_ptr_not_equal(copy.certificate, no.certificate);
        assert_string_equal(copy.text, no.text);
        outcome_reset(&no);
        assert_int_equal(no.kind, OUTCOME_NONE);
        assert_null(no.certificate);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_policy),  cmocka_unit_test(test_other_families),
                cmocka_unit_test(test_text),    cmocka_unit_test(test_names),
                cmocka_unit_test(test_outcome),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
