/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing that a setup needs, in plain words. A need is an object: kind, and what the contract says must be shown. */
#pragma once

#include "cli/cli.h"
#include "cli/lines.h"

bool need_is(json_object *need, const char *kind);
/* What makes it the same need; the caller frees it, NULL when there is no memory. */
char *need_key(json_object *need);
/* Whether the certificate that it shows has this key (hex, colons and case do not matter). */
bool need_has_key(json_object *need, const char *spki);
/* Whether all that it would have approved belongs to @domain. */
bool need_is_within(json_object *need, const char *domain);
bool need_is_for_app_password(json_object *need);

/* What has to be known to answer it. */
void need_lines(Cli *cli, json_object *need, Lines *to);
/* That, and how to give it where nobody can be asked; on standard error. */
void need_print(Cli *cli, json_object *need);
