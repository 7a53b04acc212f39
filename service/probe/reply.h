/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a server's refusal means: machine code first, then words, then the bare status; and always where in the dialogue it was
 * said (position beats words). Matching is by loose words, never by whole lines. */
#pragma once

#include "probe/endpoint.h"
#include "wire/outcome.h"

typedef struct ReplyContext {
        Protocol protocol;
        Phase phase;
        bool tls;       /* the dialogue is encrypted */
        bool logged_in; /* a login has succeeded before, in this dialogue */
} ReplyContext;

/* The cause's code (static); never NULL. @code without brackets, @text the server's words, @status the SMTP status or 0. */
const char *reply_judge(const ReplyContext *context, unsigned status, const char *code,
                        const char *text);
