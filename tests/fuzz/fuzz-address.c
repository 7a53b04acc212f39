/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What was accepted is accepted again and stays what it is. */
#include <string.h>

#include "base/text.h"
#include "proto/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(mail_address_freep) MailAddress *once = NULL, *again = NULL;
        _cleanup_free_ char *text = strndup((const char *) data, size);
        _cleanup_free_ char *host = NULL, *same = NULL, *domain = NULL;

        if (text && host_normalize(&host, text) == 0) {
                assert(host_normalize(&same, host) == 0 && text_equal(host, same));
                assert(host_registrable(&domain, host) == 0 && text_ends_nocase(host, domain));
        }
        if (text && mail_address_parse(&once, text, NULL) == 0) {
                assert(strlen(once->address) <= LIMIT_ADDRESS);
                assert(mail_address_parse(&again, once->address, NULL) == 0);
                assert(text_equal(once->address, again->address));
                assert(text_is_clean(once->domain_unicode, strlen(once->domain_unicode)));
        }
        return 0;
}
