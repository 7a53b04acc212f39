/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oauth.h. */
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "talk/oauth.h"

enum { FORM_MAX = 4 * LIMIT_TOKEN, HEADER_MAX = 8192 };

#define TYPE_FORM "application/x-www-form-urlencoded"

/* --- answers ------------------------------------------------------------------------------------------------ */

static int garbage(Outcome *no, Phase phase, const char *what)
{
        outcome_reset(no);
        outcome_set_text(no, what, strlen(what));
        return outcome_set(no, OUTCOME_GARBAGE, phase);
}

/* A refusal, with whatever of it can be read. */
static int refused(const HttpResponse *response, Phase phase, Outcome *no)
{
        OauthError error;

        outcome_reset(no);
        no->status = response->status;
        if (oauth_error_read(&error, response->body, response->body_len) < 0)
                return outcome_set(no, OUTCOME_HTTP, phase);
        text_printable(no->code, sizeof(no->code), error.error, strlen(error.error));
        text_printable(no->sasl, sizeof(no->sasl), error.detail, strlen(error.detail));
        outcome_set_text(no, error.description, strlen(error.description));
        return outcome_set(no, OUTCOME_REPLY, phase);
}

/* Asks; 0 only for a success. */
static int ask(HttpResponse **ret, const OauthServer *server, const HttpQuestion *question,
               Phase phase, Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        int r;

        r = http_ask(&response, server->http, question, no);
        if (r == -EINVAL)
                return garbage(no, phase, "the address is none that can be asked");
        if (r == 1)
                no->phase = no->phase == PHASE_HTTP ? phase : no->phase;
        if (r)
                return r;
        if (response->status / 100 != 2)
                return refused(response, phase, no);
        *ret = TAKE(response);
        return 0;
}

/* --- questions ---------------------------------------------------------------------------------------------- */

/* RFC 6749 section 2.3.1: both are escaped before they are joined. */
static int basic_header(Buffer *to, const OauthServer *server)
{
        _cleanup_buffer_ Buffer pair = BUFFER_SECRET(HEADER_MAX);
        int r;

        r = oauth_form_add(&pair, server->client, secret_data(server->client_secret));
        if (r < 0)
                return r;
        *strchr(pair.data, '=') = ':'; /* escaped text has no other */
        r = buffer_append_text(to, "Basic ");
        return r < 0 ? r : base64_encode(to, pair.data, pair.len);
}

static int form_begin(Buffer *form, Buffer *header, const OauthServer *server)
{
        int r = 0;

        if (server->client_secret && !server->secret_by_post)
                return basic_header(header, server);
        r = oauth_form_add(form, "client_id", server->client);
        if (r == 0 && server->client_secret)
                r = oauth_form_add(form, "client_secret", secret_data(server->client_secret));
        return r;
}

/* POSTs pairs of key and value (a NULL key ends them; a NULL value leaves its pair out) with the client's own. */
static int post(HttpResponse **ret, const OauthServer *server, const char *url,
                const char *const *pairs, Phase phase, Outcome *no)
{
        _cleanup_buffer_ Buffer form = BUFFER_SECRET(FORM_MAX), header = BUFFER_SECRET(HEADER_MAX);
        int r;

        r = form_begin(&form, &header, server);
        for (; *pairs && r == 0; pairs += 2)
                if (pairs[1])
                        r = oauth_form_add(&form, pairs[0], pairs[1]);
        if (r < 0)
                return r;
        return ask(ret, server,
                   &(HttpQuestion){ .url = url,
                                    .body = form.data ? form.data : "",
                                    .content_type = TYPE_FORM,
                                    .authorization = header.len > 0 ? header.data : NULL,
                                    .policy = server->policy },
                   phase, no);
}

static int ask_tokens(OauthTokens *to, const OauthServer *server, const char *const *pairs,
                      Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        int r;

        r = post(&response, server, server->token, pairs, PHASE_TOKEN, no);
        if (r)
                return r;
        r = oauth_tokens_read(to, response->body, response->body_len);
        if (r != -EBADMSG)
                return r;
        /* Some refuse with a 200. */
        refused(response, PHASE_TOKEN, no);
        return no->kind == OUTCOME_REPLY
                       ? 1
                       : garbage(no, PHASE_TOKEN, "a token reply that has no token");
}

