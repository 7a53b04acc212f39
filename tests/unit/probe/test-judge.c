/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From outcome to cause where no words decide: connecting, handshakes, certificates, silence, other protocols. What servers say is test-reply.c's. */
#include "tests/unit/base/check.h"

#include <netinet/in.h>
#include <string.h>

#include "dbus/names.h"
#include "probe/cause.h"
#include "probe/judge.h"

static const Endpoint pop = { .protocol = PROTOCOL_POP3,
                              .host = (char[]){ "pop.example.test" },
                              .port = 995,
                              .security = SECURITY_TLS };
static const Endpoint pop_starttls = { .protocol = PROTOCOL_POP3,
                                       .host = (char[]){ "pop.example.test" },
                                       .port = 995,
                                       .security = SECURITY_STARTTLS };
static const Endpoint smtp = { .protocol = PROTOCOL_SMTP,
                               .host = (char[]){ "smtp.example.test" },
                               .port = 465,
                               .security = SECURITY_TLS };

static const char *judge(const Outcome *no, const Endpoint *endpoint, bool tls)
{
        JudgeContext context = { .endpoint = endpoint, .tls = tls };

        return judge_outcome(no, &context);
}

static Outcome first_bytes(OutcomeKind kind, Phase phase, const char *bytes, size_t len)
{
        Outcome no = { .kind = kind, .phase = phase, .first_len = len };

        memcpy(no.first, bytes, len);
        return no;
}

