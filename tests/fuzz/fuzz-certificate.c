/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A certificate as a server may send it: whatever OpenSSL takes for one has facts that are bounded and printable, an issuer to judge, and
 * evidence that the bus takes. */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/dict.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "wire/certificate_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void x509p(X509 **cert)
{
        X509_free(*cert);
}

static void check_text(const char *text)
{
        assert(!text || text_is_clean(text, strlen(text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const unsigned char *p = data;
        _cleanup_(x509p) X509 *cert = d2i_X509(NULL, &p, (long) size);
        _cleanup_(certificate_freep) Certificate *facts = NULL;
        Dict evidence = {};

        if (cert && certificate_read(&facts, cert) == 0) {
                check_text(facts->subject);
                check_text(facts->issuer);
                assert(list_len(facts->names) <= LIMIT_CERT_NAMES);
                for (size_t i = 0; i < list_len(facts->names); i++)
                        check_text(facts->names[i]);
                assert(strlen(facts->sha256) == 64 && strlen(facts->spki_sha256) == 64);
                facts->faults |= certificate_judge_end(cert, (int) (size & 1));
                (void) judge_certificate(facts);
                assert(evidence_certificate(&evidence, facts) == 0);
                assert(dict_text(&evidence, KEY_SPKI));
        }
        dict_clear(&evidence);
        ERR_clear_error();
        return 0;
}
