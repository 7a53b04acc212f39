/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plain text, from every character set that servers are known to write. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "probe/plain.h"

static void test_folding(void **state)
{
        static const struct {
                const char *from, *to;
        } table[] = {
                { "Can't SIGN-IN.", " cant sign in " },
                { "l'accès est désactivé", " l acces est desactive " },
                { "Benutzername oder Paßwort ungültig", " benutzername oder passwort ungultig " },
                { "UserDisabled SSLUnknown TLSv1 FETCHed",
                  " user disabled ssl unknown tlsv1 fetched " },
                { "Неверный Пароль", " неверный пароль " },
                { "请使用授权码登录 now", " 请使用授权码登录 now " },
                { "<someone@mail.example> from 192.0.2.1 said", " from said " },
                { "5.7.8 no", " 5 7 8 no " },
                { "id BQcd9TnHqX7IJL6h0mQw2J end", " id end " },
                { "wrong_version_number", " wrong version number " },
                { "", " " },
                { "...", " " },
                /* Latin-1 and GBK, as bytes and as somebody's Latin-1 reading of them */
                { "mot de passe erron\xe9", " mot de passe errone " },
                { "\xb5\xc7\xc2\xbc\xca\xa7\xb0\xdc", " 登录失败 " },
                { "\xc2\xb5\xc3\x87\xc3\x82\xc2\xbc\xc3\x8a\xc2\xa7\xc2\xb0\xc3\x9c",
                  " 登录失败 " },
                { "d\xc3\x83\xc2\xa9sactiv\xc3\x83\xc2\xa9", " desactive " },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char plain[256];
                size_t n = plain_text(plain, sizeof(plain), table[i].from, strlen(table[i].from));

                assert_string_equal(plain, table[i].to);
                assert_int_equal(n, strlen(plain));
        }
}

/* Bytes of old servers that nobody has labelled: some way of reading them finds the words. */
static void test_ways(void **state)
{
        static const struct {
                const char *from, *word;
        } table[] = {
                { "-ERR \xcd\xe5\xe2\xe5\xf0\xed\xfb\xe9 \xef\xe0\xf0\xee\xeb\xfc",
                  " неверный пароль " }, /* Windows-1251 */
                { "-ERR \xee\xc5\xd7\xc5\xd2\xce\xd9\xca \xd0\xc1\xd2\xcf\xcc\xd8",
                  " неверный пароль " },                                           /* KOI8-R */
                { "NO \x94\x46\x8f\xd8\x82\xc9\x8e\xb8\x94\x73", " 認証に失敗 " }, /* Shift-JIS */
                { "NO \xc7\xa7\xbe\xda\xa4\xcb\xbc\xba\xc7\xd4", " 認証に失敗 " }, /* EUC-JP */
                { "NO \x1b$BG'>Z$K<:GT\x1b(B", " 認証に失敗 " },                   /* ISO-2022-JP */
                { "-ERR nieprawid\xb3owe has\xb3o", " nieprawidlowe haslo " }, /* Windows-1250 */
                { "-ERR \xc0\xce\xc1\xf5 \xbd\xc7\xc6\xd0", " 인증 실패 " },   /* EUC-KR */
                { "NO \xb1\x4b\xbd\x58\xbf\xf9\xbb\x7e", " 密碼錯誤 " },       /* Big5 */
                { "d\xc3\xa9sactiv\xc3\xa9", " desactive " },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                char plain[256];
                bool seen = false;

                for (unsigned way = 0; way < PLAIN_WAYS; way++)
                        seen |= plain_text_as(plain, sizeof(plain), table[i].from,
                                              strlen(table[i].from), way) > 0 &&
                                strstr(plain, table[i].word);
                printf("# %s\n", table[i].word);
                assert_true(seen);
        }
}

static void test_bounds(void **state)
{
        static char big[3 * PLAIN_MAX], plain[PLAIN_MAX];

        memset(big, 'x', sizeof(big));
        assert_true(plain_text(plain, sizeof(plain), big, sizeof(big)) < sizeof(plain));
        memset(big, 0xe4, sizeof(big));
        assert_true(plain_text(plain, sizeof(plain), big, sizeof(big)) < sizeof(plain));
        for (size_t i = 0; i + 3 <= sizeof(big); i += 3)
                memcpy(big + i, "\xe4\xb8\xad", 3);
        for (size_t size = 3; size < 40; size++)
                assert_true(plain_text(plain, size, big, sizeof(big)) < size);
        for (unsigned way = 0; way < PLAIN_WAYS; way++)
                assert_true(plain_text_as(plain, sizeof(plain), big, sizeof(big), way) <
                            sizeof(plain));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_folding),
                cmocka_unit_test(test_ways),
                cmocka_unit_test(test_bounds),
        };

        return cmocka_run_group_tests_name("probe/plain", tests, NULL, NULL);
}
