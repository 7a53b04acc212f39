/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See describe.h. */
#include "probe/describe.h"
#include "base/text.h"
#include "dbus/names.h"

enum { LINKS_MAX = 8 };

static const char *page_of(const Provider *provider, const char *page)
{
        if (!provider)
                return NULL;
        return text_equal(page, "app-password") ? provider->app_password_page
                                                : provider->settings_page;
}

/* The provider's pages in the cause's order, then what the evidence has; each once. */
static int links_find(const Cause *cause, const Dict *evidence, const Provider *provider,
                      char ***ret)
{
        _cleanup_list_ char **links = NULL;
        size_t n = list_len(cause->pages);
        int r = 0;

        for (size_t i = 0; r == 0 && n > 0 && i <= n; i++) {
                const char *url = i < n      ? page_of(provider, cause->pages[i])
                                  : evidence ? dict_text(evidence, KEY_HINT_URL)
                                             : NULL;

                if (url && !list_contains_nocase(links, url))
                        r = list_append(&links, url, LINKS_MAX);
        }
        if (r == 0)
                *ret = TAKE(links);
        return r;
}

/* @evidence with the likeliest page in the place of its own, which knows less of the cause. */
static int evidence_complete(const Dict *evidence, char *const *links, Dict **ret)
{
        _cleanup_(dict_freep) Dict *whole = NULL;
        int r = 0;

        if (evidence)
                r = dict_copy(&whole, evidence);
        else if (!(whole = dict_new()))
                r = -ENOMEM;
        if (r == 0 && links)
                r = dict_set_text(whole, KEY_HINT_URL, links[0]);
        if (r == 0)
                *ret = TAKE(whole);
        return r;
}

int cause_describe(const Cause *cause, const char *locale, const Dict *evidence,
                   const Provider *provider, Dict *to)
{
        static char *const none[] = { NULL };
        _cleanup_list_ char **links = NULL, **remedies = NULL;
        _cleanup_(dict_freep) Dict *whole = NULL;
        _cleanup_free_ char *explanation = NULL;
        int r;

        if ((r = links_find(cause, evidence, provider, &links)) < 0 ||
            (r = evidence_complete(evidence, links, &whole)) < 0 ||
            (r = cause_explanation(cause, locale, whole, &explanation)) < 0 ||
            (r = cause_remedies(cause, locale, whole, &remedies)) < 0 ||
            (r = dict_set_text(to, KEY_CAUSE, cause->code)) < 0 ||
            (r = dict_set_text(to, KEY_CLASS, cause_class_name(cause->class))) < 0 ||
            (r = dict_set_text(to, KEY_SEVERITY, cause_severity_name(cause->severity))) < 0 ||
            (r = dict_set_text(to, KEY_WHO, cause_who_name(cause->who))) < 0 ||
            (r = dict_set_text(to, KEY_TITLE, cause_title(cause, locale))) < 0 ||
            (r = dict_set_text(to, KEY_EXPLANATION, explanation)) < 0 ||
            (r = dict_set_list(to, KEY_REMEDIES, remedies ?: none)) < 0)
                return r;
        return dict_set_list(to, KEY_LINKS, links ?: none);
}
