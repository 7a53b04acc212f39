/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See cause.h. The catalogue is read-only after causes_load(), the one global of this floor. */
#include <json-c/json.h>
#include <string.h>

#include "base/limits.h"
#include "base/text.h"
#include "probe/cause.h"

extern const char data_causes[];
extern const unsigned data_causes_len;

static struct {
        Cause *causes;
        size_t n_causes;
} catalogue;

static void cause_clear(Cause *cause)
{
        free(cause->code);
        free(cause->title);
        free(cause->explanation);
        list_free(cause->remedies);
}

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

static int cause_read(Cause *cause, const char *code, json_object *object)
{
        json_object *remedies;
        unsigned class = 0, severity = 0;
        int r;

        r = text_set(&cause->code, code);
        if (r == 0)
                r = cause_text(object, "title", &cause->title);
        if (r == 0)
                r = cause_text(object, "explanation", &cause->explanation);
        if (r == 0)
                r = cause_word(object, "class", class_names, ELEMENTS(class_names), &class);
        if (r == 0)
                r = cause_word(object, "severity", severity_names, ELEMENTS(severity_names),
                               &severity);
        if (r == 0 && !json_object_object_get_ex(object, "remedies", &remedies))
                r = -EBADMSG;
        for (size_t i = 0; r == 0 && i < json_object_array_length(remedies); i++)
                r = list_append(&cause->remedies,
                                json_object_get_string(json_object_array_get_idx(remedies, i)),
                                LIMIT_DICTIONARY);
        cause->class = (CauseClass) class;
        cause->severity = (CauseSeverity) severity;
        return r;
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
