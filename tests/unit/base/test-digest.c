/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Published vectors, and sealed bytes that somebody changed. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/digest.h"

static void test_sha256(void **state)
{
        /* FIPS 180-4 examples */
        static const struct {
                const char *text, *hex;
        } table[] = {
                { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
                { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
                { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
        };
        char hex[SHA256_HEX];

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                assert_int_equal(sha256_text(table[i].text, strlen(table[i].text), hex), 0);
                assert_string_equal(hex, table[i].hex);
        }
}

static void test_hmac(void **state)
{
        /* RFC 4231 sections 4.2, 4.3 and 4.7 */
        uint8_t mac[SHA256_LEN], key[131];
        char hex[SHA256_HEX];

        memset(key, 0x0b, 20);
        assert_int_equal(hmac_sha256(key, 20, "Hi There", 8, mac), 0);
        hex_encode(hex, mac, sizeof(mac));
        assert_string_equal(hex,
                            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
        assert_int_equal(hmac_sha256("Jefe", 4, "what do ya want for nothing?", 28, mac), 0);
        hex_encode(hex, mac, sizeof(mac));
        assert_string_equal(hex,
                            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        memset(key, 0xaa, sizeof(key));
        assert_int_equal(hmac_sha256(key, sizeof(key),
                                     "Test Using Larger Than Block-Size Key - Hash Key First", 54,
                                     mac),
                         0);
        hex_encode(hex, mac, sizeof(mac));
        assert_string_equal(hex,
                            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void test_hex(void **state)
{
        uint8_t bytes[4] = { 0 };
        char hex[9];

        assert_int_equal(hex_decode(bytes, "00fFaB19", 8), 0);
        assert_memory_equal(bytes, "\x00\xff\xab\x19", 4);
        hex_encode(hex, bytes, 4);
        assert_string_equal(hex, "00ffab19");
        assert_int_equal(hex_decode(bytes, "0", 1), -EINVAL);
        assert_int_equal(hex_decode(bytes, "0g", 2), -EINVAL);
        assert_int_equal(hex_decode(bytes, " 1", 2), -EINVAL);
        assert_int_equal(hex_decode(bytes, "", 0), 0);
}

static void test_base64(void **state)
{
        /* RFC 4648 section 10 */
        static const struct {
                const char *plain, *text;
        } table[] = {
                { "", "" },
                { "f", "Zg==" },
                { "fo", "Zm8=" },
                { "foo", "Zm9v" },
                { "foob", "Zm9vYg==" },
                { "fooba", "Zm9vYmE=" },
                { "foobar", "Zm9vYmFy" },
        };
        static const char *const wrong[] = {
                "Z",     "Zg",   "Zg=",        "====", "Z===",     "=Zg=",   "Zg=a",
                "Zm9v ", " m9v", "Zm9v\nZg==", "Zm-_", "Zg==Zg==", "Zm9v\n", "Zm9vZ"
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_buffer_ Buffer text = BUFFER(strlen(table[i].text));
                _cleanup_buffer_ Buffer plain = BUFFER(64);

                assert_int_equal(base64_encode(&text, table[i].plain, strlen(table[i].plain)), 0);
                assert_string_equal(text.data, table[i].text);
                assert_int_equal(base64_decode(&plain, text.data, text.len), 0);
                assert_int_equal(plain.len, strlen(table[i].plain));
                assert_string_equal(plain.data, table[i].plain);
        }
        for (size_t i = 0; i < ELEMENTS(wrong); i++) {
                _cleanup_buffer_ Buffer plain = BUFFER(64);

                if (base64_decode(&plain, wrong[i], strlen(wrong[i])) != -EINVAL)
                        fail_msg("%s", wrong[i]);
                assert_int_equal(plain.len, 0);
        }
}

static void test_base64_ceiling(void **state)
{
        _cleanup_buffer_ Buffer small = BUFFER(3), exact = BUFFER(4), plain = BUFFER(3);

        assert_int_equal(base64_encode(&small, "abc", 3), -ENOBUFS);
        assert_int_equal(small.len, 0);
        assert_int_equal(base64_encode(&exact, "abc", 3), 0);
        assert_int_equal(base64_decode(&plain, "YWJj", 4), 0);
        assert_string_equal(plain.data, "abc");
        assert_int_equal(base64_decode(&plain, "YWJj", 4), -ENOBUFS);
        assert_string_equal(plain.data, "abc"); /* appended nothing */
}

static void test_random(void **state)
{
        char a[33], b[33];
        unsigned seen[6] = { 0 };

        assert_int_equal(random_hex(a, 16), 0);
        assert_int_equal(random_hex(b, 16), 0);
        assert_int_equal(strlen(a), 32);
        assert_int_equal(strspn(a, "0123456789abcdef"), 32);
        assert_string_not_equal(a, b);
        for (int i = 0; i < 6000; i++) {
                uint64_t n = random_below(6);

                assert_true(n < 6);
                seen[n]++;
        }
        for (int i = 0; i < 6; i++)
                assert_in_range(seen[i], 800, 1200); /* seven standard deviations */
        assert_int_equal(random_below(1), 0);
}

static const uint8_t the_key[KEY_LEN] = "0123456789abcdef0123456789abcde";

static void test_seal(void **state)
{
        static const char *const texts[] = { "", "x", "a password of some length" };

        for (size_t i = 0; i < ELEMENTS(texts); i++) {
                _cleanup_buffer_ Buffer sealed = BUFFER(256), again = BUFFER(256);
                _cleanup_buffer_ Buffer plain = BUFFER_SECRET(256);
                size_t len = strlen(texts[i]);

                assert_int_equal(seal(&sealed, the_key, "account 1", 9, texts[i], len), 0);
                assert_int_equal(sealed.len, SEAL_NONCE + len + SEAL_TAG);
                assert_int_equal(unseal(&plain, the_key, "account 1", 9, sealed.data, sealed.len),
                                 0);
                assert_int_equal(plain.len, len);
                assert_string_equal(plain.data, texts[i]);
                /* The nonce is new each time. */
                assert_int_equal(seal(&again, the_key, "account 1", 9, texts[i], len), 0);
                assert_memory_not_equal(sealed.data, again.data, SEAL_NONCE);
        }
}

static void check_refused(const uint8_t *key, const char *aad, const void *sealed, size_t len)
{
        _cleanup_buffer_ Buffer plain = BUFFER_SECRET(256);
        char *behind;

        assert_int_equal(buffer_append_text(&plain, "before"), 0);
        assert_int_equal(buffer_reserve(&plain, 64, &behind), 0);
        memset(behind, 0, 64);
        assert_int_equal(unseal(&plain, key, aad, strlen(aad), sealed, len), -EBADMSG);
        assert_string_equal(plain.data, "before");
        /* nothing of the plain text that did not prove true is left behind the end */
        for (size_t i = 0; i < 64; i++)
                assert_int_equal(behind[i], 0);
}

static void test_unseal_tampered(void **state)
{
        _cleanup_buffer_ Buffer sealed = BUFFER(256);
        uint8_t key[KEY_LEN];

        assert_int_equal(seal(&sealed, the_key, "account 1", 9, "pppppppppp", 10), 0);
        for (size_t i = 0; i < sealed.len; i++)
                for (unsigned bit = 0; bit < 8; bit++) {
                        sealed.data[i] ^= (char) (1u << bit);
                        check_refused(the_key, "account 1", sealed.data, sealed.len);
                        sealed.data[i] ^= (char) (1u << bit);
                }
        for (size_t len = 0; len < sealed.len; len++)
                check_refused(the_key, "account 1", sealed.data, len);
        assert_int_equal(buffer_append_text(&sealed, "x"), 0);
        check_refused(the_key, "account 1", sealed.data, sealed.len);
        sealed.len--;
        check_refused(the_key, "account 2", sealed.data, sealed.len);
        check_refused(the_key, "account 10", sealed.data, sealed.len);
        check_refused(the_key, "", sealed.data, sealed.len);
        memcpy(key, the_key, sizeof(key));
        key[KEY_LEN - 1] ^= 1;
        check_refused(key, "account 1", sealed.data, sealed.len);
}

static void test_seal_ceiling(void **state)
{
        _cleanup_buffer_ Buffer small = BUFFER(SEAL_NONCE + 4 + SEAL_TAG - 1);
        _cleanup_buffer_ Buffer exact = BUFFER(SEAL_NONCE + 4 + SEAL_TAG), plain = BUFFER(3);

        assert_int_equal(seal(&small, the_key, "", 0, "abcd", 4), -ENOBUFS);
        assert_int_equal(seal(&exact, the_key, "", 0, "abcd", 4), 0);
        assert_int_equal(unseal(&plain, the_key, "", 0, exact.data, exact.len), -ENOBUFS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sha256),
                cmocka_unit_test(test_hmac),
                cmocka_unit_test(test_hex),
                cmocka_unit_test(test_base64),
                cmocka_unit_test(test_base64_ceiling),
                cmocka_unit_test(test_random),
                cmocka_unit_test(test_seal),
                cmocka_unit_test(test_unseal_tampered),
                cmocka_unit_test(test_seal_ceiling),
        };

        return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
