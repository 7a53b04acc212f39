/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oauth_judge.h. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "dbus/names.h"
#include "probe/judge.h"
#include "probe/oauth_judge.h"
#include "probe/reply.h"

#define TEMPORARY "oauth.temporarily-unavailable"

/* RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5, OpenID Core section 3.1.2.6. */
static const char *const codes[][2] = {
        { "invalid_grant", "oauth.grant-invalid" },
        { "invalid_client", "oauth.client-misconfigured" },
        { "unauthorized_client", "oauth.client-misconfigured" },
        { "unsupported_grant_type", "oauth.client-misconfigured" },
        { "unsupported_response_type", "oauth.client-misconfigured" },
        { "invalid_request", "oauth.client-misconfigured" },
        { "invalid_redirect_uri", "oauth.client-misconfigured" },
        { "invalid_client_metadata", "oauth.client-misconfigured" },
        { "invalid_scope", "oauth.scope-invalid" },
        { "access_denied", "oauth.access-denied" },
        { "authorization_declined", "oauth.access-denied" },
        { "expired_token", "oauth.device-code-expired" },
        { "authorization_pending", "oauth.pending" },
        { "slow_down", "oauth.pending" },
        { "consent_required", "oauth.consent-required" },
        { "interaction_required", "oauth.interaction-required" },
        { "login_required", "oauth.interaction-required" },
        { "account_selection_required", "oauth.interaction-required" },
        { "admin_policy_enforced", "oauth.admin-approval-required" },
        { "org_internal", "oauth.wrong-account" },
        { "disallowed_useragent", "oauth.user-agent-disallowed" },
        { "temporarily_unavailable", TEMPORARY },
        { "server_error", TEMPORARY },
};

static const char *judge_code(const char *code)
{
        for (size_t i = 0; i < ELEMENTS(codes); i++)
                if (text_equal_nocase(codes[i][0], code))
                        return codes[i][1];
        return NULL;
}

/* The providers' own numbers and words, by the rules for replies. */
static const char *judge_words(const char *code, const char *detail, const char *text,
                               const char *provider)
{
        ReplyQuestion question = { .protocol = "oauth", .phase = "token", .provider = provider };
        ReplyVerdict verdict = {};
        char line[640];
        const char *lines[] = { line };

        snprintf(line, sizeof(line), "%s: %s%s %s", code,
                 strspn(detail, "0123456789") ? "AADSTS" : "", detail, text);
        reply_explain(&question, lines, 1, &verdict);
        return verdict.cause && verdict.cause[0] && verdict.confidence == CONFIDENCE_HIGH
                       ? verdict.cause
                       : NULL;
}

static const char *judge_error(const Outcome *no, const char *provider)
{
        const char *cause = judge_code(no->code), *words;

        /* What the numbers say is finer than the code; a wait is never anything else. */
        if (cause && (strcmp(cause, "oauth.pending") == 0 || strcmp(cause, TEMPORARY) == 0))
                return cause;
        words = judge_words(no->code, no->sasl, no->text, provider);
        if (words && (!cause || no->sasl[0]))
                return words;
        if (cause)
                return cause;
        return no->status >= 500 || no->status == 429 || no->status == 0
                       ? TEMPORARY
                       : "oauth.client-misconfigured";
}

const char *oauth_judge(const Outcome *no, const char *provider)
{
        const char *cause;

        switch (no->kind) {
        case OUTCOME_REPLY:
                return judge_error(no, provider);
        case OUTCOME_CERTIFICATE:
                cause = judge_certificate(no->certificate);
                return cause ? cause : "tls.cert-invalid";
        case OUTCOME_POLICY:
                return "policy.address-forbidden";
        case OUTCOME_NONE:
        case OUTCOME_DNS:
        case OUTCOME_CONNECT:
        case OUTCOME_HANDSHAKE:
        case OUTCOME_TIMEOUT:
        case OUTCOME_CLOSED:
        case OUTCOME_RESET:
        case OUTCOME_TOO_LONG:
        case OUTCOME_INJECTED:
        case OUTCOME_NOT_OFFERED:
        case OUTCOME_GARBAGE:
        case OUTCOME_HTTP:
                return TEMPORARY;
        }
        return TEMPORARY;
}

const char *oauth_judge_redirect(const char *error, const char *description)
{
        _cleanup_outcome_ Outcome no = { .kind = OUTCOME_REPLY,
                                         .phase = PHASE_AUTHORIZE,
                                         .status = 400 };

        text_printable(no.code, sizeof(no.code), error, strlen(error));
        outcome_set_text(&no, description, strlen(description));
        return oauth_judge(&no, NULL);
}

int oauth_fail(Finding *finding, const Outcome *no, const char *provider)
{
        int r;

        finding->status = STEP_FAILED;
        finding->cause = oauth_judge(no, provider);
        r = evidence_outcome(&finding->evidence, no);
        return r < 0 ? r : evidence_certificate(&finding->evidence, no->certificate);
}
