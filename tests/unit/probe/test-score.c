/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How many known replies are judged rightly: our own collection (first argument), a second one that the rules had not seen when it was written
 * (docs/replies.md has the figures of that day), and, where it lies beside the project, one of lines seen in the wild (third). Each is scored twice: as it is, and with the rules of each line's own provider taken away, which is what
 * servers that nobody has seen will get. What is confused is printed. */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "tests/unit/base/check.h"

#include "base/text.h"
#include "probe/cause.h"
#include "probe/reply.h"

extern const char data_replies[];
extern const unsigned data_replies_len;

static const char *own_path, *more_path, *wild_path;

typedef struct Score {
        unsigned n, causes, classes;
} Score;

static const char *text_of(json_object *object, const char *key)
{
        json_object *value;

        return json_object_object_get_ex(object, key, &value) ? json_object_get_string(value)
                                                              : NULL;
}

/* The class that the collection says, or that the expected cause has. */
static const char *class_of(json_object *line)
{
        const Cause *cause = cause_find(text_of(line, "cause"));

        assert_non_null(cause);
        return text_of(line, "class") ?: cause_class_name(cause->class);
}

static void score_line(json_object *line, const char *how, Score *score)
{
        ReplyQuestion question = { .protocol = text_of(line, "protocol"),
                                   .phase = text_of(line, "phase"),
                                   .provider = text_of(line, "provider") };
        const char *lines[64], *wanted = text_of(line, "cause");
        json_object *list = json_object_object_get(line, "lines");
        size_t n = MIN(json_object_array_length(list), ELEMENTS(lines));
        ReplyVerdict verdict;
        const Cause *got;

        for (size_t i = 0; i < n; i++)
                lines[i] = json_object_get_string(json_object_array_get_idx(list, i));
        reply_explain(&question, lines, n, &verdict);
        got = cause_find(verdict.cause);
        score->n++;
        score->causes += text_equal(verdict.cause, wanted);
        score->classes += got && text_equal(cause_class_name(got->class), class_of(line));
        if (!text_equal(verdict.cause, wanted))
                printf("# %s: %-28s is %-32s not %-32s %.90s\n", how, text_of(line, "id"), wanted,
                       verdict.cause, n ? lines[0] : "");
}

/* Whether a rule is for the provider whose names (and own name) are @provider's. */
static bool rule_is_for(json_object *root, json_object *rule, const char *provider)
{
        json_object *scope = json_object_object_get(rule, "provider"),
                    *providers = json_object_object_get(root, "providers");

        for (size_t i = 0; scope && i < json_object_array_length(scope); i++) {
                const char *name = json_object_get_string(json_object_array_get_idx(scope, i));
                json_object *names = json_object_object_get(json_object_object_get(providers, name),
                                                            "names");

                if (strcasecmp(name, provider) == 0)
                        return true;
                for (size_t k = 0; names && k < json_object_array_length(names); k++)
                        if (strcasecmp(json_object_get_string(json_object_array_get_idx(names, k)),
                                       provider) == 0)
                                return true;
        }
        return false;
}

/* Loads the rules without those of @provider, unless they stand; false when it has none. */
static bool rules_without(const char *provider, char **loaded)
{
        json_object *root = json_tokener_parse(data_replies),
                    *rules = json_object_object_get(root, "rules"), *kept = json_object_new_array();
        _cleanup_free_ char *why = NULL;
        const char *json;
        bool fewer;

        if (text_equal(*loaded, provider)) {
                json_object_put(root);
                json_object_put(kept);
                return true;
        }
        for (size_t i = 0; i < json_object_array_length(rules); i++) {
                json_object *rule = json_object_array_get_idx(rules, i);

                if (!rule_is_for(root, rule, provider))
                        json_object_array_add(kept, json_object_get(rule));
        }
        fewer = json_object_array_length(kept) < json_object_array_length(rules);
        json_object_object_add(root, "rules", kept);
        json = json_object_to_json_string(root);
        if (fewer)
                assert_int_equal(replies_load_text(json, strlen(json), &why), 0);
        json_object_put(root);
        if (fewer)
                assert_int_equal(text_set(loaded, provider), 0);
        return fewer;
}

static json_object *collection_read(const char *path)
{
        FILE *file = fopen(path, "re");
        json_object *all = json_object_new_array();
        char *line = NULL;
        size_t size = 0;

        while (file && getline(&line, &size, file) > 0) {
                json_object *object = json_tokener_parse(line);

                assert_non_null(object);
                json_object_array_add(all, object);
        }
        free(line);
        if (file)
                fclose(file);
        return all;
}

static void score(const char *path, double causes, double classes, double causes_bare,
                  double classes_bare)
{
        json_object *all = collection_read(path);
        _cleanup_free_ char *loaded = NULL; /* the provider whose rules are away */
        Score as_is = {}, bare = {};

        if (json_object_array_length(all) == 0) {
                printf("# %s is not there: skipped\n", path);
                json_object_put(all);
                skip();
        }
        for (size_t i = 0; i < json_object_array_length(all); i++)
                score_line(json_object_array_get_idx(all, i), "as it is", &as_is);
        for (size_t i = 0; i < json_object_array_length(all); i++) {
                json_object *line = json_object_array_get_idx(all, i);
                const char *provider = text_of(line, "provider") ?: "";

                if (!rules_without(provider, &loaded) && loaded) {
                        assert_int_equal(replies_load(NULL), 0);
                        assert_int_equal(text_set(&loaded, NULL), 0);
                }
                score_line(line, "without its provider's rules", &bare);
        }
        assert_int_equal(replies_load(NULL), 0);
        printf("# %u lines: cause %.1f %%, class %.1f %%; without the provider's own rules %.1f %%, %.1f %%\n",
               as_is.n, 100.0 * as_is.causes / as_is.n, 100.0 * as_is.classes / as_is.n,
               100.0 * bare.causes / bare.n, 100.0 * bare.classes / bare.n);
        assert_true(as_is.causes >= causes * as_is.n && as_is.classes >= classes * as_is.n);
        assert_true(bare.causes >= causes_bare * bare.n && bare.classes >= classes_bare * bare.n);
        json_object_put(all);
}

static void test_own(void **state)
{
        score(own_path, 0.97, 0.98, 0.95, 0.97);
}

static void test_more(void **state)
{
        score(more_path, 0.99, 0.99, 0.95, 0.97);
}

static void test_wild(void **state)
{
        score(wild_path, 0.97, 0.98, 0.95, 0.97);
}

/* Every rule names a cause of the catalogue. */
static void test_causes_exist(void **state)
{
        const char *cause;
        size_t n = 0;

        for (; (cause = replies_cause_at(n)); n++)
                assert_non_null(cause_find(cause));
        assert_true(n > 100);
}

static int setup(void **state)
{
        return causes_load() ?: replies_load(NULL);
}

static int teardown(void **state)
{
        replies_unload();
        causes_unload();
        return 0;
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_causes_exist),
                cmocka_unit_test(test_own),
                cmocka_unit_test(test_more),
                cmocka_unit_test(test_wild),
        };

        if (argc != 4)
                return 2;
        own_path = argv[1];
        more_path = argv[2];
        wild_path = argv[3];
        return cmocka_run_group_tests_name("probe/score", tests, setup, teardown);
}
