/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The servers that were found, as they are shown: a number, who names them, and of each side the server and the ground on which a
 * password may go there. */
#pragma once

#include "cli/cli.h"
#include "cli/lines.h"
#include "cli/value.h"

/* Adds @candidate, one of a Setup's Candidates, under the number @index + 1. */
void candidate_lines(Cli *cli, Lines *lines, size_t index, json_object *candidate,
                     const char *address);
