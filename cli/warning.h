/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What works, but should be known: read out of the evidence of steps that passed. */
#pragma once

#include "cli/cli.h"

/* @steps as in JSON. A new array of {"code", "step", "text"}; the caller owns it. */
json_object *warnings_of_steps(json_object *steps);
