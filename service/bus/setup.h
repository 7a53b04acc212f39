/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the other interfaces need of that of setups. */
#pragma once

#include "bus/bus.h"

/* Replies to @m with the path of @setup, which its sender has just begun and which ends when he leaves. A handler returns what this
 * returns. */
int setup_started(sd_bus_message *m, Setup *setup, sd_bus_error *error);
/* Reads "s side, s secret" or their like: "" for both, "incoming", "outgoing". Borrowed from @m. */
int side_read(sd_bus_message *m, const char **ret, sd_bus_error *error);
