/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The whole picture of a setup in one screen: what works with its figures, the one cause, its proof, what to do, and what should be
 * known besides. What only follows from the cause is grey and in one line, not another error. */
#pragma once

#include "cli/cli.h"

/* @what: as the user called it, @below: a line on it, NULL for none. @properties as setup_properties(); @cause as cause_describe(), NULL for none; @warnings as warnings_of_steps(). */
void picture_print(Cli *cli, const char *what, const char *below, json_object *properties,
                   json_object *cause, json_object *warnings);
/* The step that has @code, "" and NULL for none. Borrowed. */
json_object *picture_step_of_cause(json_object *properties, const char *code);
