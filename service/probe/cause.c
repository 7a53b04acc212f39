/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See cause.h. The catalogue is read-only after causes_load(), the one global of this floor. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/limits.h"
#include "base/text.h"
#include "probe/cause.h"

extern const char data_causes[], data_causes_de[];
extern const unsigned data_causes_len, data_causes_de_len;

static const struct {
        const char *tag, *json;
        const unsigned *len;
} languages[CAUSE_LANGUAGES] = {
        { "en", data_causes, &data_causes_len },
        { "de", data_causes_de, &data_causes_de_len },
};

static struct {
        Cause *causes;
        size_t n_causes;
} catalogue;

enum { FILLED_MAX = 1024, PLACE_MAX = 32 };

static void words_clear(CauseWords *words)
{
        for (size_t i = 0; i < words->n_remedies; i++) {
                free(words->remedies[i].with);
                free(words->remedies[i].without);
        }
        free(words->remedies);
        free(words->explanation.with);
        free(words->explanation.without);
        free(words->title);
}

static void cause_clear(Cause *cause)
{
        for (size_t i = 0; i < CAUSE_LANGUAGES; i++)
                words_clear(&cause->words[i]);
        list_free(cause->pages);
        free(cause->code);
}

/* --- languages ------------------------------------------------------------------------------------------------- */

/* "de" is what "de_AT.UTF-8" and "de-CH" begin with. */
static bool locale_is(const char *locale, size_t len, const char *tag)
{
        size_t n = strlen(tag);

        return len >= n && strncasecmp(locale, tag, n) == 0 &&
               (len == n || strchr("_-.@", locale[n]));
}

/* The first of the list that there is. */
static size_t language_of(const char *locale)
{
        while (locale && *locale) {
                size_t len = strcspn(locale, ":");

                for (size_t i = 0; i < CAUSE_LANGUAGES; i++)
                        if (locale_is(locale, len, languages[i].tag))
                                return i;
                locale += len + (locale[len] == ':');
        }
        return 0;
}

const char *cause_title(const Cause *cause, const char *locale)
{
        return cause->words[language_of(locale)].title ?: cause->words[0].title;
}

/* --- places in texts ------------------------------------------------------------------------------------------ */

static bool is_time(const char *key)
{
        return text_equal(key, "not-after") || text_equal(key, "not-before");
}

/* What stands under @key, as words: false when nothing does. */
static bool place_value(const Dict *evidence, const char *key, char to[FILLED_MAX])
{
        const DictEntry *entry = evidence ? dict_find(evidence, key) : NULL;
        _cleanup_free_ char *joined = NULL;
        struct tm tm;
        time_t at;

        to[0] = '\0';
        if (!entry)
                return false;
        switch (entry->type) {
        case DICT_TEXT:
                snprintf(to, FILLED_MAX, "%s", entry->text);
                break;
        case DICT_NUMBER:
                at = (time_t) (entry->number / USEC_PER_SEC);
                if (!is_time(key))
                        snprintf(to, FILLED_MAX, "%" PRIu64, entry->number);
                else if (gmtime_r(&at, &tm))
                        strftime(to, FILLED_MAX, "%Y-%m-%d", &tm);
                break;
        case DICT_LIST:
                if (list_join(&joined, entry->list, ", ") == 0)
                        snprintf(to, FILLED_MAX, "%s", joined);
                break;
        case DICT_BOOL:
        case DICT_DICT:
                break;
        }
        return to[0] != '\0';
}

/* Fills the places of @text. Returns false when one cannot be filled, or there is no room. */
static bool text_fill(const char *text, const Dict *evidence, char to[FILLED_MAX])
{
        size_t n = 0;

        while (*text) {
                size_t len = strcspn(text, "{"), inside;
                char key[PLACE_MAX], value[FILLED_MAX];

                if (n + len >= FILLED_MAX)
                        return false;
                memcpy(to + n, text, len);
                n += len;
                text += len;
                if (!*text)
                        break;
                inside = strcspn(text + 1, "}");
                if (!text[inside + 1] || inside >= sizeof(key))
                        return false;
                memcpy(key, text + 1, inside);
                key[inside] = '\0';
                if (!place_value(evidence, key, value) || n + strlen(value) >= FILLED_MAX)
                        return false;
                memcpy(to + n, value, strlen(value));
                n += strlen(value);
                text += inside + 2;
        }
        to[n] = '\0';
        return true;
}

