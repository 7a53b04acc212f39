/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* POP3 replies (RFC 1939, 2449, 3206, 6856): lines in, facts out. No I/O, no clock. Lines come without their end. */
#pragma once

#include "base/limits.h"
#include "base/util.h"

typedef struct Pop3Reply {
        bool ok;
        char code[48]; /* response code without brackets, upper case: "AUTH", "SYS/TEMP"; "" none */
        const char *text; /* behind the status and the code; points into the line */
        size_t text_len;
} Pop3Reply;

/* Status lines tolerate lower case and a missing blank. Returns 0, -EBADMSG when it is neither +OK nor -ERR. */
int pop3_parse_reply(Pop3Reply *ret, const char *line, size_t len);

typedef enum Pop3Expire { POP3_EXPIRE_UNKNOWN, POP3_EXPIRE_NEVER, POP3_EXPIRE_DAYS } Pop3Expire;

typedef struct Pop3Capabilities {
        bool known; /* CAPA was answered */
        bool top, user, uidl, stls, pipelining, resp_codes, auth_resp_code, utf8;
        char **sasl; /* mechanism names, upper case */
        bool has_login_delay, login_delay_by_user;
        uint64_t login_delay_sec;
        Pop3Expire expire;
        uint64_t expire_days; /* 0: leaving mail on the server is not allowed */
        bool expire_by_user;
        char *implementation; /* printable, may be NULL */
        char **lines;         /* all of them, printable, as evidence */
} Pop3Capabilities;

void pop3_capabilities_clear(Pop3Capabilities *capabilities);
/* One line of the CAPA listing; unknown ones are only kept in lines. Returns 0, -ENOMEM. */
int pop3_parse_capability(Pop3Capabilities *capabilities, const char *line, size_t len);

/* "2 320" behind the +OK of STAT. Returns 0, -EBADMSG. */
int pop3_parse_stat(const char *text, size_t len, uint64_t *ret_messages, uint64_t *ret_octets);
/* One entry of LIST / UIDL. The id is 1 to LIMIT_UIDL octets of 0x21..0x7E; longer or other ones are -EBADMSG, except that
 * ids of up to 255 octets, which exist, are stored as "sha256:" and 63 hex digits of their digest. */
int pop3_parse_list_entry(const char *line, size_t len, uint32_t *ret_number, uint64_t *ret_octets);
int pop3_parse_uidl_entry(const char *line, size_t len, uint32_t *ret_number,
                          char ret_uidl[LIMIT_UIDL + 1]);
