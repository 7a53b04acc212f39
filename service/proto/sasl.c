/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sasl.h. The library copies the password into its own properties and answers, in ordinary memory: it gets it only
 * when a step asks for it, and both copies are wiped before the step returns. */
#include <gsasl.h>
#include <string.h>

#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/sasl.h"

enum {
        CHALLENGE_MAX = LIMIT_TOKEN,
        ITERATIONS_MAX = 200000, /* of SCRAM: the server asks, we work, and everybody else waits */
};

typedef enum Kind { KIND_SCRAM, KIND_PLAIN, KIND_LOGIN, KIND_CRAM, KIND_TOKEN } Kind;

typedef struct Mechanism {
        const char *name;
        Kind kind;
        bool bound; /* SCRAM with channel binding; OAUTHBEARER names the server */
} Mechanism;

/* Best first, for passwords and for tokens each. */
static const Mechanism mechanisms[] = {
        { "SCRAM-SHA-256-PLUS", KIND_SCRAM, true },
        { "SCRAM-SHA-1-PLUS", KIND_SCRAM, true },
        { "SCRAM-SHA-256", KIND_SCRAM, false },
        { "SCRAM-SHA-1", KIND_SCRAM, false },
        { "PLAIN", KIND_PLAIN, false },
        { "LOGIN", KIND_LOGIN, false },
        { "CRAM-MD5", KIND_CRAM, false },
        { "OAUTHBEARER", KIND_TOKEN, true },
        { "XOAUTH2", KIND_TOKEN, false },
};

struct Sasl {
        const Mechanism *mechanism;
        Gsasl *library; /* NULL for tokens */
        Gsasl_session *session;
        Secret *secret;
        char *user, *service, *host, *exporter, *unique;
        uint16_t port;
        unsigned n_steps;
        bool done;
        SaslTokenError error;
        bool has_error;
};

/* --- the choice --------------------------------------------------------------------------------------------- */

static const Mechanism *mechanism_find(const char *name)
{
        for (size_t i = 0; i < ELEMENTS(mechanisms); i++)
                if (name && text_equal_nocase(mechanisms[i].name, name))
                        return &mechanisms[i];
        return NULL;
}

static bool secret_is_ascii(const Secret *secret)
{
        const unsigned char *p = (const unsigned char *) secret_data(secret);

        for (size_t i = 0; i < secret_len(secret); i++)
                if (p[i] < ' ' || p[i] > '~')
                        return false;
        return true;
}

static bool mechanism_fits(const Mechanism *mechanism, const SaslChoice *choice)
{
        bool hashed = mechanism->kind == KIND_SCRAM || mechanism->kind == KIND_CRAM;

        if (choice->token != (mechanism->kind == KIND_TOKEN))
                return false;
        if (mechanism->kind == KIND_SCRAM && mechanism->bound && !choice->binding)
                return false;
        if (mechanism->kind == KIND_CRAM && !choice->tls)
                return false;
        return !hashed || !choice->secret || secret_is_ascii(choice->secret);
}

const char *sasl_choose(char *const *offered, const SaslChoice *choice)
{
        const Mechanism *refused = mechanism_find(choice->after);

        for (size_t i = 0; i < ELEMENTS(mechanisms); i++) {
                const Mechanism *m = &mechanisms[i];

                if ((!refused || m > refused) && mechanism_fits(m, choice) &&
                    (list_contains_nocase(offered, m->name) ||
                     (choice->unlisted && text_equal_nocase(choice->unlisted, m->name))))
                        return m->name;
        }
        return NULL;
}

bool sasl_takes_token(const char *mechanism)
{
        const Mechanism *m = mechanism_find(mechanism);

        return m && m->kind == KIND_TOKEN;
}

/* --- passwords, by the library ------------------------------------------------------------------------------ */

static int give_text(Gsasl_session *session, Gsasl_property property, const char *text)
{
        return text ? gsasl_property_set(session, property, text) : GSASL_NO_CALLBACK;
}