/* @to, the text without places, or NULL for none. */
static const char *choose(const CauseText *text, const Dict *evidence, char to[FILLED_MAX])
{
        return text_fill(text->with, evidence, to) ? to : text->without;
}

int cause_remedies(const Cause *cause, const char *locale, const Dict *evidence, char ***ret)
{
        const CauseWords *words = &cause->words[language_of(locale)];
        _cleanup_list_ char **list = NULL;
        char filled[FILLED_MAX];
        int r;

        if (words->n_remedies == 0)
                words = &cause->words[0];
        for (size_t i = 0; i < words->n_remedies; i++) {
                const char *text = choose(&words->remedies[i], evidence, filled);

                r = text ? list_append(&list, text, LIMIT_DICTIONARY) : 0;
                if (r < 0)
                        return r;
        }
        *ret = TAKE(list);
        return 0;
}

int cause_explanation(const Cause *cause, const char *locale, const Dict *evidence, char **ret)
{
        const CauseWords *words = &cause->words[language_of(locale)];
        char filled[FILLED_MAX];
        char *text;

        if (!words->explanation.with)
                words = &cause->words[0];
        text = strdup(choose(&words->explanation, evidence, filled) ?: "");
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 0;
}

/* --- reading -------------------------------------------------------------------------------------------------- */

void causes_unload(void)
{
        for (size_t i = 0; i < catalogue.n_causes; i++)
                cause_clear(&catalogue.causes[i]);
        free(catalogue.causes);
        catalogue.causes = NULL;
        catalogue.n_causes = 0;
}

static int cause_word(json_object *object, const char *key, const char *const *words, size_t n,
                      unsigned *ret)
{
        json_object *value;

        if (!json_object_object_get_ex(object, key, &value))
                return -EBADMSG;
        for (size_t i = 0; i < n; i++)
                if (text_equal(words[i], json_object_get_string(value))) {
                        *ret = (unsigned) i;
                        return 0;
                }
        return -EBADMSG;
}

static const char *const class_names[] = { "user-action", "temporary", "permanent" };
static const char *const severity_names[] = { "block", "degrade", "info", "ours" };
static const char *const who_names[] = { "user", "provider", "administrator", "nobody", "us" };

/* A text, or a pair: with places and without. */
static int cause_pair(json_object *value, CauseText *ret)
{
        bool pair = json_object_is_type(value, json_type_array) &&
                    json_object_array_length(value) == 2;
        int r;

        if (!pair && !json_object_is_type(value, json_type_string))
                return -EBADMSG;
        r = text_set(&ret->with,
                     json_object_get_string(pair ? json_object_array_get_idx(value, 0) : value));
        if (r == 0 && pair)
                r = text_set(&ret->without,
                             json_object_get_string(json_object_array_get_idx(value, 1)));
        return r;
}

static int cause_remedies_read(CauseWords *words, json_object *list)
{
        size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
        int r = n ? 0 : -EBADMSG;

        words->remedies = calloc(MAX(n, (size_t) 1), sizeof(CauseText));
        if (!words->remedies)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = cause_pair(json_object_array_get_idx(list, i),
                               &words->remedies[words->n_remedies++]);
        return r;
}

static int cause_words_read(CauseWords *words, json_object *object)
{
        json_object *title = NULL, *explanation = NULL, *remedies = NULL;
        int r = 0;

        if (json_object_object_get_ex(object, "title", &title))
                r = json_object_is_type(title, json_type_string)
                            ? text_set(&words->title, json_object_get_string(title))
                            : -EBADMSG;
        if (r == 0 && json_object_object_get_ex(object, "explanation", &explanation))
                r = cause_pair(explanation, &words->explanation);
        if (r == 0 && json_object_object_get_ex(object, "remedies", &remedies))
                r = cause_remedies_read(words, remedies);
        return r;
}

