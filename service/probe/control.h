/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Control probes: a connection that is made only to see whether it can be, and closed at once. They tell a closed port from a host that is down,
 * and a server's fault from the network's. */
#pragma once

#include "probe/session.h"

enum { CONTROLS_MAX = 8 };

typedef struct Control {
        uint16_t port;
        const char *what; /* "IMAP", for the evidence; static */
        const char *host; /* another server; NULL: the session's own addresses; borrowed */
        int family;       /* AF_INET or AF_INET6 only; 0 both */
        /* the result */
        bool done;
        int error; /* 0 connected; errno; ENOENT: the name could not be resolved */
        uint64_t usec;
        /* while it runs */
        bool resolved;
        const Session *session;
        Fiber *fiber;
} Control;

/* All at once, each for @usec at most. Suspends. Returns 0, negative errno. */
int controls_run(const Session *session, Control *controls, size_t n, uint64_t usec);
/* As evidence, one line for each that could be asked. Returns 0, -ENOMEM. */
int controls_tell(const Control *controls, size_t n, Dict *evidence);
/* The other ports of the same server by which something can be told. Returns how many. */
size_t controls_beside(const Endpoint *endpoint, Control to[CONTROLS_MAX]);
/* Servers of others that have the same port; at most two. Returns how many. */
size_t controls_elsewhere(const Session *session, Control to[CONTROLS_MAX]);
/* It was answered, by yes or by no: something is alive there. */
static inline bool control_lives(const Control *control)
{
        return control->done && (control->error == 0 || control->error == ECONNREFUSED ||
                                 control->error == ECONNRESET);
}
