/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which protocol is better where there are both. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "probe/advice.h"

static void test_advice(void **state)
{
        static const struct {
                Access pop3, imap;
                uint64_t pop3_minimum;
                Source pop3_source, imap_source;
                Protocol better;
                const char *word;
        } table[] = {
                { ACCESS_ON, ACCESS_ON, 0, SOURCE_TABLE, SOURCE_TABLE, PROTOCOL_POP3, "least" },
                { ACCESS_UNKNOWN, ACCESS_UNKNOWN, 0, SOURCE_SRV, SOURCE_SRV, PROTOCOL_POP3,
                  "least" },
                { ACCESS_OFF, ACCESS_ON, 0, SOURCE_TABLE, SOURCE_TABLE, PROTOCOL_IMAP,
                  "switched on" },
                { ACCESS_ON, ACCESS_OFF, 0, SOURCE_TABLE, SOURCE_TABLE, PROTOCOL_POP3,
                  "switched on" },
                { ACCESS_OFF, ACCESS_OFF, 0, SOURCE_TABLE, SOURCE_TABLE, PROTOCOL_POP3, "least" },
                { ACCESS_ON, ACCESS_ON, 15 * USEC_PER_MINUTE, SOURCE_TABLE, SOURCE_TABLE,
                  PROTOCOL_IMAP, "now and then" },
                { ACCESS_UNKNOWN, ACCESS_UNKNOWN, 0, SOURCE_GUESS, SOURCE_SRV, PROTOCOL_IMAP,
                  "source" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                Candidate pop3 = { .access = table[i].pop3,
                                   .poll_minimum_usec = table[i].pop3_minimum,
                                   .source = table[i].pop3_source },
                          imap = { .access = table[i].imap, .source = table[i].imap_source };
                Endpoint at[2] = { { .protocol = PROTOCOL_POP3 }, { .protocol = PROTOCOL_IMAP } };
                Ranking ranking = {
                        .list = { { &pop3, { &at[0], NULL } }, { &imap, { &at[1], NULL } } }, .n = 2
                };
                Protocol better;
                const char *why = advice_protocol(&ranking, &better);

                assert_non_null(why);
                assert_int_equal(better, table[i].better);
                assert_non_null(strstr(why, table[i].word));
                ranking.n = 1;
                assert_null(advice_protocol(&ranking, &better));
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_advice) };

        return cmocka_run_group_tests_name("advice", tests, NULL, NULL);
}
