/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Foreign JSON, also as a PACC document and beside its digest. */
#include <assert.h>

#include "base/text.h"
#include "proto/json.h"
#include "proto/pacc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(pacc_freep) Pacc *pacc = NULL;
        _cleanup_free_ char *record = NULL;
        json_object *root = NULL;
        int r = json_read(&root, (const char *) data, size);

        assert(r == 0 || r == -EBADMSG);
        assert((r == 0) == json_is_valid((const char *) data, size));
        json_object_put(root);
        r = pacc_parse(&pacc, (const char *) data, size);
        assert(r == -EBADMSG || pacc->pop3 || pacc->imap || pacc->submit);
        if (size < 4096 && text_set_n(&record, (const char *) data, size) == 0) {
                char *records[] = { record, NULL };

                (void) pacc_digest_matches(records, "x", 1);
        }
        return 0;
}
