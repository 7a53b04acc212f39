/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thing that a setup needs, in plain words. A need is an object: kind, and what the contract says must be shown. */
#pragma once

#include "cli/secret.h"
#include "cli/terminal.h"

bool need_is(json_object *need, const char *kind);
/* What makes it the same need; the caller frees it, NULL when there is no memory. */
char *need_key(json_object *need);
/* Whether the certificate that it shows has this key (hex, colons and case do not matter). */
bool need_has_key(json_object *need, const char *spki);

/* What is missing and how to give it, on standard error. */
void need_print(Cli *cli, json_object *need);
int need_ask_password(Cli *cli, json_object *setup, json_object *need, bool optional, Secret **ret);
int need_ask_servers(Cli *cli, json_object *need, bool *ret);
/* "yes" in full: this one is not to be clicked away. */
int need_ask_certificate(Cli *cli, json_object *need, bool *ret);
