/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Networks that want a sign-in in the browser first. They give themselves away in two ways: a page that everybody knows reads otherwise here, or a
 * name that cannot exist leads to the very address that the server's name leads to. */
#include <stdio.h>
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/diagnose.h"
#include "wire/address.h"
#include "wire/http.h"

#define PORTAL_USEC (3 * USEC_PER_SEC)

static int portal_found(Finding *finding, const char *what)
{
        int r;

        finding->cause = "net.captive-portal";
        r = dict_set_text(&finding->evidence, KEY_PORTAL, what);
        return r < 0 ? r : 1;
}

/* RFC 6761 section 6.4: names under "invalid" do not exist. Returns 1 when it leads to one of the server's addresses. */
static int portal_by_name(Session *session, Finding *finding)
{
        _cleanup_(dns_addresses_freep) DnsAddresses *found = NULL;
        _cleanup_outcome_ Outcome no = {};
        char label[17], name[32], theirs[48], ours[48];
        int r;

        if (!session->addresses)
                return 0;
        r = random_hex(label, 8);
        if (r < 0)
                return r;
        snprintf(name, sizeof(name), "%s.invalid", label);
        r = dns_addresses(&found, session->dns, name, &no);
        if (r != 0)
                return MIN(r, 0);
        for (unsigned i = 0; i < found->n_addresses; i++)
                for (unsigned k = 0; k < session->addresses->n_addresses; k++) {
                        address_text((const struct sockaddr *) &found->addresses[i], theirs);
                        address_text((const struct sockaddr *) &session->addresses->addresses[k],
                                     ours);
                        if (text_equal(theirs, ours))
                                return portal_found(finding, ours);
                }
        return 0;
}

static bool response_is(const HttpResponse *response, const char *expected)
{
        return response->body && strncmp(response->body, expected, strlen(expected)) == 0;
}

/* RFC 6585 section 6: status 511 is made for this. */
static int portal_by_page(Session *session, Finding *finding)
{
        const Means *means = session->means;
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        _cleanup_outcome_ Outcome no = {};
        int r;

        if (!means->http || !means->connectivity_url || !means->connectivity_response)
                return 0;
        r = http_get_with(&response, means->http, means->connectivity_url,
                          HTTP_PLAIN | HTTP_SAME_HOST, ADDRESS_PRIVATE, &no);
        if (r < 0)
                return r == -EINVAL ? 0 : r;
        if (r == 0)
                return response_is(response, means->connectivity_response)
                               ? 0
                               : portal_found(finding, means->connectivity_url);
        if (no.kind != OUTCOME_HTTP || (no.status != 511 && (no.status < 300 || no.status > 399)))
                return 0;
        return portal_found(finding, no.text[0] ? no.text : means->connectivity_url);
}

int diagnose_portal(Session *session, Finding *finding)
{
        int r;

        FIBER_DEADLINE(PORTAL_USEC);
        r = portal_by_name(session, finding);
        if (r == 0)
                r = portal_by_page(session, finding);
        return r == -ETIME ? 0 : r;
}
