/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalogue: texts with places, filled, given way, or left out; and that every cause is whole. */
#include <string.h>

#include "tests/unit/base/check.h"

#include "base/text.h"
#include "probe/describe.h"

/* Without evidence no place in braces is left. */
static void check_words(const Cause *cause, const char *locale)
{
        _cleanup_list_ char **remedies = NULL;
        _cleanup_free_ char *explanation = NULL;
        const char *title = cause_title(cause, locale);

        assert_int_equal(cause_explanation(cause, locale, NULL, &explanation), 0);
        assert_int_equal(cause_remedies(cause, locale, NULL, &remedies), 0);
        assert_true(title[0] && strlen(title) <= 80 && !strchr(title, '{'));
        assert_true(explanation[0] && !strchr(explanation, '{'));
        assert_true(list_len(remedies) >= 1);
        for (char **r = remedies; *r; r++)
                assert_null(strchr(*r, '{'));
}

static void test_complete(void **state)
{
        const Cause *cause;
        size_t n = 0;

        for (; (cause = cause_at(n)); n++) {
                check_words(cause, NULL);
                check_words(cause, "de_DE.UTF-8");
                assert_ptr_equal(cause_find(cause->code), cause);
        }
        assert_true(n >= 129); /* codes are never taken away */
        assert_null(cause_find("no.such"));
        assert_null(cause_find(""));
        assert_null(cause_find(NULL));
}

static void test_filled(void **state)
{
        _cleanup_(dict_freep) Dict *evidence = dict_new();
        _cleanup_list_ char **remedies = NULL, **bare = NULL;
        _cleanup_free_ char *explanation = NULL, *expired = NULL;

        assert_int_equal(dict_set_text(evidence, "host", "mail.example.org"), 0);
        assert_int_equal(dict_set_number(evidence, "port", 995), 0);
        assert_int_equal(dict_set_number(evidence, "not-after", UINT64_C(1700000000000000)), 0);
        assert_int_equal(dict_add_to_list(evidence, "names", "a.example"), 0);
        assert_int_equal(dict_add_to_list(evidence, "names", "b.example"), 0);

        assert_int_equal(cause_explanation(cause_find("net.refused"), NULL, evidence, &explanation),
                         0);
        assert_string_equal(
                explanation,
                "The computer mail.example.org is there, but nothing listens on port 995.");
        assert_int_equal(
                cause_explanation(cause_find("tls.cert-expired"), NULL, evidence, &expired), 0);
        assert_string_equal(expired, "It was valid until 2023-11-14.");
        assert_int_equal(
                cause_remedies(cause_find("tls.cert-name-mismatch"), NULL, evidence, &remedies), 0);
        assert_string_equal(
                remedies[0],
                "Use one of the names in the certificate if it is your provider's: a.example, b.example.");
        assert_int_equal(cause_remedies(cause_find("tls.cert-name-mismatch"), NULL, NULL, &bare),
                         0);
        assert_string_equal(bare[0],
                            "Use one of the names in the certificate, if it is your provider's.");
}

/* A remedy that is nothing without its place is left out. */
static void test_left_out(void **state)
{
        _cleanup_(dict_freep) Dict *evidence = dict_new();
        _cleanup_list_ char **with = NULL, **without = NULL;
        const Cause *cause = cause_find("dns.nxdomain");

        assert_int_equal(dict_set_text(evidence, "hint-url", "https://help.example/"), 0);
        assert_int_equal(cause_remedies(cause, NULL, evidence, &with), 0);
        assert_int_equal(cause_remedies(cause, NULL, NULL, &without), 0);
        assert_int_equal(list_len(with), list_len(without) + 1);
        assert_string_equal(with[list_len(with) - 1], "See https://help.example/.");
}

static void test_languages(void **state)
{
        static const struct {
                const char *locale, *title;
        } table[] = {
                { NULL, "The mailbox is full" },
                { "", "The mailbox is full" },
                { "C", "The mailbox is full" },
                { "de", "Das Postfach ist voll" },
                { "de_AT.UTF-8@euro", "Das Postfach ist voll" },
                { "DE-ch", "Das Postfach ist voll" },
                { "xx:de:en", "Das Postfach ist voll" },
                { "en_GB:de", "The mailbox is full" },
                { "deu", "The mailbox is full" },
                { ":::", "The mailbox is full" },
        };
        _cleanup_(dict_freep) Dict *evidence = dict_new();
        _cleanup_free_ char *explanation = NULL;

        for (size_t i = 0; i < ELEMENTS(table); i++)
                assert_string_equal(cause_title(cause_find("mailbox.over-quota"), table[i].locale),
                                    table[i].title);
        assert_int_equal(dict_set_text(evidence, "host", "mail.example.org"), 0);
        assert_int_equal(dict_set_number(evidence, "port", 995), 0);
        assert_int_equal(cause_explanation(cause_find("net.refused"), "de", evidence, &explanation),
                         0);
        assert_string_equal(
                explanation,
                "Der Computer mail.example.org ist da, aber niemand nimmt an Port 995 etwas an.");
}

/* The provider's page for this cause goes into the text, and all its pages are links; the server's words are not looked at. */
static void test_described(void **state)
{
        _cleanup_(providers_freep) Providers *providers = NULL;
        _cleanup_(dict_freep) Dict *evidence = dict_new(), *told = dict_new(), *bare = dict_new(),
                                   *other = dict_new();
        const Provider *gmail;

        assert_int_equal(providers_new(&providers, NULL), 0);
        gmail = provider_by_host(providers, "POP.gmail.com");
        assert_non_null(gmail);
        assert_null(provider_by_host(providers, "pop.gmail.com.example.org"));
        assert_ptr_equal(provider_by_host(providers, "x.y.gmail.com"), gmail);
        assert_int_equal(dict_set_text(evidence, "hint-url", "https://help.example/"), 0);
        assert_int_equal(dict_set_text(evidence, "reply", "see https://evil.example/"), 0);
        assert_int_equal(cause_describe(cause_find("auth.app-password-required"), "de", evidence,
                                        gmail, told),
                         0);
        assert_string_equal(dict_text(told, "title"), "Ein App-Passwort wird gebraucht");
        assert_non_null(strstr(dict_list(told, "remedies")[0], gmail->app_password_page));
        assert_int_equal(list_len(dict_list(told, "links")), 3);
        assert_string_equal(dict_list(told, "links")[0], gmail->app_password_page);
        assert_string_equal(dict_list(told, "links")[1], gmail->settings_page);
        assert_string_equal(dict_list(told, "links")[2], "https://help.example/");

        assert_int_equal(
                cause_describe(cause_find("auth.app-password-required"), NULL, NULL, NULL, bare),
                0);
        assert_int_equal(list_len(dict_list(bare, "links")), 0);
        assert_string_equal(dict_text(bare, "class"), "user-action");
        /* a page does not help against this one */
        assert_int_equal(cause_describe(cause_find("net.refused"), NULL, evidence, gmail, other),
                         0);
        assert_int_equal(list_len(dict_list(other, "links")), 0);
}

static int setup(void **state)
{
        return causes_load();
}

static int teardown(void **state)
{
        causes_unload();
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_complete),  cmocka_unit_test(test_filled),
                cmocka_unit_test(test_left_out),  cmocka_unit_test(test_languages),
                cmocka_unit_test(test_described),
        };

        return cmocka_run_group_tests_name("probe/cause", tests, setup, teardown);
}
