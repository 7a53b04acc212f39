/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking polkit whether a caller may do what is more than his own. Everybody may do everything with what belongs to him, without
 * polkit; root may do everything without being asked. Without polkit nobody else gets more: no answer is a no. */
#pragma once

#include "bus/call.h"

/* Whether the sender of call->message may do @action. What he asks for is what stands in that message, which nobody can change
 * while polkit thinks or an administrator types a password; objects are looked up afterwards. @details are pairs of key and value that are
 * shown to who authenticates, NULL at the end; NULL: none. The question ends with its caller. Suspends.
 * Returns 0 when he may; a negative errno with @error filled when not. */
int polkit_ask(Call *call, const char *action, const char *const *details, sd_bus_error *error);
