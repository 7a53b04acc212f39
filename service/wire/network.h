/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Our own end of the network, as the kernel tells it: nothing is sent, and nothing here suspends. */
#pragma once

#include <sys/socket.h>

#include "base/util.h"

typedef struct Network {
        bool link; /* an interface other than loopback runs and has an address that reaches beyond it */
        bool route4, route6; /* the kernel has a way to the world, by family */
        uint64_t
                addresses; /* changes when the addresses that reach beyond do; means nothing else */
} Network;

/* Returns 0, negative errno. */
int network_look(Network *ret);
/* Has the kernel a way to @address? 0, or the positive errno that it gives. */
int network_route(const struct sockaddr *address);
/* Is @address one of our own? */
bool network_is_own(const struct sockaddr *address);
/* Sends one empty datagram to @address, port @port, whose fate in the world does not matter: does this machine let it out? Returns 0, or the
 * positive errno by which a firewall of ours refused it. */
int network_send_allowed(const struct sockaddr *address, uint16_t port);
