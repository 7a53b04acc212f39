/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Passwords on their way in: from a string of a sensitive message, or from a pipe or memfd. */
#pragma once

#include <systemd/sd-bus.h>

#include "base/secret.h"

/* Reads the next argument of @m, an s. Returns 0, or a negative errno with @error filled. */
int secret_read_text(sd_bus_message *m, Secret **ret, sd_bus_error *error);
/* Reads @fd (borrowed) to its end: a pipe, or a file in memory of at most LIMIT_SECRET bytes. One line end at the end is not part of
 * the secret. Suspends, at most LIMIT_SECRET_FD_USEC. Returns as above. */
int secret_read_fd(int fd, Secret **ret, sd_bus_error *error);
