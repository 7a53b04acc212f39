/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A check that changes nothing, of whatever the first operand names: an account, an address, a server. */
#pragma once

#include "cli/setup.h"
#include "cli/verb.h"

/* @ret_probe: it is a server alone. @ret_error (may be NULL): as for cli_call(), of an address that was refused. */
int check_start(Cli *cli, const Arguments *arguments, Setup **ret, bool *ret_probe,
                sd_bus_error *ret_error);

#define CHECK_OPTIONS                                                                          \
        { "incoming", 0, "HOST:PORT/SECURITY", "Check this server instead of the one found" }, \
                { "outgoing", 0, "HOST:PORT/SECURITY", "Likewise for sending" },               \
                { "user-name", 0, "NAME", "The name to sign in with, if not the address" },    \
        {                                                                                      \
                "protocol", 0, "pop3|imap|smtp",                                               \
                        "What HOST:PORT speaks, if the port does not tell"                     \
        }
