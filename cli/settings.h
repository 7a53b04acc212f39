/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an account's owner may choose: given when it is added, changed by configure. */
#pragma once

#include "cli/verb.h"

#define SETTING_OPTIONS                                                               \
        { "folders", 0, "NAME,...", "IMAP folders that are fetched besides INBOX" },  \
                { "keep", 0, "server|none|Nd",                                        \
                  "Leave fetched mail there (default), delete it, or after N days" }, \
                { "interval", 0, "SECONDS", "How often to fetch" },                   \
                { "delivery", 0, "maildir|lmtp", "Where fetched mail goes" },         \
        {                                                                             \
                "display-name", 0, "TEXT", "Your name in mail that you send"          \
        }

/* The dictionary for Commit and Configure, with what was given. The caller owns it. */
int settings_read(Cli *cli, const Arguments *arguments, json_object **ret);
