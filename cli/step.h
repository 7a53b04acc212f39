/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One step of a setup and its proof in words. A step is an object: id, status, cause, usec, evidence. */
#pragma once

#include "cli/cli.h"
#include "cli/lines.h"

/* The contract's Steps, an array of arrays, as an array of objects. The caller owns it; NULL when it has another form. */
json_object *steps_from_property(json_object *property);
/* Needs likewise: each need's keys, and its kind. */
json_object *needs_from_property(json_object *property);

/* passed, warned, failed or skipped. */
bool step_has_ended(json_object *step);
bool step_is(json_object *step, const char *status);
/* "incoming.tls" is "tls". */
const char *step_name(json_object *step);
/* What stands behind the duration; the caller frees it. NULL when there is no memory. @with_code: begins with the cause's code. */
char *step_proof(json_object *step, bool with_code);
/* What a running step waits for once that takes longer than a moment, likewise; NULL when it does not, too. */
char *step_waits_for(json_object *step);
/* What was found out about one that failed: the server's own words, and what was looked at beside. */
void step_findings(json_object *step, unsigned columns, Lines *to);
