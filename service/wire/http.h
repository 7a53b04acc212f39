/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* HTTPS by libcurl: GET of small documents, and forms of an authorization server. Resolved through wire/dns and pinned to allowed addresses, one handle for
 * each request, no reuse, no environment, no cookies, no decoding; redirects are followed by us: HTTPS to HTTPS,
 * LIMIT_REDIRECTS, port 443, no IP literals. */
#pragma once

#include "wire/address.h"
#include "wire/dns.h"
#include "wire/tls.h"

typedef struct Http Http;

typedef struct HttpResponse {
        char *body; /* NUL-terminated, at most LIMIT_DOCUMENT octets */
        size_t body_len;
        char *content_type; /* may be NULL */
        char *url;          /* where it finally came from */
        unsigned n_redirects;
        unsigned status; /* of http_ask(): any */
        bool secret;     /* the body is wiped when it is freed */
} HttpResponse;

/* @ca_file NULL: the system's. @dns is borrowed and must outlive it. */
int http_new(Http **ret, Dns *dns, const char *ca_file);
/* From now on @tls (borrowed, outlives it) has the trust anchors: reading them anew costs each request more than a near server does. */
void http_share_trust(Http *http, Tls *tls);
Http *http_free(Http *http);
DEFINE_CLEANUP(Http, http_free);

/* Only https:// URLs. At most LIMIT_HTTPS_USEC. Suspends.
 * Returns 0 for a 200; 1 with @no (HTTP with the status, DNS, CONNECT, HANDSHAKE, CERTIFICATE, TIMEOUT, TOO_LONG, POLICY);
 * -EINVAL for a URL that is not ours to ask; negative errno. */
int http_get(HttpResponse **ret, Http *http, const char *url, unsigned policy, Outcome *no);
/* The same with flags. */
enum {
        HTTP_PLAIN = 1 << 0, /* http:// on port 80 too, for what nobody is going to trust */
        HTTP_SAME_HOST =
                1 << 1, /* no redirect to another host: the URL holds what is for this one only */
        HTTP_ANY_PORT =
                1
                << 2, /* not 443 alone: for addresses that the user or the administrator answers for */
};
int http_get_with(HttpResponse **ret, Http *http, const char *url, unsigned flags, unsigned policy,
                  Outcome *no);
/* What time it is there, by the Date of the answer to a HEAD (RFC 9110 section 6.6.1), whatever its status. The certificate must verify in
 * everything but its time. Suspends. Returns 0; 1 with @no, also without a Date; negative errno. */
int http_time(uint64_t *ret_usec, Http *http, const char *url, unsigned policy, Outcome *no);
/* One question with any answer: no redirect is followed, every status is an answer (response->status), the body is treated as a secret. */
typedef struct HttpQuestion {
        const char *url;           /* https; also on another port than 443 */
        const char *body;          /* POSTed; NULL: GET */
        const char *content_type;  /* of @body */
        const char *authorization; /* the header's value; NULL none */
        unsigned policy;
} HttpQuestion;
/* Suspends. Returns 0; 1 with @no (DNS, CONNECT, HANDSHAKE, CERTIFICATE, TIMEOUT, TOO_LONG, POLICY, ...); -EINVAL for a URL that
 * is not ours to ask; negative errno. */
int http_ask(HttpResponse **ret, Http *http, const HttpQuestion *question, Outcome *no);
HttpResponse *http_response_free(HttpResponse *response);
DEFINE_CLEANUP(HttpResponse, http_response_free);
