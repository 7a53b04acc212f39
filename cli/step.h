/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One step of a setup as a line with its proof. A step is an object: id, status, cause, usec, evidence. */
#pragma once

#include "cli/cli.h"

/* The contract's Steps, an array of arrays, as an array of objects. The caller owns it; NULL when it has another form. */
json_object *steps_from_property(json_object *property);
/* Needs likewise: each need's keys, and its kind. */
json_object *needs_from_property(json_object *property);

/* passed, warned, failed or skipped. */
bool step_has_ended(json_object *step);
/* Skipped ones are not worth a line. */
void step_print(Cli *cli, json_object *step);
/* What stands behind the duration; the caller frees it. NULL when there is no memory. */
char *step_proof(json_object *step);
