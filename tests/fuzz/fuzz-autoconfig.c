/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whatever the document: the servers that come out can be used. */
#include <string.h>

#include "base/text.h"
#include "proto/address.h"
#include "proto/autoconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        _cleanup_(autoconfig_freep) Autoconfig *a = NULL;

        if (autoconfig_parse(&a, (const char *) data, size, "a%EMAILDOMAIN%@example.org") < 0)
                return 0;
        assert(a->n_servers > 0 && a->n_servers <= LIMIT_SERVERS);
        for (size_t i = 0; i < a->n_servers; i++) {
                const AutoconfigServer *server = &a->servers[i];
                _cleanup_free_ char *host = NULL;

                assert(server->port > 0 && server->security[0] && server->type[0]);
                assert(host_normalize(&host, server->host) == 0 && text_equal(host, server->host));
                assert(!server->user || text_is_clean(server->user, strlen(server->user)));
        }
        assert(!a->enable_url || text_starts_nocase(a->enable_url, "http"));
        return 0;
}