int oauth_redeem(OauthTokens *to, const OauthServer *server, const Secret *code,
                 const char *redirect, const char *verifier, Outcome *no)
{
        const char *const pairs[] = { "grant_type",
                                      "authorization_code",
                                      "code",
                                      secret_data(code),
                                      "redirect_uri",
                                      redirect,
                                      "code_verifier",
                                      verifier,
                                      NULL };

        return ask_tokens(to, server, pairs, no);
}

int oauth_refresh(OauthTokens *to, const OauthServer *server, const Secret *refresh, Outcome *no)
{
        const char *const pairs[] = { "grant_type", "refresh_token", "refresh_token",
                                      secret_data(refresh), NULL };

        return ask_tokens(to, server, pairs, no);
}

int oauth_device_ask(OauthTokens *to, const OauthServer *server, const Secret *device_code,
                     Outcome *no)
{
        const char *const pairs[] = { "grant_type", OAUTH_GRANT_DEVICE, "device_code",
                                      secret_data(device_code), NULL };

        return ask_tokens(to, server, pairs, no);
}

int oauth_device_start(OauthDevice *to, const OauthServer *server, const char *scope, Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        const char *const pairs[] = { "scope", scope, NULL };
        int r;

        r = post(&response, server, server->device, pairs, PHASE_DEVICE, no);
        if (r)
                return r;
        r = oauth_device_read(to, response->body, response->body_len);
        return r == -EBADMSG ? garbage(no, PHASE_DEVICE, "a device reply without code or address")
                             : r;
}

/* RFC 7009 section 2.2: 200 also for a token that was none. */
int oauth_revoke(const OauthServer *server, const Secret *token, const char *hint, Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        const char *const pairs[] = { "token", secret_data(token), "token_type_hint", hint, NULL };

        return post(&response, server, server->revocation, pairs, PHASE_REVOKE, no);
}

/* --- registration ------------------------------------------------------------------------------------------- */

int oauth_register(OauthClient *to, const OauthServer *server, const OauthRegistration *what,
                   Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        _cleanup_buffer_ Buffer question = BUFFER(LIMIT_DOCUMENT);
        int r;

        r = oauth_registration_write(&question, what);
        if (r == 0)
                r = ask(&response, server,
                        &(HttpQuestion){ .url = server->registration,
                                         .body = question.data,
                                         .content_type = "application/json",
                                         .policy = server->policy },
                        PHASE_REGISTER, no);
        if (r)
                return r;
        r = oauth_client_read(to, response->body, response->body_len);
        return r == -EBADMSG ? garbage(no, PHASE_REGISTER, "a registration without a client id")
                             : r;
}

/* --- the issuer's description ------------------------------------------------------------------------------- */

static int fetch_one(OauthMetadata *to, Http *http, const char *issuer, unsigned n, unsigned policy,
                     Outcome *no)
{
        _cleanup_(http_response_freep) HttpResponse *response = NULL;
        const OauthServer server = { .http = http, .policy = policy };
        _cleanup_free_ char *url = NULL;
        int r;

        r = oauth_metadata_url(&url, issuer, n);
        if (r == -EINVAL)
                return garbage(no, PHASE_METADATA, "the issuer is no https address");
        if (r == 0)
                r = ask(&response, &server, &(HttpQuestion){ .url = url, .policy = policy },
                        PHASE_METADATA, no);
        if (r)
                return r;
        r = oauth_metadata_read(to, response->body, response->body_len, issuer);
        return r == -EXDEV
                       ? garbage(no, PHASE_METADATA, "this is the description of another issuer")
               : r == -EBADMSG ? garbage(no, PHASE_METADATA, "this is no description of an issuer")
                               : r;
}

/* The second place is for servers that know OpenID only. One that claims to be somebody else ends the search: that is no accident. */
int oauth_fetch_metadata(OauthMetadata *to, Http *http, const char *issuer, unsigned policy,
                         Outcome *no)
{
        int r;

        r = fetch_one(to, http, issuer, 0, policy, no);
        if (r != 1 ||
            (no->kind != OUTCOME_HTTP && no->kind != OUTCOME_REPLY &&
             no->kind != OUTCOME_GARBAGE) ||
            strstr(no->text, "another issuer"))
                return r;
        outcome_reset(no);
        return fetch_one(to, http, issuer, 1, policy, no);
}