static void connecting(void **state)
{
        static const struct {
                int error;
                const char *cause;
        } cases[] = {
                { ECONNREFUSED, "net.refused" },     { ETIMEDOUT, "net.timeout" },
                { EHOSTUNREACH, "net.unreachable" }, { ENETUNREACH, "net.unreachable" },
                { EACCES, "net.blocked-locally" },   { EPERM, "net.blocked-locally" },
                { ECONNRESET, "net.reset" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                Outcome no = { .kind = OUTCOME_CONNECT, .error = cases[i].error };

                assert_string_equal(judge(&no, &pop, false), cases[i].cause);
        }
}

static void who_forbids_decides(void **state)
{
        Outcome no = { .kind = OUTCOME_CONNECT, .error = EHOSTUNREACH };
        DialAttempt *a = &no.dial.attempts[0];

        no.dial.n_attempts = 1;
        *a = (DialAttempt){ .address = "192.0.2.1", .error = EHOSTUNREACH, .by = "198.51.100.1" };
        assert_string_equal(judge(&no, &pop, false),
                            "net.unreachable"); /* no way is no prohibition */
        a->prohibited = true;
        assert_string_equal(judge(&no, &pop, false), "net.port-blocked");
        memcpy(a->by, a->address, sizeof(a->by));
        assert_string_equal(judge(&no, &pop, false), "net.refused");
        a->ours = true;
        assert_string_equal(judge(&no, &pop, false), "net.blocked-locally");
        /* another address was silent, which says more */
        no.error = ETIMEDOUT;
        assert_string_equal(judge(&no, &pop, false), "net.timeout");
}

static void who_speaks(void **state)
{
        static const struct {
                const char *first;
                size_t len;
                const Endpoint *endpoint;
                const char *cause, *speaks;
        } cases[] = {
                { "+OK ready", 9, &pop, "tls.mode-mismatch", "pop3" },
                { "220 ready", 9, &smtp, "tls.mode-mismatch", "smtp" },
                { "* OK ready", 10, &pop, "net.wrong-service", "imap" },
                { "220 FTP server", 14, &pop, "net.wrong-service", "ftp" },
                { "SSH-2.0-x", 9, &pop, "net.wrong-service", "ssh" },
                { "HTTP/1.1 400", 12, &pop, "net.wrong-service", "http" },
                { "<html>", 6, &pop, "net.wrong-service", "http" },
                { "RFB 003.008", 11, &pop, "net.wrong-service", "vnc" },
                { "\x01\x02", 2, &pop, "net.wrong-service", NULL },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                Outcome no = first_bytes(OUTCOME_HANDSHAKE, PHASE_HANDSHAKE, cases[i].first,
                                         cases[i].len);
                JudgeContext context = { .endpoint = cases[i].endpoint };
                Finding finding = {};
                const char *speaks;

                assert_int_equal(finding_fail(&finding, &no, &context), 0);
                assert_string_equal(finding.cause, cases[i].cause);
                speaks = dict_text(&finding.evidence, KEY_SPEAKS);
                if (cases[i].speaks)
                        assert_string_equal(speaks, cases[i].speaks);
                else
                        assert_null(speaks);
                finding_clear(&finding);
        }
}

static void tls_in_clear(void **state)
{
        Outcome no = first_bytes(OUTCOME_GARBAGE, PHASE_GREETING, "\x16\x03\x01\x00", 4);

        assert_string_equal(judge(&no, &pop_starttls, false), "tls.mode-mismatch");
}

static void silence(void **state)
{
        Outcome no = { .kind = OUTCOME_TIMEOUT, .phase = PHASE_GREETING };

        assert_string_equal(judge(&no, &pop_starttls, false),
                            "tls.mode-mismatch"); /* 995 waits for TLS */
        assert_string_equal(judge(&no, &pop, true), "net.timeout");
}

static void handshakes(void **state)
{
        static const struct {
                const char *text;
                unsigned alert;
                const char *cause;
        } cases[] = {
                { "unsupported protocol", 0, "tls.version-unsupported" },
                { "tlsv1 alert protocol version", 70, "tls.version-unsupported" },
                { "unsafe legacy renegotiation disabled", 0, "tls.legacy-renegotiation" },
                { "dh key too small", 0, "tls.weak-crypto" },
                { "sslv3 alert handshake failure", 40, "tls.handshake-failed" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                Outcome no = { .kind = OUTCOME_HANDSHAKE,
                               .phase = PHASE_HANDSHAKE,
                               .alert = cases[i].alert };

                outcome_set_text(&no, cases[i].text, strlen(cases[i].text));
                assert_string_equal(judge(&no, &pop, false), cases[i].cause);
        }
}

/* Who signed it comes before what is written in it. */
static void certificates(void **state)
{
        static const struct {
                unsigned faults;
                const char *cause;
        } cases[] = {
                { CERTIFICATE_EXPIRED, "tls.cert-expired" },
                { CERTIFICATE_EXPIRED | CERTIFICATE_WRONG_NAME, "tls.cert-expired" },
                { CERTIFICATE_SELF_SIGNED | CERTIFICATE_EXPIRED, "tls.cert-self-signed" },
                { CERTIFICATE_UNTRUSTED_CA | CERTIFICATE_WRONG_NAME, "tls.cert-untrusted-ca" },
                { CERTIFICATE_REVOKED | CERTIFICATE_UNTRUSTED_CA, "tls.cert-revoked" },
                { CERTIFICATE_WEAK, "tls.weak-crypto" },
                { CERTIFICATE_INVALID, "tls.cert-invalid" },
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                Certificate certificate = { .faults = cases[i].faults };
                Outcome no = { .kind = OUTCOME_CERTIFICATE, .certificate = &certificate };

                assert_string_equal(judge(&no, &pop, false), cases[i].cause);
        }
}

static void families_told(const DialReport *report, const char *four, const char *six)
{
        Dict evidence = {};

        assert_int_equal(evidence_families(&evidence, report), 0);
        if (four) {
                assert_string_equal(dict_text(&evidence, KEY_IPV4), four);
                assert_string_equal(dict_text(&evidence, KEY_IPV6), six);
        } else {
                assert_null(dict_text(&evidence, KEY_IPV4));
                assert_null(dict_text(&evidence, KEY_IPV6));
        }
        dict_clear(&evidence);
}

static void families(void **state)
{
        DialReport report = { .n_attempts = 2,
                              .attempts = { { .address = "2001:db8::1", .error = ETIMEDOUT },
                                            { .address = "192.0.2.1" } } };

        families_told(&report, "works", "no answer");
        report.attempts[0].error = ENETUNREACH; /* none here: nothing is broken */
        families_told(&report, NULL, NULL);
        report.attempts[0].error = ECANCELED; /* lost the race: nobody knows */
        families_told(&report, NULL, NULL);
        report.attempts[0].error = ECONNREFUSED;
        families_told(&report, "works", "refused");
        report.attempts[0].error = 0;
        families_told(&report, NULL, NULL);
        report.attempts[0].error = ECONNREFUSED;
        report.n_attempts = 1; /* no other family */
        families_told(&report, NULL, NULL);
}

static void delivery_faults(void **state)
{
        assert_string_equal(judge_delivery_fault(-ENOSPC), "delivery.no-space");
        assert_string_equal(judge_delivery_fault(-EDQUOT), "delivery.no-space");
        assert_string_equal(judge_delivery_fault(-EROFS), "delivery.denied");
        assert_string_equal(judge_delivery_fault(-EACCES), "delivery.denied");
        assert_string_equal(judge_delivery_fault(-EIO), "delivery.refused");
}

/* Words that are no UTF-8 are kept for judging, and shown printable. */
static void words_as_they_came(void **state)
{
        Outcome no = {};

        outcome_set_text(&no, "caf\xe9", 4);
        assert_string_equal(outcome_words(&no), "caf\xe9");
        assert_string_not_equal(no.text, "caf\xe9");
        outcome_set_text(&no, "plain", 5);
        assert_string_equal(outcome_words(&no), "plain");
        assert_string_equal(no.raw, "");
        outcome_set_text(&no, "a\0\xe9", 3); /* no text at all */
        assert_string_equal(no.raw, "");
}

static int load(void **state)
{
        return causes_load();
}

static int unload(void **state)
{
        causes_unload();
        return 0;
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(connecting),      cmocka_unit_test(who_forbids_decides),
                cmocka_unit_test(who_speaks),      cmocka_unit_test(tls_in_clear),
                cmocka_unit_test(silence),         cmocka_unit_test(handshakes),
                cmocka_unit_test(certificates),    cmocka_unit_test(families),
                cmocka_unit_test(delivery_faults), cmocka_unit_test(words_as_they_came),
        };

        return cmocka_run_group_tests(tests, load, unload);
}
