/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One fetch of one account, from FetchNow to RunFinished. */
#pragma once

#include "cli/cli.h"

/* Asks for a fetch now; with @wait its progress is shown until it has ended, and *@ret is its result (the caller's), else {"run": ID}.
 * Interrupting leaves the fetch to the service. */
int run_fetch(Cli *cli, const char *account, bool wait, json_object **ret);
/* One line about an ended run: what came and how fast, or the cause. */
void run_print(Cli *cli, json_object *run);
/* By the cause it ended with; its block is printed. */
int run_conclude(Cli *cli, json_object *run);
/* Makes the call @m, whose answer is a list of dictionaries with a cause; "" becomes null. The caller owns the list. */
int records_read(Cli *cli, sd_bus_message *m, json_object **ret);
/* The last @count runs of an account, the newest first. The caller owns the list. */
int history_read(Cli *cli, const char *path, uint64_t count, json_object **ret);
