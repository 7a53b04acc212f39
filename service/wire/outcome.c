/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See outcome.h. Names and copies only: what an outcome means is decided in probe/. */
#include <string.h>

#include "base/text.h"
#include "wire/outcome.h"

void outcome_deinit(Outcome *outcome)
{
        outcome->certificate = certificate_free(outcome->certificate);
}

void outcome_reset(Outcome *outcome)
{
        outcome_deinit(outcome);
        *outcome = (Outcome){};
}

int outcome_set(Outcome *outcome, OutcomeKind kind, Phase phase)
{
        outcome->kind = kind;
        outcome->phase = phase;
        return 1;
}

void outcome_set_text(Outcome *outcome, const void *text, size_t len)
{
        size_t n = MIN(len, sizeof(outcome->raw) - 1);

        text_printable(outcome->text, sizeof(outcome->text), text, len);
        outcome->raw[0] = 0;
        if (text_is_clean(text, len) || memchr(text, 0, n))
                return;
        memcpy(outcome->raw, text, n);
        outcome->raw[n] = 0;
}

int outcome_copy(Outcome *to, const Outcome *from)
{
        _cleanup_(certificate_freep) Certificate *certificate = NULL;
        int r;

        if (to == from)
                return 0;
        if (from->certificate) {
                r = certificate_copy(&certificate, from->certificate);
                if (r < 0)
                        return r;
        }
        outcome_deinit(to);
        *to = *from;
        to->certificate = TAKE(certificate);
        return 0;
}

const char *phase_name(Phase phase)
{
        switch (phase) {
        case PHASE_NONE:
                return "none";
        case PHASE_RESOLVE:
                return "resolve";
        case PHASE_CONNECT:
                return "connect";
        case PHASE_HANDSHAKE:
                return "handshake";
        case PHASE_GREETING:
                return "greeting";
        case PHASE_CAPABILITY:
                return "capability";
        case PHASE_STARTTLS:
                return "starttls";
        case PHASE_USER:
                return "user";
        case PHASE_LOGIN:
                return "login";
        case PHASE_STAT:
                return "stat";
        case PHASE_LIST:
                return "list";
        case PHASE_UIDL:
                return "uidl";
        case PHASE_TOP:
                return "top";
        case PHASE_RETRIEVE:
                return "retrieve";
        case PHASE_DELETE:
                return "delete";
        case PHASE_QUIT:
                return "quit";
        case PHASE_MAIL:
                return "mail";
        case PHASE_RCPT:
                return "rcpt";
        case PHASE_DATA:
                return "data";
        case PHASE_DATA_END:
                return "data-end";
        case PHASE_RESET:
                return "reset";
        case PHASE_ID:
                return "id";
        case PHASE_SELECT:
                return "select";
        case PHASE_SEARCH:
                return "search";
        case PHASE_IDLE:
                return "idle";
        case PHASE_HTTP:
                return "http";
        case PHASE_METADATA:
                return "metadata";
        case PHASE_REGISTER:
                return "registration";
        case PHASE_AUTHORIZE:
                return "authorization";
        case PHASE_TOKEN:
                return "token";
        case PHASE_DEVICE:
                return "device";
        case PHASE_REVOKE:
                return "revocation";
        }
        return "none";
}

const char *outcome_kind_name(OutcomeKind kind)
{
        switch (kind) {
        case OUTCOME_NONE:
                return "none";
        case OUTCOME_DNS:
                return "dns";
        case OUTCOME_POLICY:
                return "policy";
        case OUTCOME_CONNECT:
                return "connect";
        case OUTCOME_HANDSHAKE:
                return "handshake";
        case OUTCOME_CERTIFICATE:
                return "certificate";
        case OUTCOME_TIMEOUT:
                return "timeout";
        case OUTCOME_CLOSED:
                return "closed";
        case OUTCOME_RESET:
                return "reset";
        case OUTCOME_TOO_LONG:
                return "too-long";
        case OUTCOME_INJECTED:
                return "injected";
        case OUTCOME_NOT_OFFERED:
                return "not-offered";
        case OUTCOME_REPLY:
                return "reply";
        case OUTCOME_GARBAGE:
                return "garbage";
        case OUTCOME_HTTP:
                return "http";
        }
        return "none";
}
