/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every bound on what a server or a caller can make grow, in one table. Units are in the names or the comments. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/util.h"

enum {
        /* from servers */
        LIMIT_LINE = 64 * 1024,      /* octets of one line; message lines stream without limit */
        LIMIT_REPLY_LINES = 512,     /* lines of one multi-line reply that is kept (CAPA, EHLO) */
        LIMIT_REPLY_TEXT = 512,      /* octets of a reply kept as evidence */
        LIMIT_DOCUMENT = 256 * 1024, /* octets of one HTTPS document */
        LIMIT_REDIRECTS = 3,
        LIMIT_DEPTH = 16, /* of XML and JSON */
        LIMIT_XML_ELEMENTS = 2000,
        LIMIT_XML_TOKEN = 32 * 1024, /* octets of one tag or comment */
        LIMIT_SERVERS = 32,          /* servers taken from one autoconfig document */
        LIMIT_TOKEN = 16 * 1024,     /* octets of an access token */
        LIMIT_UIDL = 70,             /* RFC 1939 section 7 */
        LIMIT_LIST = 2000000,        /* entries of LIST or UIDL, streamed */
        LIMIT_RESPONSE = 256 * 1024, /* octets of one IMAP response, message content not counted */
        LIMIT_UNTAGGED = 20000,      /* IMAP responses nobody asked for, before the one that was */
        LIMIT_FOLDERS = 1000,        /* folders of an account that are looked at */
        LIMIT_FOLDER_LOCAL = 240,    /* octets of its name in the Maildir */
        LIMIT_FOLDER = 500,          /* octets of a folder's name */
        LIMIT_ADDRESSES = 16,        /* addresses of one host that are tried */
        LIMIT_DNS_RECORDS = 64,      /* records kept of one answer */
        LIMIT_CERT_NAMES = 64,       /* subject alternative names kept */
        LIMIT_CHAIN = 16,            /* certificates of a chain that are looked at */
        LIMIT_CANDIDATES = 32,
        /* our own dialogues */
        LIMIT_DIALOGUES = 256,
        LIMIT_DIALOGUES_PER_HOST = 2,
        LIMIT_IDLE = 1000,            /* dialogues that wait for news */
        LIMIT_STACK = 256 * 1024,     /* octets of a fiber's stack */
        LIMIT_TRANSCRIPT = 64 * 1024, /* octets kept of one dialogue */
        /* from callers */
        LIMIT_ADDRESS = 254, /* RFC 5321 section 4.5.3.1.3, less the angle brackets */
        LIMIT_HOST = 253,
        LIMIT_SECRET = 4096,
        LIMIT_STRING = 1024,   /* any other text of a caller */
        LIMIT_DICTIONARY = 64, /* entries of an a{sv} */
        LIMIT_ACCOUNTS_PER_UID = 16,
        LIMIT_SETUPS_PER_UID = 4,
        LIMIT_SETUPS_KEPT = 32, /* ended ones that stay readable for a while, of one uid */
        LIMIT_WATCHERS_PER_UID = 32,
        LIMIT_WAITS_PER_UID = 64,       /* pending Wait() calls; other calls under way */
        LIMIT_POLKIT_PER_UID = 8,       /* questions to polkit */
        LIMIT_HISTORY = 200,            /* runs kept for each account */
        LIMIT_SEARCHES_PER_MINUTE = 30, /* discoveries of one uid */
        LIMIT_REFUSED_LOGINS = 2,       /* for one (uid, host, user, secret) */
};

#define LIMIT_BYTES_PER_UID (UINT64_C(10) << 30)

/* Budgets in time. */
#define LIMIT_DNS_USEC (5 * USEC_PER_SEC)      /* one question */
#define LIMIT_CONNECT_USEC (20 * USEC_PER_SEC) /* all addresses of one host */
#define LIMIT_HANDSHAKE_USEC (20 * USEC_PER_SEC)
#define LIMIT_GREETING_USEC (30 * USEC_PER_SEC)
#define LIMIT_COMMAND_USEC (60 * USEC_PER_SEC) /* one reply, tarpits of a wrong password included */
#define LIMIT_IDLE_USEC (60 * USEC_PER_SEC)    /* no octet of a message */
#define LIMIT_ALIVE_USEC \
        (10 * USEC_PER_SEC) /* an answer that shows that an old connection still lives */
#define LIMIT_HTTPS_USEC (10 * USEC_PER_SEC) /* one document, redirects included */
#define LIMIT_DISCOVERY_USEC (20 * USEC_PER_SEC)
#define LIMIT_SECRET_FD_USEC (5 * USEC_PER_SEC)
#define LIMIT_POLKIT_USEC (25 * USEC_PER_SEC)          /* its answer when nobody is asked */
#define LIMIT_POLKIT_PERSON_USEC (5 * USEC_PER_MINUTE) /* somebody types a password */
#define LIMIT_SETUP_IDLE_USEC (60 * USEC_PER_MINUTE)   /* without a call */
#define LIMIT_SETUP_KEPT_USEC (5 * USEC_PER_MINUTE)    /* an ended setup stays readable */
