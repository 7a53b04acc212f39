/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See login.h. */
#include <string.h>

#include "base/digest.h"
#include "base/text.h"
#include "talk/login.h"

enum { READS_MAX = 4, BINDING_TEXT_MAX = 128 }; /* SCRAM, asked for its first word, needs four */

typedef struct Exchange {
        Dialogue *dialogue;
        const LoginWire *wire;
        const char *mechanism;
        Sasl *sasl;
        Buffer response;
        bool waiting; /* a first response that the server has to ask for */
        bool sent;    /* one that went with the command */
        bool over;    /* we have nothing more to say */
} Exchange;

static bool dialogue_can_bind(const Dialogue *dialogue)
{
        uint8_t data[TLS_BINDING_MAX];

        return stream_tls_exporter(dialogue->stream, data) > 0 ||
               stream_tls_unique(dialogue->stream, data) > 0;
}

const char *login_choose(const Dialogue *dialogue, char *const *offered, const Login *login)
{
        const SaslChoice choice = {
                .token = login->token,
                .tls = stream_is_tls(dialogue->stream),
                .binding = dialogue_can_bind(dialogue),
                .secret = login->secret,
                .unlisted = login->unlisted,
                .after = login->after,
        };

        return sasl_choose(offered, &choice);
}

/* --- what binds to the connection --------------------------------------------------------------------------- */

static void binding_deinit(SaslBinding *binding)
{
        free(binding->exporter);
        free(binding->unique);
}

static int binding_text(char **ret, const uint8_t *data, size_t len)
{
        _cleanup_buffer_ Buffer text = BUFFER_SECRET(BINDING_TEXT_MAX);
        int r;

        if (len == 0)
                return 0;
        r = base64_encode(&text, data, len);
        return r < 0 ? r : buffer_take(&text, ret);
}

static int binding_read(SaslBinding *to, Stream *stream)
{
        uint8_t data[TLS_BINDING_MAX];
        int r;

        r = binding_text(&to->exporter, data, stream_tls_exporter(stream, data));
        if (r == 0)
                r = binding_text(&to->unique, data, stream_tls_unique(stream, data));
        return r;
}

static int exchange_prepare(Exchange *x, const Login *login)
{
        _cleanup_(binding_deinit) SaslBinding binding = {};
        const SaslLogin sasl = {
                .user = login->user,
                .secret = login->secret,
                .service = x->wire->service,
                .host = login->host ? login->host : stream_peer(x->dialogue->stream),
                .port = login->port,
                .binding = &binding,
        };
        int r;

        r = binding_read(&binding, x->dialogue->stream);
        return r < 0 ? r : sasl_new(&x->sasl, x->mechanism, &sasl);
}

/* --- saying ------------------------------------------------------------------------------------------------- */

/* Everything a mechanism answers is hidden: a SCRAM proof can be guessed at. */
static int say_response(Exchange *x)
{
        return dialogue_say_secret(x->dialogue, "", x->response.data ? x->response.data : "");
}

/* RFC 4954 section 4, RFC 5034 section 4: the first response goes with the command where the line stays short enough. */
static int say_command(Exchange *x)
{
        _cleanup_free_ char *command = NULL;
        int r;

        r = text_format(&command, "%s %s ", x->wire->command, x->mechanism);
        if (r == 0 && sasl_client_first(x->sasl)) {
                r = sasl_step(x->sasl, "", 0, &x->response);
                if (r < 0)
                        return r == -EBADMSG ? -EINVAL : r;
                x->over = r == 1;
                x->sent = strlen(command) + x->response.len + 2 <= x->wire->line_max;
                x->waiting = !x->sent;
        }
        if (r < 0)
                return r;
        if (x->sent)
                return dialogue_say_secret(x->dialogue, command, x->response.data);
        command[strlen(command) - 1] = 0;
        return dialogue_say(x->dialogue, NULL, "%s", command);
}

