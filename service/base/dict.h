/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An ordered dictionary of typed values: what evidence, needs, candidates, endpoints and options are made of, and
 * what bus/ turns into a{sv} and cli/ into JSON. Keys are unique; setting one again replaces its value. */
#pragma once

#include "base/util.h"

typedef enum DictType {
        DICT_TEXT,   /* s; always printable UTF-8: the setters see to it */
        DICT_BOOL,   /* b */
        DICT_NUMBER, /* t */
        DICT_LIST,   /* as */
        DICT_DICT,   /* a{sv} */
} DictType;

typedef struct Dict Dict;

typedef struct DictEntry {
        char *key;
        DictType type;
        union {
                char *text;
                bool flag;
                uint64_t number;
                char **list;
                Dict *dict;
        };
} DictEntry;

struct Dict {
        DictEntry *entries;
        size_t n_entries;
};

Dict *dict_new(void); /* NULL when there is no memory */
Dict *dict_free(Dict *dict);
DEFINE_CLEANUP(Dict, dict_free);
void dict_clear(Dict *dict);
int dict_copy(Dict **ret, const Dict *dict);
bool dict_equal(const Dict *a, const Dict *b);

/* Each returns 0, -ENOMEM, -ENOBUFS (over LIMIT_DICTIONARY entries). Text is made printable and cut at
 * LIMIT_REPLY_TEXT; NULL text or list sets nothing. */
int dict_set_text(Dict *dict, const char *key, const char *text);
int dict_set_bytes(Dict *dict, const char *key, const void *bytes, size_t len);
int dict_set_bool(Dict *dict, const char *key, bool flag);
int dict_set_number(Dict *dict, const char *key, uint64_t number);
int dict_set_list(Dict *dict, const char *key, char *const *list);
int dict_add_to_list(Dict *dict, const char *key, const char *text);
int dict_set_dict_take(Dict *dict, const char *key, Dict *value);
void dict_unset(Dict *dict, const char *key);

/* NULL (or @fallback) when the key is missing or of another type. Borrowed. */
const DictEntry *dict_find(const Dict *dict, const char *key);
const char *dict_text(const Dict *dict, const char *key);
char *const *dict_list(const Dict *dict, const char *key);
const Dict *dict_dict(const Dict *dict, const char *key);
bool dict_bool(const Dict *dict, const char *key, bool fallback);
uint64_t dict_number(const Dict *dict, const char *key, uint64_t fallback);

/* What a dictionary may have. */
typedef struct DictKey {
        const char *key;
        DictType type;
} DictKey;

/* The first entry that is not among @keys, or is of another type than it says there; NULL when all fit. @ret_what then says what is wrong with it,
 * to stand behind its key: "must be a number". */
const DictEntry *dict_misfit(const Dict *dict, const DictKey *keys, size_t n_keys,
                             const char **ret_what);

/* A digest over all keys and values in order, for approval tokens: lower-case hex of SHA-256. */
int dict_digest(const Dict *dict, char ret[65]);
