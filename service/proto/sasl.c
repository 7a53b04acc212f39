/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sasl.h. The library copies the password into its own properties and answers, in ordinary memory: it gets it only
 * when a step asks for it, and both copies are wiped before the step returns. */
#include <gsasl.h>
#include <string.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/sasl.h"

enum { CHALLENGE_MAX = LIMIT_TOKEN };

struct Sasl {
        Gsasl *library;
        Gsasl_session *session;
        Secret *secret;
        char *user, *service, *host;
        bool client_first;
};

static int on_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
        const Sasl *sasl = gsasl_session_hook_get(session);

        switch (property) {
        case GSASL_AUTHID:
                return gsasl_property_set(session, property, sasl->user);
        case GSASL_PASSWORD:
                return gsasl_property_set_raw(session, property, secret_data(sasl->secret),
                                              secret_len(sasl->secret));
        case GSASL_SERVICE:
                return gsasl_property_set(session, property, sasl->service);
        case GSASL_HOSTNAME:
                return gsasl_property_set(session, property, sasl->host);
        default:
                /* GSASL_AUTHZID too: RFC 4616 section 2 derives it from the user name when it is empty. */
                return GSASL_NO_CALLBACK;
        }
}

/* What the library gives out as const is its own heap copy, made for us by the callback above. */
static void forget_password(Gsasl_session *session)
{
        const char *copy = gsasl_property_fast(session, GSASL_PASSWORD);

        if (copy) {
                explicit_bzero((void *) (uintptr_t) copy, strlen(copy));
                (void) gsasl_property_set(session, GSASL_PASSWORD, NULL);
        }
}

Sasl *sasl_free(Sasl *sasl)
{
        if (!sasl)
                return NULL;
        if (sasl->session) {
                forget_password(sasl->session);
                gsasl_finish(sasl->session);
        }
        if (sasl->library)
                gsasl_done(sasl->library);
        secret_unref(sasl->secret);
        free(sasl->user);
        free(sasl->service);
        free(sasl->host);
        free(sasl);
        return NULL;
}

static int sasl_fill(Sasl *sasl, const char *user, const char *service, const char *host)
{
        int r;

        r = text_set(&sasl->user, user);
        if (r < 0)
                return r;
        r = text_set(&sasl->service, service ? service : "");
        if (r < 0)
                return r;
        return text_set(&sasl->host, host ? host : "");
}

int sasl_new(Sasl **ret, const char *mechanism, const char *user, const Secret *secret,
             const char *service, const char *host)
{
        _cleanup_(sasl_freep) Sasl *sasl = NULL;
        int r;

        if (!text_equal(mechanism, "PLAIN") && !text_equal(mechanism, "LOGIN"))
                return -EOPNOTSUPP;
        /* Both end their fields by NUL or by their length as C strings. */
        if (memchr(secret_data(secret), 0, secret_len(secret)))
                return -EINVAL;

        sasl = calloc(1, sizeof(*sasl));
        if (!sasl)
                return -ENOMEM;
        r = sasl_fill(sasl, user, service, host);
        if (r < 0)
                return r;
        r = secret_new(&sasl->secret, secret_data(secret), secret_len(secret));
        if (r < 0)
                return r;
        sasl->client_first = text_equal(mechanism, "PLAIN");

        if (gsasl_init(&sasl->library) != GSASL_OK)
                return -ENOMEM;
        gsasl_callback_set(sasl->library, on_property);
        r = gsasl_client_start(sasl->library, mechanism, &sasl->session);
        if (r != GSASL_OK)
                return r == GSASL_UNKNOWN_MECHANISM ? -EOPNOTSUPP : -ENOMEM;
        gsasl_session_hook_set(sasl->session, sasl);

        *ret = TAKE(sasl);
        return 0;
}

bool sasl_client_first(const Sasl *sasl)
{
        return sasl->client_first;
}

int sasl_step(Sasl *sasl, const char *challenge, size_t len, Buffer *response)
{
        _cleanup_buffer_ Buffer decoded = BUFFER(CHALLENGE_MAX);
        char *output = NULL;
        size_t output_len = 0;
        int step, r;

        r = base64_decode(&decoded, challenge, len);
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;

        step = gsasl_step(sasl->session, decoded.data ? decoded.data : "", decoded.len, &output,
                          &output_len);
        forget_password(sasl->session);
        if (step != GSASL_OK && step != GSASL_NEEDS_MORE)
                return step == GSASL_MALLOC_ERROR ? -ENOMEM : -EBADMSG;

        r = output_len > 0 ? base64_encode(response, output, output_len) : 0;
        if (output) {
                explicit_bzero(output, output_len);
                gsasl_free(output);
        }
        if (r < 0)
                return r;
        return step == GSASL_OK;
}
