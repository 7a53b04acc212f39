/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See dict.h. Small by its ceiling, so a plain array is searched. */
#include <inttypes.h>
#include <string.h>

#include "base/dict.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"

static void entry_clear(DictEntry *entry)
{
        switch (entry->type) {
        case DICT_TEXT:
                free(entry->text);
                break;
        case DICT_LIST:
                list_free(entry->list);
                break;
        case DICT_DICT:
                dict_free(entry->dict);
                break;
        case DICT_BOOL:
        case DICT_NUMBER:
                break;
        }
        entry->number = 0;
}

Dict *dict_new(void)
{
        return calloc(1, sizeof(Dict));
}

void dict_clear(Dict *dict)
{
        for (size_t i = 0; i < dict->n_entries; i++) {
                entry_clear(&dict->entries[i]);
                free(dict->entries[i].key);
        }
        free(dict->entries);
        *dict = (Dict){};
}

Dict *dict_free(Dict *dict)
{
        if (!dict)
                return NULL;
        dict_clear(dict);
        free(dict);
        return NULL;
}

static DictEntry *dict_find_mutable(Dict *dict, const char *key)
{
        for (size_t i = 0; i < dict->n_entries; i++)
                if (strcmp(dict->entries[i].key, key) == 0)
                        return &dict->entries[i];
        return NULL;
}

const DictEntry *dict_find(const Dict *dict, const char *key)
{
        for (size_t i = 0; dict && i < dict->n_entries; i++)
                if (strcmp(dict->entries[i].key, key) == 0)
                        return &dict->entries[i];
        return NULL;
}

/* Finds or makes the entry for @key, emptied and ready for a value of @type. */
static int dict_slot(Dict *dict, const char *key, DictType type, DictEntry **ret)
{
        DictEntry *entry = dict_find_mutable(dict, key), *entries;
        char *copy;

        if (!entry) {
                if (dict->n_entries >= LIMIT_DICTIONARY)
                        return -ENOBUFS;
                copy = strdup(key);
                if (!copy)
                        return -ENOMEM;
                entries = reallocarray(dict->entries, dict->n_entries + 1, sizeof(*entries));
                if (!entries) {
                        free(copy);
                        return -ENOMEM;
                }
                dict->entries = entries;
                entry = &entries[dict->n_entries++];
                *entry = (DictEntry){ .key = copy };
        } else
                entry_clear(entry);
        entry->type = type;
        entry->number = 0;
        *ret = entry;
        return 0;
}

int dict_set_bytes(Dict *dict, const char *key, const void *bytes, size_t len)
{
        DictEntry *entry;
        char *text;
        int r;

        text = text_printable_new(bytes, len, LIMIT_REPLY_TEXT);
        if (!text)
                return -ENOMEM;
        r = dict_slot(dict, key, DICT_TEXT, &entry);
        if (r < 0) {
                free(text);
                return r;
        }
        entry->text = text;
        return 0;
}

int dict_set_text(Dict *dict, const char *key, const char *text)
{
        return text ? dict_set_bytes(dict, key, text, strlen(text)) : 0;
}

int dict_set_bool(Dict *dict, const char *key, bool flag)
{
        DictEntry *entry;
        int r = dict_slot(dict, key, DICT_BOOL, &entry);

        if (r == 0)
                entry->flag = flag;
        return r;
}

int dict_set_number(Dict *dict, const char *key, uint64_t number)
{
        DictEntry *entry;
        int r = dict_slot(dict, key, DICT_NUMBER, &entry);

        if (r == 0)
                entry->number = number;
        return r;
}

int dict_set_list(Dict *dict, const char *key, char *const *list)
{
        DictEntry *entry;
        int r;

        if (!list)
                return 0;
        r = dict_slot(dict, key, DICT_LIST, &entry);
        for (; r == 0 && *list; list++)
                r = dict_add_to_list(dict, key, *list);
        return r;
}

int dict_add_to_list(Dict *dict, const char *key, const char *text)
{
        DictEntry *entry = dict_find_mutable(dict, key);
        _cleanup_free_ char *shown = NULL;
        int r;

        if (!entry || entry->type != DICT_LIST) {
                r = dict_slot(dict, key, DICT_LIST, &entry);
                if (r < 0)
                        return r;
        }
        shown = text_printable_new(text, strlen(text), LIMIT_REPLY_TEXT);
        return shown ? list_append(&entry->list, shown, LIMIT_REPLY_LINES) : -ENOMEM;
}

int dict_set_dict_take(Dict *dict, const char *key, Dict *value)
{
        DictEntry *entry;
        int r = dict_slot(dict, key, DICT_DICT, &entry);

        if (r < 0) {
                dict_free(value);
                return r;
        }
        entry->dict = value;
        return 0;
}

void dict_unset(Dict *dict, const char *key)
{
        DictEntry *entry = dict_find_mutable(dict, key);
        size_t i;

        if (!entry)
                return;
        entry_clear(entry);
        free(entry->key);
        i = (size_t) (entry - dict->entries);
        memmove(entry, entry + 1, (dict->n_entries - i - 1) * sizeof(*entry));
        dict->n_entries--;
}

static int dict_copy_entry(Dict *to, const DictEntry *from)
{
        Dict *inner = NULL;
        DictEntry *entry;
        int r;

        switch (from->type) {
        case DICT_TEXT:
                return dict_set_text(to, from->key, from->text);
        case DICT_BOOL:
                return dict_set_bool(to, from->key, from->flag);
        case DICT_NUMBER:
                return dict_set_number(to, from->key, from->number);
        case DICT_LIST:
                r = dict_slot(to, from->key, DICT_LIST, &entry);
                return r < 0 ? r : list_copy(&entry->list, from->list);
        case DICT_DICT:
                r = dict_copy(&inner, from->dict);
                return r < 0 ? r : dict_set_dict_take(to, from->key, inner);
        }
        return -EINVAL;
}

