/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See explain.h. */
#include "probe/explain.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/cause.h"
#include "probe/reply.h"

const char *const explain_keys[] = { KEY_PROTOCOL, KEY_PHASE,     KEY_PROVIDER,
                                     KEY_HOST,     KEY_SUCCEEDED, NULL };

/* What the catalogue knows. */
static int describe(Dict *to, const Cause *cause, const Dict *evidence)
{
        _cleanup_free_ char *explanation = NULL;
        _cleanup_list_ char **remedies = NULL;
        int r;

        if ((r = dict_set_text(to, KEY_CLASS, cause_class_name(cause->class))) < 0 ||
            (r = dict_set_text(to, KEY_SEVERITY, cause_severity_name(cause->severity))) < 0 ||
            (r = dict_set_text(to, KEY_WHO, cause_who_name(cause->who))) < 0 ||
            (r = dict_set_text(to, KEY_TITLE, cause->title)) < 0 ||
            (r = cause_explanation(cause, evidence, &explanation)) < 0 ||
            (r = dict_set_text(to, KEY_EXPLANATION, explanation)) < 0 ||
            (r = cause_remedies(cause, evidence, &remedies)) < 0)
                return r;
        return dict_set_list(to, KEY_REMEDIES, remedies);
}

int explain(const char *const *lines, size_t n, const Dict *context, Dict **ret)
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
                r = cause ? describe(dict, cause, given) : dict_set_text(dict, KEY_CLASS, "");
        if (r == 0)
                *ret = TAKE(dict);
        return r;
}
