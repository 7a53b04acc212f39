/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an authorization server's answer means: from the outcome of talk/oauth to a cause. Only what the server itself calls final is
 * final; a broken line, a busy server and a page of HTML are temporary, and nobody is sent to a browser because of them. */
#pragma once

#include "probe/finding.h"
#include "wire/outcome.h"

/* A code of the catalogue; never NULL. @provider (an id) may be NULL. */
const char *oauth_judge(const Outcome *no, const char *provider);
/* The same for what came in a redirect: @error and @description. */
const char *oauth_judge_redirect(const char *error, const char *description);
/* Makes @finding a failed one: the cause and the outcome as evidence. Returns 0, -ENOMEM. */
int oauth_fail(Finding *finding, const Outcome *no, const char *provider);
