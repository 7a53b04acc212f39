/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Going through a setup with whoever sits there: its steps shown, its needs answered, and after a failure what can be tried. */
#pragma once

#include "cli/answer.h"

typedef enum SetupEnd {
        SETUP_END_READY, /* Commit is allowed, or a dry run is through */
        SETUP_END_SUCCEEDED,
        SETUP_END_FAILED,
        SETUP_END_CANCELLED,
        SETUP_END_NEEDED,  /* nobody answers what is needed */
        SETUP_END_ANOTHER, /* its other_address is to be set up instead */
} SetupEnd;

/* Until one of the ends. */
int wizard_drive(Setup *setup, const Answers *answers, SetupEnd *ret);
/* Tells an end other than a good one and returns its exit status; 0 for a good one. @what is "setup" or "check"; @ret_cause (the caller's)
 * is the description of what stands in the way, NULL for none. */
int wizard_conclude(Setup *setup, SetupEnd end, const char *what, json_object **ret_cause);
/* A verb that is one setup and nothing else: drives it, lets @conclude tell its end (as wizard_conclude() does), and cancels it. */
typedef int (*WizardConclude)(Cli *cli, Setup *setup, SetupEnd end, json_object **ret_cause);
int wizard_run(Setup *setup, const Answers *answers, WizardConclude conclude);
