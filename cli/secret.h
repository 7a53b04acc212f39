/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A password on its way to the service: never in an argument, an environment variable or a printable place; wiped when freed. */
#pragma once

#include "cli/cli.h"

enum { SECRET_MAX = 4096 }; /* what the service takes */

typedef struct Secret Secret;

/* Copies; @len may be 0. NULL when there is no memory. */
Secret *secret_new(const char *bytes, size_t len);
Secret *secret_free(Secret *secret);
static inline void secret_freep(Secret **p)
{
        *p = secret_free(*p);
}
#define _cleanup_secret_ _cleanup_(secret_freep)
bool secret_is_empty(const Secret *secret);
/* A copy without blanks. NULL when there is no memory. */
Secret *secret_without_blanks(const Secret *secret);

/* From a file, "-" for standard input; one newline at the end does not belong to it. Told when it cannot be read. */
int secret_read_file(Cli *cli, Secret **ret, const char *path);
/* A pipe's end from which the secret can be read once; the caller closes it. Negative errno. */
int secret_to_pipe(const Secret *secret);
/* As the next argument (s) of @m. Negative errno. */
int secret_append(const Secret *secret, sd_bus_message *m);
