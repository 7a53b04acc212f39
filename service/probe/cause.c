/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See cause.h. The catalogue is read-only after causes_load(), the one global of this floor. */
#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/limits.h"
#include "base/text.h"
#include "probe/cause.h"

extern const char data_causes[];
extern const unsigned data_causes_len;

static struct {
        Cause *causes;
        size_t n_causes;
} catalogue;

enum { FILLED_MAX = 1024, PLACE_MAX = 32 };

static void cause_clear(Cause *cause)
{
        for (size_t i = 0; i < cause->n_steps; i++) {
                free(cause->steps[i].with);
                free(cause->steps[i].without);
        }
        free(cause->steps);
        free(cause->explained.with);
        free(cause->explained.without);
        free(cause->code);
        free(cause->title);
        free(cause->explanation);
        list_free(cause->remedies);
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

int cause_remedies(const Cause *cause, const Dict *evidence, char ***ret)
{
        _cleanup_list_ char **list = NULL;
        char filled[FILLED_MAX];
        int r;

        for (size_t i = 0; i < cause->n_steps; i++) {
                const char *text = choose(&cause->steps[i], evidence, filled);

                r = text ? list_append(&list, text, LIMIT_DICTIONARY) : 0;
                if (r < 0)
                        return r;
        }
        *ret = TAKE(list);
        return 0;
}

int cause_explanation(const Cause *cause, const Dict *evidence, char **ret)
{
        char filled[FILLED_MAX];
        char *text = strdup(choose(&cause->explained, evidence, filled) ?: "");

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

static int cause_text(json_object *object, const char *key, char **ret)
{
        json_object *value;

        if (!json_object_object_get_ex(object, key, &value) ||
            !json_object_is_type(value, json_type_string))
                return -EBADMSG;
        return text_set(ret, json_object_get_string(value));
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

static int cause_steps(Cause *cause, json_object *list)
{
        size_t n = json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
        int r = n ? 0 : -EBADMSG;

        cause->steps = calloc(MAX(n, (size_t) 1), sizeof(CauseText));
        if (!cause->steps)
                return -ENOMEM;
        for (size_t i = 0; r == 0 && i < n; i++)
                r = cause_pair(json_object_array_get_idx(list, i), &cause->steps[cause->n_steps++]);
        return r;
}

static int cause_read(Cause *cause, const char *code, json_object *object)
{
        json_object *remedies = NULL, *explanation = NULL;
        unsigned class = 0, severity = 0, who = 0;
        int r;

        (void) json_object_object_get_ex(object, "remedies", &remedies);
        (void) json_object_object_get_ex(object, "explanation", &explanation);
        if ((r = text_set(&cause->code, code)) < 0 ||
            (r = cause_text(object, "title", &cause->title)) < 0 ||
            (r = cause_word(object, "class", class_names, ELEMENTS(class_names), &class)) < 0 ||
            (r = cause_word(object, "severity", severity_names, ELEMENTS(severity_names),
                            &severity)) < 0 ||
            (r = cause_word(object, "who", who_names, ELEMENTS(who_names), &who)) < 0 ||
            (r = cause_pair(explanation, &cause->explained)) < 0 ||
            (r = cause_steps(cause, remedies)) < 0 ||
            (r = cause_remedies(cause, NULL, &cause->remedies)) < 0 ||
            (r = cause_explanation(cause, NULL, &cause->explanation)) < 0)
                return r;
        cause->class = (CauseClass) class;
        cause->severity = (CauseSeverity) severity;
        cause->who = (CauseWho) who;
        return 0;
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

int causes_load(void)
{
        json_tokener *tokener = json_tokener_new_ex(LIMIT_DEPTH);
        json_object *root;
        int r;

        if (!tokener)
                return -ENOMEM;
        root = json_tokener_parse_ex(tokener, data_causes, (int) data_causes_len + 1);
        json_tokener_free(tokener);
        r = root && json_object_is_type(root, json_type_object) ? causes_read(root) : -EBADMSG;
        json_object_put(root);
        if (r < 0)
                causes_unload();
        return r;
}

const Cause *cause_find(const char *code)
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
