/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Autoconfig documents, good, odd and hostile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/text.h"
#include "proto/autoconfig.h"

#define HEAD "<clientConfig version='1.1'><emailProvider id='x'>"
#define TAIL "</emailProvider></clientConfig>"
#define SERVER(inner) "<incomingServer type='pop3'>" inner "</incomingServer>"
#define HOST "<hostname>pop.example.org</hostname>"
#define PORT "<port>995</port>"
#define SSL "<socketType>SSL</socketType>"
#define GOOD SERVER(HOST PORT SSL)

static int parse(Autoconfig **ret, const char *text)
{
        return autoconfig_parse(ret, text, strlen(text), "tim@example.org");
}

static void test_ordinary(void **state)
{
        _cleanup_(autoconfig_freep) Autoconfig *a = NULL;

        assert_int_equal(
                parse(&a,
                      "\n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<clientConfig version=\"1.1\">\n"
                      "<emailProvider id=\"example.org\"><domain>example.org</domain>\n"
                      "<displayName>  The Example\n</displayName><displayName>Other</displayName>\n"
                      "<incomingServer type=\"imap\"><hostname>imap.%EMAILDOMAIN%</hostname>"
                      "<port> 993 </port><socketType>SSL</socketType>"
                      "<username>%EMAILLOCALPART%.%EMAILDOMAIN%</username>"
                      "<authentication>OAuth2</authentication>"
                      "<authentication>password-cleartext</authentication></incomingServer>\n"
                      "<incomingServer type=\"pop3\"><hostname>POP.example.org</hostname>"
                      "<port>110</port><socketType>STARTTLS</socketType>"
                      "<username>%EMAILADDRESS%</username>"
                      "<pop3><checkInterval minutes=\"15\"/></pop3></incomingServer>\n"
                      "<incomingServer type=\"exchange\"><hostname>x.example.org</hostname>"
                      "<port>443</port><socketType>SSL</socketType></incomingServer>\n"
                      "<outgoingServer type=\"smtp\"><hostname>smtp.example.org</hostname>"
                      "<port>587</port><socketType>plain</socketType></outgoingServer>\n"
                      "<enable visiturl=\"https://example.org/pop\"><instruction/></enable>"
                      "<documentation url=\"https://example.org\"/></emailProvider>"
                      "<oAuth2><issuer>x</issuer></oAuth2></clientConfig><!-- end -->\n"),
                0);
        assert_int_equal(a->n_servers, 3);
        assert_string_equal(a->display_name, "The Example");
        assert_string_equal(a->enable_url, "https://example.org/pop");

        assert_string_equal(a->servers[0].type, "imap");
        assert_string_equal(a->servers[0].host, "imap.example.org");
        assert_int_equal(a->servers[0].port, 993);
        assert_string_equal(a->servers[0].security, "tls");
        assert_string_equal(a->servers[0].user, "tim.example.org");
        assert_int_equal(list_len(a->servers[0].methods), 2);
        assert_string_equal(a->servers[0].methods[1], "password-cleartext");

        assert_string_equal(a->servers[1].type, "pop3");
        assert_string_equal(a->servers[1].host, "pop.example.org");
        assert_string_equal(a->servers[1].security, "starttls");
        assert_string_equal(a->servers[1].user, "tim@example.org");
        assert_int_equal(a->servers[1].check_interval_minutes, 15);

        assert_string_equal(a->servers[2].type, "smtp");
        assert_string_equal(a->servers[2].security, "none");
        assert_null(a->servers[2].user);
}

