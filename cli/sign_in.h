/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Signing in at the provider: in the browser of whoever sits there, or by a code that is typed on another device. */
#pragma once

#include "cli/setup.h"

/* @flow: "code", "device" or NULL: what there is, the browser first. Shows what has to be done and waits for the browser, or for a pasted address, until
 * setup->moot. *@ret_given: the service has what it needs, or asks by itself. */
int sign_in(Setup *setup, json_object *need, const char *flow, bool *ret_given);