static int on_property(Gsasl *library, Gsasl_session *session, Gsasl_property property)
{
        const Sasl *sasl = gsasl_session_hook_get(session);

        switch (property) {
        case GSASL_AUTHID:
                return give_text(session, property, sasl->user);
        case GSASL_PASSWORD:
                return gsasl_property_set_raw(session, property, secret_data(sasl->secret),
                                              secret_len(sasl->secret));
        case GSASL_SERVICE:
                return give_text(session, property, sasl->service);
        case GSASL_HOSTNAME:
                return give_text(session, property, sasl->host);
        case GSASL_CB_TLS_EXPORTER:
                return give_text(session, property, sasl->exporter);
        case GSASL_CB_TLS_UNIQUE:
                return give_text(session, property, sasl->unique);
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

static int library_start(Sasl *sasl)
{
        int r;

        if (gsasl_init(&sasl->library) != GSASL_OK)
                return -ENOMEM;
        gsasl_callback_set(sasl->library, on_property);
        r = gsasl_client_start(sasl->library, sasl->mechanism->name, &sasl->session);
        if (r != GSASL_OK)
                return r == GSASL_UNKNOWN_MECHANISM ? -EOPNOTSUPP : -ENOMEM;
        gsasl_session_hook_set(sasl->session, sasl);
        return 0;
}

/* RFC 5802 section 5.1: "r=...,s=...,i=4096". */
static bool scram_is_payable(const Buffer *challenge)
{
        const char *at = challenge->len > 0 ? memmem(challenge->data, challenge->len, ",i=", 3)
                                            : NULL;
        uint64_t iterations;
        size_t read;

        return !at || text_scan_u64(at + 3, (size_t) (challenge->data + challenge->len - at - 3),
                                    ITERATIONS_MAX, &iterations, &read) == 0;
}

static int library_step(Sasl *sasl, const Buffer *challenge, Buffer *response)
{
        char *output = NULL;
        size_t output_len = 0;
        int step, r;

        if (sasl->mechanism->kind == KIND_SCRAM && !scram_is_payable(challenge))
                return -EBADMSG;
        step = gsasl_step(sasl->session, challenge->data ? challenge->data : "", challenge->len,
                          &output, &output_len);
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
        sasl->done = step == GSASL_OK;
        return sasl->done;
}

/* --- tokens ------------------------------------------------------------------------------------------------- */

/* The first step is the message; the second answers the server's error, which it waits for (RFC 7628 section 3.2.3: one 0x01; XOAUTH2
 * wants nothing). A third does not exist. */
static int token_step(Sasl *sasl, const Buffer *challenge, Buffer *response)
{
        _cleanup_buffer_ Buffer message = BUFFER_SECRET(2 * LIMIT_TOKEN);
        bool bearer = sasl->mechanism->bound;
        int r;

        if (sasl->n_steps == 0) {
                r = sasl_token_message(&message, bearer, sasl->user, sasl->secret, sasl->host,
                                       sasl->port);
                if (r == 0)
                        r = base64_encode(response, message.data, message.len);
                sasl->done = r == 0;
                return r < 0 ? r : 1;
        }
        if (sasl->n_steps > 1)
                return -EBADMSG;
        sasl_token_error_read(&sasl->error, challenge->data ? challenge->data : "", challenge->len);
        sasl->has_error = true;
        r = bearer ? base64_encode(response, "\001", 1) : 0;
        return r < 0 ? r : 1;
}

/* --- the exchange ------------------------------------------------------------------------------------------- */

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
        free(sasl->exporter);
        free(sasl->unique);
        free(sasl);
        return NULL;
}

static int sasl_fill(Sasl *sasl, const SaslLogin *login)
{
        int r;

        sasl->port = login->port;
        r = text_set(&sasl->user, login->user);
        if (r == 0)
                r = text_set(&sasl->service, login->service ? login->service : "");
        if (r == 0)
                r = text_set(&sasl->host, login->host ? login->host : "");
        /* GNU SASL 2.2 fails when it is given the data for a SCRAM without binding. */
        if (r == 0 && login->binding && sasl->mechanism->bound)
                r = text_set(&sasl->exporter, login->binding->exporter);
        if (r == 0 && login->binding && sasl->mechanism->bound)
                r = text_set(&sasl->unique, login->binding->unique);
        return r < 0 ? r
                     : secret_new(&sasl->secret, secret_data(login->secret),
                                  secret_len(login->secret));
}

int sasl_new(Sasl **ret, const char *mechanism, const SaslLogin *login)
{
        _cleanup_(sasl_freep) Sasl *sasl = NULL;
        const Mechanism *m = mechanism_find(mechanism);
        int r;

        if (!m)
                return -EOPNOTSUPP;
        /* All of them end their fields by NUL or by their length as C strings. */
        if (memchr(secret_data(login->secret), 0, secret_len(login->secret)))
                return -EINVAL;

        sasl = calloc(1, sizeof(*sasl));
        if (!sasl)
                return -ENOMEM;
        sasl->mechanism = m;
        r = sasl_fill(sasl, login);
        if (r == 0 && m->kind != KIND_TOKEN)
                r = library_start(sasl);
        if (r < 0)
                return r;
        *ret = TAKE(sasl);
        return 0;
}

bool sasl_client_first(const Sasl *sasl)
{
        return sasl->mechanism->kind != KIND_LOGIN && sasl->mechanism->kind != KIND_CRAM;
}

int sasl_step(Sasl *sasl, const char *challenge, size_t len, Buffer *response)
{
        _cleanup_buffer_ Buffer decoded = BUFFER(CHALLENGE_MAX);
        int r = 0;

        if (sasl->mechanism->kind != KIND_LOGIN)
                r = base64_decode(&decoded, challenge, len);
        /* A token's error is evidence even when it is no base64. */
        if (r < 0 && r != -ENOMEM && sasl->mechanism->kind == KIND_TOKEN && sasl->n_steps > 0) {
                buffer_clear(&decoded);
                r = buffer_append(&decoded, challenge, MIN(len, (size_t) CHALLENGE_MAX));
        }
        if (r < 0)
                return r == -ENOMEM ? r : -EBADMSG;
        r = sasl->mechanism->kind == KIND_TOKEN ? token_step(sasl, &decoded, response)
                                                : library_step(sasl, &decoded, response);
        sasl->n_steps++;
        return r;
}

bool sasl_proven(const Sasl *sasl)
{
        return sasl->mechanism->kind != KIND_SCRAM || sasl->done;
}

bool sasl_judged(const Sasl *sasl)
{
        switch (sasl->mechanism->kind) {
        case KIND_SCRAM:
        case KIND_LOGIN:
                return sasl->n_steps > 1;
        case KIND_PLAIN:
        case KIND_CRAM:
        case KIND_TOKEN:
                return sasl->n_steps > 0;
        }
        return true;
}

const SaslTokenError *sasl_token_error(const Sasl *sasl)
{
        return sasl->has_error ? &sasl->error : NULL;
}