static int cause_pages(Cause *cause, json_object *list)
{
        int r = 0;

        for (size_t i = 0; r == 0 && list && i < json_object_array_length(list); i++)
                r = list_append(&cause->pages,
                                json_object_get_string(json_object_array_get_idx(list, i)),
                                LIMIT_DICTIONARY);
        return r;
}

static int cause_read(Cause *cause, const char *code, json_object *object)
{
        unsigned class = 0, severity = 0, who = 0;
        json_object *pages = NULL;
        int r;

        (void) json_object_object_get_ex(object, "pages", &pages);
        if ((r = text_set(&cause->code, code)) < 0 ||
            (r = cause_word(object, "class", class_names, ELEMENTS(class_names), &class)) < 0 ||
            (r = cause_word(object, "severity", severity_names, ELEMENTS(severity_names),
                            &severity)) < 0 ||
            (r = cause_word(object, "who", who_names, ELEMENTS(who_names), &who)) < 0 ||
            (r = cause_pages(cause, pages)) < 0 ||
            (r = cause_words_read(&cause->words[0], object)) < 0)
                return r;
        cause->class = (CauseClass) class;
        cause->severity = (CauseSeverity) severity;
        cause->who = (CauseWho) who;
        return cause->words[0].title && cause->words[0].explanation.with &&
                               cause->words[0].n_remedies > 0
                       ? 0
                       : -EBADMSG;
}

static int cause_compare(const void *a, const void *b)
{
        return strcmp(((const Cause *) a)->code, ((const Cause *) b)->code);
}

static int causes_read(json_object *root)
{
        size_t n = (size_t) json_object_object_length(root);
        int r;

        catalogue.causes = calloc(MAX(n, (size_t) 1), sizeof(Cause));
        if (!catalogue.causes)
                return -ENOMEM;
        json_object_object_foreach(root, code, object)
        {
                r = cause_read(&catalogue.causes[catalogue.n_causes++], code, object);
                if (r < 0)
                        return r;
        }
        qsort(catalogue.causes, catalogue.n_causes, sizeof(Cause), cause_compare);
        return 0;
}

static Cause *cause_slot(const char *code)
{
        size_t low = 0, high = catalogue.n_causes;

        while (code && low < high) {
                size_t middle = (low + high) / 2;
                int order = strcmp(code, catalogue.causes[middle].code);

                if (order == 0)
                        return &catalogue.causes[middle];
                if (order < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

const Cause *cause_find(const char *code)
{
        return cause_slot(code);
}

static int translation_read(json_object *root, size_t language)
{
        int r = 0;

        json_object_object_foreach(root, code, object)
        {
                Cause *cause = cause_slot(code);

                r = cause ? cause_words_read(&cause->words[language], object) : -EBADMSG;
                if (r < 0)
                        return r;
        }
        return r;
}

static int language_read(size_t language)
{
        json_tokener *tokener = json_tokener_new_ex(LIMIT_DEPTH);
        json_object *root;
        int r;

        if (!tokener)
                return -ENOMEM;
        root = json_tokener_parse_ex(tokener, languages[language].json,
                                     (int) *languages[language].len + 1);
        json_tokener_free(tokener);
        if (!json_object_is_type(root, json_type_object))
                r = -EBADMSG;
        else
                r = language == 0 ? causes_read(root) : translation_read(root, language);
        json_object_put(root);
        return r;
}

int causes_load(void)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < CAUSE_LANGUAGES; i++)
                r = language_read(i);
        if (r < 0)
                causes_unload();
        return r;
}

const Cause *cause_at(size_t index)
{
        return index < catalogue.n_causes ? &catalogue.causes[index] : NULL;
}

const char *cause_class_name(CauseClass class)
{
        return class_names[class];
}

const char *cause_severity_name(CauseSeverity severity)
{
        return severity_names[severity];
}

const char *cause_who_name(CauseWho who)
{
        return who_names[who];
}
