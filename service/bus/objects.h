/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Paths and what stands behind them. Here, and only here, it is decided whether the caller of the message that is being dispatched may
 * know of an object: sd-bus asks these functions before every method, getter, introspection and listing. */
#pragma once

#include <systemd/sd-bus.h>

#include "bus/bus.h"
#include "core/core.h"

enum { PATH_SIZE = 96 };

void setup_path(const Setup *setup, char ret[PATH_SIZE]);
void account_path(const Account *account, char ret[PATH_SIZE]);
/* The path of the account with this @id; "/" for NULL. */
void account_id_path(const char *id, char ret[PATH_SIZE]);
/* What is behind @prefix and "/" in @path; NULL when there is nothing. Borrowed from @path. */
const char *path_id(const char *path, const char *prefix);

/* The State of the object at @path; NULL when there is none. */
const char *object_state(Core *core, const char *path);

/* sd-bus's callbacks; @userdata is the Bus. */
int setup_find(sd_bus *sd, const char *path, const char *interface, void *userdata,
               void **ret_found, sd_bus_error *ret_error);
int account_find(sd_bus *sd, const char *path, const char *interface, void *userdata,
                 void **ret_found, sd_bus_error *ret_error);
int setup_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                    sd_bus_error *ret_error);
int account_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                      sd_bus_error *ret_error);
