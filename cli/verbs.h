/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One verb per file; the table in cli/verb.c lists them. */
#pragma once

#include "cli/verb.h"

extern const Verb verb_add, verb_discover, verb_doctor, verb_list, verb_show, verb_fetch,
        verb_history, verb_watch, verb_remove, verb_explain;
