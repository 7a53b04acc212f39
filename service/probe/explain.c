/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See explain.h. */
#include "probe/explain.h"
#include "dbus/names.h"
#include "probe/describe.h"
#include "probe/reply.h"

const DictKey explain_keys[EXPLAIN_KEYS] = {
        { KEY_PROTOCOL, DICT_TEXT }, { KEY_PHASE, DICT_TEXT },     { KEY_PROVIDER, DICT_TEXT },
        { KEY_HOST, DICT_TEXT },     { KEY_SUCCEEDED, DICT_TEXT }, { KEY_LOCALE, DICT_TEXT },
};

/* Whose server it was: as told, by its name, or because a rule of the provider's own has decided. */
static const Provider *provider_of(const Providers *providers, const ReplyQuestion *question,
                                   const ReplyVerdict *verdict)
{
        const Provider *provider = NULL;

        if (providers && question->provider)
                provider = provider_by_label(providers, question->provider);
        if (providers && !provider && question->host)
                provider = provider_by_host(providers, question->host);
        if (providers && !provider && verdict->provider)
                provider = provider_by_label(providers, verdict->provider);
        return provider;
}

int explain(const char *const *lines, size_t n, const Dict *context, const Providers *providers,
            Dict **ret)
{
        _cleanup_(dict_freep) Dict *dict = dict_new();
        const Dict none = {};
        const Dict *given = context ?: &none;
        ReplyQuestion question = { .protocol = dict_text(given, KEY_PROTOCOL),
                                   .phase = dict_text(given, KEY_PHASE),
                                   .provider = dict_text(given, KEY_PROVIDER),
                                   .host = dict_text(given, KEY_HOST),
                                   .succeeded = dict_text(given, KEY_SUCCEEDED) };
        ReplyVerdict verdict;
        const Cause *cause;
        int r;

        if (!dict)
                return -ENOMEM;
        reply_explain(&question, lines, MIN(n, (size_t) EXPLAIN_LINES), &verdict);
        cause = cause_find(verdict.cause);
        r = dict_set_text(dict, KEY_CAUSE, cause ? verdict.cause : "");
        if (r == 0)
                r = dict_set_text(dict, KEY_CONFIDENCE, confidence_name(verdict.confidence));
        if (r == 0)
                r = dict_set_text(dict, KEY_PROVIDER, verdict.provider);
        if (r == 0)
                r = cause ? cause_describe(cause, dict_text(given, KEY_LOCALE), given,
                                           provider_of(providers, &question, &verdict), dict)
                          : dict_set_text(dict, KEY_CLASS, "");
        if (r == 0)
                *ret = TAKE(dict);
        return r;
}
