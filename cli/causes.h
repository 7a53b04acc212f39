/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The codes of the catalogue. */
#pragma once

#include "cli/cli.h"

/* Those that begin so; the caller owns the list. */
int causes_read(Cli *cli, const char *begin, json_object **ret);
