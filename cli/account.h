/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Accounts as objects: their properties with keys as in JSON, and "path" and "id". */
#pragma once

#include "cli/cli.h"

/* All that the service shows us: path -> interface -> properties as they are called on the bus. The caller owns it. */
int objects_read(Cli *cli, json_object **ret);
/* All of ours, sorted by address. The caller owns the list. */
int accounts_read(Cli *cli, json_object **ret);
/* The one named by @name: an address, the beginning of an id, a path. Told (EXIT_USAGE) when there is none or more than one. */
int account_find(Cli *cli, const char *name, json_object **ret);
/* The path of the account with this address, NULL in *@ret when there is none. The caller owns it. */
int account_path_by_address(Cli *cli, const char *address, char **ret, sd_bus_error *ret_error);
int account_read(Cli *cli, const char *path, json_object **ret);
/* Adds "path" and "id" to properties that came otherwise. */
void account_complete(json_object *account, const char *path);
/* Where its state leads, when something else than a fetch stops it. */
Exit account_exit(Cli *cli, json_object *account);
/* What there is to say about the account's cause: the server that it is about. Borrowed; NULL. */
json_object *account_evidence(json_object *account);
