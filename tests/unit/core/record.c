/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Records and endpoints: copies are deep, names go both ways, nothing leaks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"
#include "core/record.h"

static char *own(const char *text)
{
        char *copy = strdup(text);

        assert_non_null(copy);
        return copy;
}

static Endpoint endpoint_sample(void)
{
        return (Endpoint){ .protocol = PROTOCOL_POP3,
                           .host = own("pop.example.com"),
                           .port = 995,
                           .security = SECURITY_TLS,
                           .user = own("anna"),
                           .approved_spki = own("00ff") };
}

static void endpoint_copies(void **state)
{
        _cleanup_(endpoint_deinit) Endpoint a = endpoint_sample();
        _cleanup_(endpoint_deinit)
                Endpoint b = { .host = own("old.example.com"), .user = own("old") };

        assert_int_equal(endpoint_copy(&b, &a), 0);
        assert_true(endpoint_same(&a, &b));
        assert_ptr_not_equal(a.host, b.host);
        assert_string_equal(b.user, "anna");
        assert_string_equal(b.approved_spki, "00ff");
        /* Onto itself. */
        assert_int_equal(endpoint_copy(&b, &b), 0);
        assert_string_equal(b.host, "pop.example.com");
}

static void endpoint_differs(void **state)
{
        _cleanup_(endpoint_deinit) Endpoint a = endpoint_sample();
        Endpoint b = a;

        assert_true(endpoint_same(&a, &b));
        b.port = 110;
        assert_false(endpoint_same(&a, &b));
        b = a;
        b.security = SECURITY_STARTTLS;
        assert_false(endpoint_same(&a, &b));
        b = a;
        b.protocol = PROTOCOL_SMTP;
        assert_false(endpoint_same(&a, &b));
        b = a;
        b.host = NULL;
        assert_false(endpoint_same(&a, &b));
        b = a;
        b.user = NULL; /* who signs in is not where */
        assert_true(endpoint_same(&a, &b));
}

static void endpoint_names(void **state)
{
        static const Security all[] = { SECURITY_TLS, SECURITY_STARTTLS, SECURITY_NONE };
        Security security;

        for (size_t i = 0; i < ELEMENTS(all); i++) {
                assert_int_equal(security_from_name(security_name(all[i]), &security), 0);
                assert_int_equal(security, all[i]);
        }
        assert_int_equal(security_from_name("SSL", &security), 0);
        assert_int_equal(security, SECURITY_TLS);
        assert_int_equal(security_from_name("implicit", &security), 0);
        assert_int_equal(security, SECURITY_TLS);
        assert_int_equal(security_from_name("tls1", &security), -EINVAL);
        assert_int_equal(security_from_name("", &security), -EINVAL);
        assert_int_equal(security_from_name(NULL, &security), -EINVAL);
        assert_string_equal(protocol_name(PROTOCOL_POP3), "pop3");
        assert_string_equal(protocol_name(PROTOCOL_SMTP), "smtp");
        assert_string_equal(protocol_name(PROTOCOL_IMAP), "imap");
        assert_int_equal(protocol_default_port(PROTOCOL_IMAP, SECURITY_TLS), 993);
        assert_int_equal(protocol_default_port(PROTOCOL_IMAP, SECURITY_STARTTLS), 143);
        assert_string_equal(side_name(SIDE_INCOMING), "incoming");
        assert_string_equal(side_name(SIDE_OUTGOING), "outgoing");
        assert_int_equal(protocol_default_port(PROTOCOL_POP3, SECURITY_TLS), 995);
        assert_int_equal(protocol_default_port(PROTOCOL_POP3, SECURITY_STARTTLS), 110);
        assert_int_equal(protocol_default_port(PROTOCOL_SMTP, SECURITY_TLS), 465);
        assert_int_equal(protocol_default_port(PROTOCOL_SMTP, SECURITY_STARTTLS), 587);
}

static void endpoint_as_dict(void **state)
{
        _cleanup_(endpoint_deinit) Endpoint endpoint = endpoint_sample();
        _cleanup_(dict_freep) Dict *dict = dict_new(), *empty = dict_new();

        assert_int_equal(endpoint_to_dict(&endpoint, dict), 0);
        assert_int_equal(dict->n_entries, 5);
        assert_string_equal(dict_text(dict, "host"), "pop.example.com");
        assert_int_equal(dict_number(dict, "port", 0), 995);
        assert_string_equal(dict_text(dict, "security"), "tls");
        assert_string_equal(dict_text(dict, "protocol"), "pop3");
        assert_string_equal(dict_text(dict, "user"), "anna");
        assert_int_equal(endpoint_to_dict(&(Endpoint){}, empty), 0);
        assert_int_equal(empty->n_entries, 0);
}

static void account_copies(void **state)
{
        _cleanup_(account_record_deinit) AccountRecord a = {
                .id = "00112233445566778899aabbccddeeff",
                .uid = 1000,
                .user_name = own("anna"),
                .address = own("anna@example.com"),
                .incoming = endpoint_sample(),
                .outgoing = endpoint_sample(),
                .keep = KEEP_NOT,
                .cause = own("login.refused"),
                .failures = 3,
        };
        _cleanup_(account_record_deinit)
                AccountRecord b = { .address = own("old"), .location = own("x") };

        assert_int_equal(account_record_copy(&b, &a), 0);
        assert_string_equal(b.id, a.id);
        assert_string_equal(b.address, "anna@example.com");
        assert_null(b.location);
        assert_null(b.display_name);
        assert_ptr_not_equal(b.cause, a.cause);
        assert_int_equal(b.failures, 3);
        assert_int_equal(b.keep, KEEP_NOT);
        assert_true(endpoint_same(&a.outgoing, &b.outgoing));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(endpoint_copies), cmocka_unit_test(endpoint_differs),
                cmocka_unit_test(endpoint_names),  cmocka_unit_test(endpoint_as_dict),
                cmocka_unit_test(account_copies),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
