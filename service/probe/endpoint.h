/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where to connect and how: one server of one side. */
#pragma once

#include "base/dict.h"
#include "base/util.h"

typedef enum Side { SIDE_INCOMING, SIDE_OUTGOING } Side;
typedef enum Protocol { PROTOCOL_POP3, PROTOCOL_SMTP, PROTOCOL_IMAP } Protocol;
typedef enum Security { SECURITY_TLS, SECURITY_STARTTLS, SECURITY_NONE } Security;

typedef struct Endpoint {
        Protocol protocol;
        char *host; /* A-labels, lower case; NULL: there is none */
        uint16_t port;
        Security security;
        char *user;          /* the name to sign in with */
        char *approved_spki; /* hex; the one key accepted although it does not verify; NULL */
        uint64_t
                approved_until_usec; /* since 1970: and until when; 0 for ever, in the setup where it was approved */
} Endpoint;

void endpoint_deinit(Endpoint *endpoint);
/* A deep copy; frees what @to held. Returns 0, -ENOMEM. */
int endpoint_copy(Endpoint *to, const Endpoint *from);
/* Same protocol, host, port and security. */
bool endpoint_same(const Endpoint *a, const Endpoint *b);
/* "pop3", "smtp", "imap"; "tls", "starttls", "none"; "incoming", "outgoing". */
const char *protocol_name(Protocol protocol);
const char *security_name(Security security);
const char *side_name(Side side);
/* Also understands "implicit" for tls and "ssl". Returns 0, -EINVAL. */
int security_from_name(const char *name, Security *ret);
/* Returns 0, -EINVAL. */
int protocol_from_name(const char *name, Protocol *ret);
uint16_t protocol_default_port(Protocol protocol, Security security);
/* The contract's dictionary: host, port, security, protocol, user. Returns 0, -ENOMEM. */
int endpoint_to_dict(const Endpoint *endpoint, Dict *to);
