/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The provider table: looked up by domain, exchanger, label and by a slip; the administrator's files before ours, wrong ones
 * left out. */
#include "tests/unit/base/check.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/text.h"
#include "probe/provider.h"

static Providers *table(void)
{
        Providers *providers = NULL;

        assert_int_equal(providers_new(&providers, NULL), 0);
        return providers;
}

static const char *id(const Provider *provider)
{
        return provider ? provider->id : "none";
}

static void test_lookup(void **state)
{
        _cleanup_(providers_freep) Providers *p = table();

        assert_string_equal(id(provider_by_domain(p, "googlemail.com")), "gmail");
        assert_string_equal(id(provider_by_domain(p, "mail.gmail.com")), "none");
        assert_string_equal(id(provider_by_mx(p, "alt1.gmail-smtp-in.l.google.com")), "gmail");
        assert_string_equal(id(provider_by_mx(p, "notgoogle.com")), "none");
        assert_string_equal(id(provider_by_mx(p, "example-org.mail.protection.outlook.com")),
                            "microsoft365");
        assert_string_equal(id(provider_by_mx(p, "example-org.olc.protection.outlook.com")),
                            "outlook");
        assert_string_equal(filter_by_mx(p, "mxa.pphosted.com"), "Proofpoint");
        assert_null(filter_by_mx(p, "pphosted.com.example"));
}

/* The labels that judged replies carry. */
static void test_labels(void **state)
{
        static const char *const labels[][2] = {
                { "gmail", "gmail" },
                { "google", "gmail" },
                { "google-workspace", "gmail" },
                { "microsoft365", "microsoft365" },
                { "microsoft-entra", "microsoft365" },
                { "microsoft", "microsoft365" },
                { "outlook.com", "outlook" },
                { "hotmail", "outlook" },
                { "yahoo", "yahoo" },
                { "qq", "qq" },
                { "zoho", "zoho" },
                { "orange-fr", "orange-fr" },
                { "icloud", "icloud" },
                { "mobileme", "icloud" },
                { "yandex", "yandex" },
                { "gmx", "gmx-de" },
                { "laposte-net", "laposte" },
                { "mail.ru", "mailru" },
                { "netease-163", "netease-163" },
                { "netease-126", "netease-126" },
                { "web.de", "webde" },
                { "proton-bridge", "proton" },
                { "tiscali-it", "tiscali-it" },
                { "godaddy", "godaddy" },
        };
        _cleanup_(providers_freep) Providers *p = table();

        for (size_t i = 0; i < ELEMENTS(labels); i++)
                assert_string_equal(id(provider_by_label(p, labels[i][0])), labels[i][1]);
        assert_string_equal(id(provider_by_label(p, "dovecot")), "none");
}

static void test_near(void **state)
{
        static const char *const near[][2] = {
                { "gmial.com", "gmail.com" },
                { "gmail.co", "gmail.com" },
                { "gmal.com", "gmail.com" },
                { "hotmial.con", "hotmail.com" },
                { "outlok.com", "outlook.com" },
                { "wev.de", "web.de" },
                { "gmail.com", NULL },
                { "example.org", NULL },
                { "a.de", NULL },
                { "universitaet.de", NULL },
        };
        _cleanup_(providers_freep) Providers *p = table();

        for (size_t i = 0; i < ELEMENTS(near); i++)
                if (!text_equal(provider_near(p, near[i][0]), near[i][1]))
                        fail_msg("%s: %s", near[i][0], provider_near(p, near[i][0]));
}

static void test_facts(void **state)
{
        _cleanup_(providers_freep) Providers *p = table();
        const Provider *gmail = provider_by_domain(p, "gmail.com"),
                       *web = provider_by_domain(p, "web.de");

        assert_string_equal(gmail->pop3.host, "pop.gmail.com");
        assert_int_equal(gmail->pop3.port, 995);
        assert_string_equal(gmail->imap.host, "imap.gmail.com");
        assert_int_equal(gmail->imap.protocol, PROTOCOL_IMAP);
        assert_int_equal(gmail->n_smtp, 2);
        assert_int_equal(gmail->pop_access, ACCESS_OFF);
        assert_int_equal(gmail->account_password, ACCOUNT_PASSWORD_REFUSED);
        assert_false(provider_needs_oauth(gmail));
        assert_true(provider_needs_oauth(provider_by_domain(p, "outlook.com")));
        assert_int_equal(web->user, USER_LOCAL);
        assert_int_equal(web->poll_minimum_usec, 15 * USEC_PER_MINUTE);
        assert_int_equal(provider_by_domain(p, "icloud.com")->pop_access, ACCESS_UNAVAILABLE);
}

static void write_file(const char *folder, const char *name, const char *text)
{
        char path[256];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        file = fopen(path, "we");
        assert_non_null(file);
        assert_true(fputs(text, file) >= 0);
        fclose(file);
}

static void test_administrator(void **state)
{
        _cleanup_(providers_freep) Providers *p = NULL;
        char folder[] = "/tmp/waypost-providers-XXXXXX", path[256];
        static const char *const files[] = { "1.json", "2.json", "3.json",
                                             "4.txt",  "5.json", "6.json" };

        assert_non_null(mkdtemp(folder));
        write_file(folder, "1.json",
                   "{\"id\":\"ours\",\"domains\":[\"gmail.com\",\"B\xc3\xbc"
                   "cher.example\"],\"pop3\":{\"host\":\"p.example\"}}");
        write_file(
                folder, "2.json",
                "{\"id\":\"evil\",\"domains\":[\"a.example\"],\"pop3\":{\"host\":\"p\",\"port\":70000}}");
        write_file(folder, "3.json", "not json");
        write_file(folder, "4.txt", "{\"id\":\"txt\",\"domains\":[\"txt.example\"]}");
        write_file(
                folder, "5.json",
                "{\"providers\":[{\"id\":\"five\",\"domains\":[\"five.example\"]},{\"id\":\"bad\"}]}");
        write_file(
                folder, "6.json",
                "{\"id\":\"six\",\"domains\":[\"six.example\"],\"settings-page\":\"javascript:x\"}");
        assert_int_equal(providers_new(&p, folder), 0);
        assert_string_equal(id(provider_by_domain(p, "gmail.com")), "ours");
        assert_true(provider_by_domain(p, "gmail.com")->administrator);
        assert_string_equal(id(provider_by_domain(p, "xn--bcher-kva.example")), "ours");
        assert_string_equal(id(provider_by_domain(p, "a.example")), "none");
        assert_string_equal(id(provider_by_domain(p, "txt.example")), "none");
        assert_string_equal(id(provider_by_domain(p, "five.example")), "five");
        assert_string_equal(id(provider_by_domain(p, "six.example")), "none");
        assert_string_equal(id(provider_by_domain(p, "web.de")), "webde");
        for (size_t i = 0; i < ELEMENTS(files); i++) {
                snprintf(path, sizeof(path), "%s/%s", folder, files[i]);
                assert_int_equal(unlink(path), 0);
        }
        assert_int_equal(rmdir(folder), 0);
        p = providers_free(p);
        assert_int_equal(providers_new(&p, folder), 0); /* absent is empty */
        assert_false(provider_at(p, 0)->administrator);
}

int main(void)
{
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_lookup),        cmocka_unit_test(test_labels),
                cmocka_unit_test(test_near),          cmocka_unit_test(test_facts),
                cmocka_unit_test(test_administrator),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