static void test_odd_but_good(void **state)
{
        static const char *const table[] = {
                HEAD GOOD TAIL,
                "\xef\xbb\xbf" HEAD GOOD TAIL,
                "  \n" HEAD GOOD TAIL,
                "<a:clientConfig xmlns:a='urn:x'><a:emailProvider>"
                "<a:incomingServer a:type='pop3'><a:hostname>pop.example.org</a:hostname>"
                "<a:port>995</a:port><a:socketType>SSL</a:socketType></a:incomingServer>"
                "</a:emailProvider></a:clientConfig>",
                HEAD SERVER("<hostname><![CDATA[pop.example.org]]></hostname>" PORT SSL) TAIL,
                HEAD SERVER("<hostname>pop.<!-- c -->example.org</hostname>" PORT SSL) TAIL,
                HEAD SERVER("<x><hostname>wrong</hostname></x>" HOST PORT SSL "<y/>") TAIL,
                HEAD SERVER(HOST PORT "<socketType>new</socketType>" SSL
                                      "<socketType>plain</socketType>") TAIL,
                HEAD SERVER(HOST PORT SSL "<password>x</password><restriction>y</restriction>")
                        TAIL,
                HEAD SERVER(HOST "<port>0</port>" SSL) GOOD TAIL,
                HEAD SERVER("<hostname>a b</hostname>" PORT SSL) GOOD TAIL,
                HEAD SERVER(HOST PORT) SERVER(HOST SSL) SERVER(PORT SSL) GOOD TAIL,
                HEAD "<incomingServer><hostname/></incomingServer>" GOOD TAIL,
                "<?xml version='1.0' encoding='ISO-8859-1'?>" HEAD
                "<displayName>\xe4</displayName>" GOOD TAIL,
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(autoconfig_freep) Autoconfig *a = NULL;

                if (parse(&a, table[i]) != 0)
                        fail_msg("refused: %s", table[i]);
                assert_int_equal(a->n_servers, 1);
                assert_string_equal(a->servers[0].host, "pop.example.org");
                assert_int_equal(a->servers[0].port, 995);
                assert_string_equal(a->servers[0].security, "tls");
        }
}

static void test_refused(void **state)
{
        static const char *const table[] = {
                "",
                "hello",
                "<html><body>404</body></html>",
                HEAD TAIL,
                HEAD GOOD,
                HEAD GOOD "</clientConfig>",
                HEAD SERVER(HOST PORT SSL "<port") TAIL,
                "<!DOCTYPE clientConfig>" HEAD GOOD TAIL,
                "<!DOCTYPE c [<!ENTITY a 'pop.example.org'>]>" HEAD SERVER(
                        "<hostname>&a;</hostname>" PORT SSL) TAIL,
                "<!DOCTYPE c SYSTEM 'file:///etc/passwd'>" HEAD GOOD TAIL,
                HEAD SERVER("<hostname>&undefined;</hostname>" PORT SSL) TAIL,
                HEAD SERVER(HOST "<port>65536</port>" SSL) TAIL,
                HEAD SERVER(HOST "<port>-1</port>" SSL) TAIL,
                HEAD SERVER(HOST PORT "<socketType>new</socketType>") TAIL,
                HEAD SERVER("<hostname>pop.\xe2\x80\xae"
                            "example.org</hostname>" PORT SSL) TAIL,
                HEAD "<outgoingServer type='pop3'>" HOST PORT SSL "</outgoingServer>" TAIL,
                "<clientConfig>" GOOD "</clientConfig>",
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                Autoconfig *a = NULL;

                if (parse(&a, table[i]) != -EBADMSG)
                        fail_msg("accepted: %s", table[i]);
                assert_null(a);
        }
}

static void test_placeholders(void **state)
{
        static const struct {
                const char *value, *user;
        } table[] = {
                { "%EMAILADDRESS%", "a%EMAILDOMAIN%@example.org" },
                { "%EMAILADDRESS", "a%EMAILDOMAIN%@example.org" },
                { "%EMAILLOCALPART%", "a%EMAILDOMAIN%" },
                { "x%EMAILDOMAIN%y", "xexample.orgy" },
                { "%EMAILADDRESSx", "%EMAILADDRESSx" },
                { "100%", "100%" },
                { "%%EMAILDOMAIN%%", "%example.org%" },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(autoconfig_freep) Autoconfig *a = NULL;
                char text[1024];

                snprintf(text, sizeof(text),
                         HEAD "<incomingServer type='pop3'>" HOST PORT SSL
                              "<username>%s</username></incomingServer>" TAIL,
                         table[i].value);
                assert_int_equal(
                        autoconfig_parse(&a, text, strlen(text), "a%EMAILDOMAIN%@example.org"), 0);
                assert_string_equal(a->servers[0].user, table[i].user);
        }
}

