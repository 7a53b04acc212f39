/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Catching the browser at the end of a sign-in: a port on a loopback address, held by this process of the user's own, that takes one GET of
 * the agreed path and shows nothing of what it was given. */
#pragma once

#include "cli/cli.h"

typedef struct Redirect Redirect;

/* Binds 127.0.0.1, or ::1 where there is no IPv4, on a port that the kernel chooses. Told when it fails. */
int redirect_new(Redirect **ret, Cli *cli);
Redirect *redirect_free(Redirect *redirect);
static inline void redirect_freep(Redirect **p)
{
        *p = redirect_free(*p);
}
#define _cleanup_redirect_ _cleanup_(redirect_freep)

const char *redirect_host(const Redirect *redirect); /* "127.0.0.1", "::1" */
uint16_t redirect_port(const Redirect *redirect);
/* From now on a GET of @uri ("http://127.0.0.1:1234/callback") with a query counts; *@arrived becomes true then. */
int redirect_wait(Redirect *redirect, const char *uri, bool *arrived);
/* The whole address; NULL while none has come. Borrowed. */
const char *redirect_address(const Redirect *redirect);
