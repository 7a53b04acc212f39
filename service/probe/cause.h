/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalogue of causes (data/causes.json, compiled in and parsed once). Codes are API: never renamed, only added. Texts may have places in
 * braces ({host}) that the evidence fills; a text whose place cannot be filled gives way to one without it, or is left out. */
#pragma once

#include "base/dict.h"
#include "base/util.h"

typedef enum CauseClass { CAUSE_USER_ACTION, CAUSE_TEMPORARY, CAUSE_PERMANENT } CauseClass;
typedef enum CauseSeverity { CAUSE_BLOCK, CAUSE_DEGRADE, CAUSE_INFO, CAUSE_OURS } CauseSeverity;
/* Who can mend it. */
typedef enum CauseWho { WHO_USER, WHO_PROVIDER, WHO_ADMINISTRATOR, WHO_NOBODY, WHO_US } CauseWho;

typedef struct CauseText {
        char *with;    /* with places, or plain */
        char *without; /* instead, when a place cannot be filled; NULL: nothing */
} CauseText;

/* What a cause says in one language; what is not translated is NULL or empty, and said in English. */
typedef struct CauseWords {
        char *title;
        CauseText explanation;
        CauseText *remedies; /* in order */
        size_t n_remedies;
} CauseWords;

enum { CAUSE_LANGUAGES = 2 }; /* English first */

typedef struct Cause {
        char *code;
        CauseClass class;
        CauseSeverity severity;
        CauseWho who;
        char **pages; /* of the provider where it is mended: "settings", "app-password", the likeliest first; NULL none */
        CauseWords words[CAUSE_LANGUAGES];
} Cause;

/* Parses the catalogue and its translations. Once, before the others. Returns 0, -ENOMEM, -EBADMSG (a bug of the build). */
int causes_load(void);
void causes_unload(void);
/* NULL when the code is unknown. Valid until causes_unload(). */
const Cause *cause_find(const char *code);
/* The @index-th in order of code; NULL behind the last. */
const Cause *cause_at(size_t index);
/* @locale as of LC_MESSAGES ("de_AT.UTF-8") or a list of them ("de:en"); NULL and all that is not translated is English. */
const char *cause_title(const Cause *cause, const char *locale);
/* The remedies with their places filled from @evidence (NULL: none): texts, numbers, lists joined by commas; not-before and not-after as
 * dates. *@ret is NULL when none is left. Returns 0, -ENOMEM. */
int cause_remedies(const Cause *cause, const char *locale, const Dict *evidence, char ***ret);
int cause_explanation(const Cause *cause, const char *locale, const Dict *evidence, char **ret);
const char *cause_class_name(CauseClass class);
const char *cause_severity_name(CauseSeverity severity);
/* "user", "provider", "administrator", "nobody", "us". */
const char *cause_who_name(CauseWho who);
