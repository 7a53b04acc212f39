/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A server as written on the command line: HOST[:PORT][/tls|/starttls], an IPv6 address in brackets. */
#pragma once

#include "cli/verb.h"

/* The contract's endpoint dictionary, owned by the caller. 0; 1 and in @ret_why (the caller's) what is wrong with @text; negative errno. */
int server_read(const char *text, json_object **ret, char **ret_why);
/* Likewise from the command line. EXIT_USAGE, told, when @text is none; @option is named then. */
int server_parse(Cli *cli, const Verb *verb, const char *option, const char *text,
                 json_object **ret);
/* The dictionaries of --incoming, --outgoing and --user-name, into @options. */
int servers_from_options(Cli *cli, const Arguments *arguments, json_object *options);
/* Whether @text names a server rather than an account: it has a port and no @. */
bool server_looks_like(const char *text);