static void test_enable(void **state)
{
        static const struct {
                const char *text, *url;
        } table[] = {
                { "<clientConfig><enable visiturl='http://a.example/x?y'/><emailProvider>" GOOD
                          TAIL,
                  "http://a.example/x?y" },
                { HEAD "<enable visiturl='javascript:alert(1)'/>" GOOD TAIL, NULL },
                { HEAD "<enable visiturl='file:///x'/>" GOOD TAIL, NULL },
                { HEAD "<enable visiturl='https://a b'/>" GOOD TAIL, NULL },
                { HEAD "<enable/>" GOOD TAIL, NULL },
        };

        for (size_t i = 0; i < ELEMENTS(table); i++) {
                _cleanup_(autoconfig_freep) Autoconfig *a = NULL;

                assert_int_equal(parse(&a, table[i].text), 0);
                if (table[i].url)
                        assert_string_equal(a->enable_url, table[i].url);
                else
                        assert_null(a->enable_url);
        }
}

static int parse_repeated(const char *before, const char *piece, size_t times, const char *after,
                          size_t *ret_servers)
{
        _cleanup_(autoconfig_freep) Autoconfig *a = NULL;
        _cleanup_buffer_ Buffer text = BUFFER(4 << 20);
        int r;

        assert_int_equal(buffer_append_text(&text, before), 0);
        for (size_t i = 0; i < times; i++)
                assert_int_equal(buffer_append_text(&text, piece), 0);
        assert_int_equal(buffer_append_text(&text, after), 0);
        r = autoconfig_parse(&a, text.data, text.len, "tim@example.org");
        if (r == 0)
                *ret_servers = a->n_servers;
        return r;
}

static void test_bounds(void **state)
{
        size_t n = 0;

        assert_int_equal(parse_repeated(HEAD, GOOD, 100, TAIL, &n), 0);
        assert_int_equal(n, LIMIT_SERVERS);
        /* depth: root, provider, then 14 more are allowed */
        assert_int_equal(
                parse_repeated(HEAD GOOD, "<a>", LIMIT_DEPTH - 2,
                               "</a></a></a></a></a></a></a></a></a></a></a></a></a></a>" TAIL, &n),
                0);
        assert_int_equal(
                parse_repeated(HEAD GOOD, "<a>", LIMIT_DEPTH - 1,
                               "</a></a></a></a></a></a></a></a></a></a></a></a></a></a></a>" TAIL,
                               &n),
                -EBADMSG);
        assert_int_equal(parse_repeated(HEAD GOOD, "<a/>", LIMIT_XML_ELEMENTS - 6, TAIL, &n), 0);
        assert_int_equal(parse_repeated(HEAD GOOD, "<a/>", LIMIT_XML_ELEMENTS - 5, TAIL, &n),
                         -EBADMSG);
        assert_int_equal(parse_repeated(HEAD GOOD, " ", LIMIT_DOCUMENT, TAIL, &n), -EBADMSG);
        /* a host name that never ends drops its section, not the next one */
        assert_int_equal(parse_repeated(HEAD "<incomingServer type='pop3'>" PORT SSL "<hostname>",
                                        "a.", 20000, "</hostname></incomingServer>" GOOD TAIL, &n),
                         0);
        assert_int_equal(n, 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_ordinary), cmocka_unit_test(test_odd_but_good),
                cmocka_unit_test(test_refused),  cmocka_unit_test(test_placeholders),
                cmocka_unit_test(test_enable),   cmocka_unit_test(test_bounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
