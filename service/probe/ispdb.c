/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The central database of autoconfig documents. It learns the domain, never the address. */
#include <stdio.h>
#include <string.h>

#include "base/fiber.h"
#include "base/text.h"
#include "probe/sources.h"

int ispdb_fetch(Autoconfig **ret, Candidates *to, const DiscoveryContext *context,
                const char *domain, char note[64])
{
        /* Configuration has checked the form: https://HOST/PATH/ */
        const char *host = context->ispdb + strlen("https://");
        size_t len = strcspn(host, "/");
        _cleanup_free_ char *path = NULL, *name = NULL;
        unsigned status;
        int r;

        r = text_set_n(&name, host, len);
        if (r == 0)
                r = text_format(&path, "%s%s", host + len, domain);
        return r < 0 ? r
                     : document_fetch(ret, to, context, 0, name, path, "the domain", note, &status);
}

int source_ispdb(Candidates *to, const DiscoveryContext *context, SourceNote *note)
{
        _cleanup_(autoconfig_freep) Autoconfig *document = NULL;
        char text[64] = "";
        int r;

        FIBER_DEADLINE(SOURCE_REQUEST_USEC);
        r = ispdb_fetch(&document, to, context, context->address->domain, text);
        if (r == 0 && document)
                r = candidates_add_document(to, document, context, SOURCE_ISPDB);
        snprintf(note->text, sizeof(note->text), "%s", text);
        return r;
}
