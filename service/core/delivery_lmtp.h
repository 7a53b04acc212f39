/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The other way of delivery: one message after the other to a server of this machine by LMTP (RFC 2033), which says of each whether it
 * is delivered. */
#pragma once

#include "core/core.h"
#include "talk/smtp.h"

typedef struct Lmtp {
        const char *socket; /* borrowed */
        char *recipient;
        uint64_t n_taken;
        Smtp *smtp;
        Outcome no; /* why not */
} Lmtp;

/* The recipient is the owner's user name, with the administrator's domain. */
int lmtp_init(Lmtp *lmtp, const Config *config, const char *user_name);
void lmtp_deinit(Lmtp *lmtp);
/* Hands over the file behind @fd; connects where there is no connection. Suspends. Returns 0: it is delivered. 1: this message is refused for
 * good, lmtp->no says why. 2: it is not delivered, nor would others be now (lmtp->no). Negative errno. */
int lmtp_deliver(Lmtp *lmtp, int fd, const char *id);
/* The cause that a result of 2 stands for. */
const char *lmtp_cause(const Lmtp *lmtp);
