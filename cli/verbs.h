/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One verb per file; the table in cli/verb.c lists them. */
#pragma once

#include "cli/verb.h"

extern const Verb verb_add, verb_authorize, verb_causes, verb_completions, verb_configure,
        verb_discover, verb_doctor, verb_explain, verb_fetch, verb_history, verb_list,
        verb_password, verb_pause, verb_remove, verb_report, verb_resume, verb_show,
        verb_oauth_client, verb_token, verb_watch, verb_why;
