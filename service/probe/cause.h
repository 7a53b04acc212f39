/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The catalogue of causes (data/causes.json, compiled in and parsed once). Codes are API: never renamed, only added. */
#pragma once

#include "base/util.h"

typedef enum CauseClass { CAUSE_USER_ACTION, CAUSE_TEMPORARY, CAUSE_PERMANENT } CauseClass;
typedef enum CauseSeverity { CAUSE_BLOCK, CAUSE_DEGRADE, CAUSE_INFO, CAUSE_OURS } CauseSeverity;

typedef struct Cause {
        char *code, *title, *explanation;
        char **remedies; /* in order */
        CauseClass class;
        CauseSeverity severity;
} Cause;

/* Parses the catalogue. Once, before the others. Returns 0, -ENOMEM, -EBADMSG (a bug of the build). */
int causes_load(void);
void causes_unload(void);
/* NULL when the code is unknown. Valid until causes_unload(). */
const Cause *cause_find(const char *code);
/* The @index-th in order of code; NULL behind the last. */
const Cause *cause_at(size_t index);
const char *cause_class_name(CauseClass class);
const char *cause_severity_name(CauseSeverity severity);