/* Does the server ask for what went with the command already? Some ignore it there; what they say then is anything for PLAIN, which
 * has no challenges, and nothing for the others. */
static bool asks_again(const Exchange *x, size_t len)
{
        return x->sent && (len == 0 || text_equal(x->mechanism, "PLAIN"));
}

/* Whoever asks more than there is, or nonsense, is told that we give up (RFC 4954 section 4). */
static int say_answer(Exchange *x, const char *challenge, size_t len)
{
        bool token = sasl_takes_token(x->mechanism);
        int r;

        if (x->waiting || asks_again(x, len)) {
                x->waiting = x->sent = false;
                return say_response(x);
        }
        x->sent = false;
        if (x->over && !token)
                return dialogue_say(x->dialogue, NULL, "*");
        buffer_clear(&x->response);
        r = sasl_step(x->sasl, challenge, len, &x->response);
        if (r == -EBADMSG)
                return dialogue_say(x->dialogue, NULL, "*");
        if (r < 0)
                return r;
        x->over = r == 1;
        return say_response(x);
}

/* --- the exchange ------------------------------------------------------------------------------------------- */

/* The server lets everybody in, or somebody else has answered. */
static int success_without_proof(Outcome *no)
{
        static const char why[] = "the server did not prove that it knows the password";

        outcome_set_text(no, why, sizeof(why) - 1);
        return outcome_set(no, OUTCOME_GARBAGE, PHASE_LOGIN);
}

static int exchange_run(Exchange *x, Outcome *no)
{
        const char *challenge = "+";
        size_t len = 1;
        int r;

        r = say_command(x);
        if (r < 0)
                return r;
        FIBER_DEADLINE(LIMIT_COMMAND_USEC);
        for (unsigned n = 0; n < READS_MAX; n++) {
                r = dialogue_flush(x->dialogue, PHASE_LOGIN, no);
                if (r == 0)
                        r = x->wire->read(x->wire->userdata, &challenge, &len, no);
                if (r == 0 && !sasl_proven(x->sasl))
                        return success_without_proof(no);
                if (r != 2)
                        return r;
                r = say_answer(x, challenge, len);
                if (r < 0)
                        return r;
        }
        return len > 0 ? dialogue_garbage(x->dialogue, no, PHASE_LOGIN, challenge, len)
                       : dialogue_garbage(x->dialogue, no, PHASE_LOGIN, "+", 1);
}

/* RFC 7628 section 3.2.2: the reason comes before the refusal, and is told with it. */
static void tell_token_error(const Exchange *x, Outcome *no)
{
        const SaslTokenError *error = sasl_token_error(x->sasl);
        _cleanup_outcome_ Outcome shown = {};

        if (!error)
                return;
        memcpy(no->sasl, error->status, sizeof(no->sasl));
        /* Through the dialogue's care for secrets: a server may echo the token. */
        dialogue_set_text(x->dialogue, &shown, error->text, strlen(error->text));
        text_printable(no->sasl_text, sizeof(no->sasl_text), shown.text, strlen(shown.text));
}

int login_exchange(Dialogue *dialogue, const LoginWire *wire, const Login *login,
                   const char *mechanism, Outcome *no)
{
        Exchange x = {
                .dialogue = dialogue,
                .wire = wire,
                .mechanism = mechanism,
                .response = BUFFER_SECRET(2 * LIMIT_TOKEN),
        };
        int r;

        r = exchange_prepare(&x, login);
        if (r == 0)
                r = dialogue_hide(dialogue, login->secret);
        dialogue->challenges_hidden = !sasl_takes_token(mechanism) &&
                                      !text_equal(mechanism, "LOGIN") &&
                                      !text_equal(mechanism, "PLAIN");
        if (r == 0)
                r = exchange_run(&x, no);
        dialogue->challenges_hidden = false;
        if (r == 1) {
                tell_token_error(&x, no);
                no->unjudged = !sasl_judged(x.sasl);
        }
        buffer_deinit(&x.response);
        sasl_free(x.sasl);
        return r;
}