int dict_copy(Dict **ret, const Dict *dict)
{
        _cleanup_(dict_freep) Dict *copy = dict_new();

        if (!copy)
                return -ENOMEM;
        for (size_t i = 0; dict && i < dict->n_entries; i++) {
                int r = dict_copy_entry(copy, &dict->entries[i]);

                if (r < 0)
                        return r;
        }
        *ret = TAKE(copy);
        return 0;
}

static bool list_equal(char *const *a, char *const *b)
{
        if (list_len(a) != list_len(b))
                return false;
        for (; a && *a; a++, b++)
                if (strcmp(*a, *b) != 0)
                        return false;
        return true;
}

static bool entry_equal(const DictEntry *a, const DictEntry *b)
{
        if (a->type != b->type || strcmp(a->key, b->key) != 0)
                return false;
        switch (a->type) {
        case DICT_TEXT:
                return text_equal(a->text, b->text);
        case DICT_BOOL:
                return a->flag == b->flag;
        case DICT_NUMBER:
                return a->number == b->number;
        case DICT_LIST:
                return list_equal(a->list, b->list);
        case DICT_DICT:
                return dict_equal(a->dict, b->dict);
        }
        return false;
}

bool dict_equal(const Dict *a, const Dict *b)
{
        size_t n = a ? a->n_entries : 0;

        if (n != (b ? b->n_entries : 0))
                return false;
        for (size_t i = 0; i < n; i++)
                if (!entry_equal(&a->entries[i], &b->entries[i]))
                        return false;
        return true;
}

const char *dict_text(const Dict *dict, const char *key)
{
        const DictEntry *entry = dict_find(dict, key);

        return entry && entry->type == DICT_TEXT ? entry->text : NULL;
}

char *const *dict_list(const Dict *dict, const char *key)
{
        const DictEntry *entry = dict_find(dict, key);

        return entry && entry->type == DICT_LIST ? entry->list : NULL;
}

const Dict *dict_dict(const Dict *dict, const char *key)
{
        const DictEntry *entry = dict_find(dict, key);

        return entry && entry->type == DICT_DICT ? entry->dict : NULL;
}

bool dict_bool(const Dict *dict, const char *key, bool fallback)
{
        const DictEntry *entry = dict_find(dict, key);

        return entry && entry->type == DICT_BOOL ? entry->flag : fallback;
}

uint64_t dict_number(const Dict *dict, const char *key, uint64_t fallback)
{
        const DictEntry *entry = dict_find(dict, key);

        return entry && entry->type == DICT_NUMBER ? entry->number : fallback;
}

/* Length-prefixed, so that no two dictionaries serialize alike. */
static int dict_serialize(Buffer *to, const Dict *dict)
{
        int r = 0;

        for (size_t i = 0; dict && i < dict->n_entries && r == 0; i++) {
                const DictEntry *entry = &dict->entries[i];

                r = buffer_printf(to, "%zu:%s%d", strlen(entry->key), entry->key,
                                  (int) entry->type);
                if (r < 0)
                        return r;
                switch (entry->type) {
                case DICT_TEXT:
                        r = buffer_printf(to, "%zu:%s", strlen(entry->text), entry->text);
                        break;
                case DICT_BOOL:
                        r = buffer_printf(to, "%d", entry->flag);
                        break;
                case DICT_NUMBER:
                        r = buffer_printf(to, "%" PRIu64 ";", entry->number);
                        break;
                case DICT_LIST:
                        for (char **p = entry->list; p && *p && r == 0; p++)
                                r = buffer_printf(to, "%zu:%s", strlen(*p), *p);
                        r = r < 0 ? r : buffer_append_text(to, ";");
                        break;
                case DICT_DICT:
                        r = dict_serialize(to, entry->dict);
                        r = r < 0 ? r : buffer_append_text(to, ";");
                        break;
                }
        }
        return r;
}

int dict_digest(const Dict *dict, char ret[65])
{
        _cleanup_buffer_ Buffer buffer = BUFFER(1024 * 1024);
        int r = dict_serialize(&buffer, dict);

        return r < 0 ? r : sha256_text(buffer.data ? buffer.data : "", buffer.len, ret);
}

static const char *type_demand(DictType type)
{
        switch (type) {
        case DICT_TEXT:
                return "must be a string";
        case DICT_BOOL:
                return "must be a boolean";
        case DICT_NUMBER:
                return "must be a number";
        case DICT_LIST:
                return "must be a list of strings";
        case DICT_DICT:
                return "must be a dictionary";
        }
        return "has another type";
}

const DictEntry *dict_misfit(const Dict *dict, const DictKey *keys, size_t n_keys,
                             const char **ret_what)
{
        for (size_t i = 0; dict && i < dict->n_entries; i++) {
                const DictEntry *entry = &dict->entries[i];
                const DictKey *known = NULL;

                for (size_t k = 0; k < n_keys; k++)
                        if (strcmp(keys[k].key, entry->key) == 0)
                                known = &keys[k];
                if (known && known->type == entry->type)
                        continue;
                *ret_what = known ? type_demand(known->type) : "is not a known key";
                return entry;
        }
        return NULL;
}
