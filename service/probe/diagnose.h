/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Between the files of the closer look (session_diagnose()), for nobody else: one question each. Each suspends, adds evidence to @finding,
 * replaces its cause where it knows a better one, and returns 0 or a negative errno unless it says something else. */
#pragma once

#include "probe/session.h"

/* This computer's own connection: is there any? Returns 1 when that is the cause, 0, negative errno. */
int diagnose_offline(Session *session, Finding *finding);
/* A network that wants a sign-in first. Returns 1 when that is the cause, 0, negative errno. */
int diagnose_portal(Session *session, Finding *finding);
/* A certificate out of its time: is it the certificate's fault, or this computer's clock's? */
int diagnose_clock(Session *session, Finding *finding);
/* A certificate of an unknown issuer: does somebody stand between? */
int diagnose_interception(Session *session, Finding *finding);
/* A certificate for other names: is one of them this server's? */
int diagnose_names(Session *session, Finding *finding);
/* An encryption that did not come about: what would have had to be given up for it? */
int diagnose_handshake(Session *session, Finding *finding);
/* No STARTTLS: has somebody on the way taken it out? */
int diagnose_stripped(Session *session, Finding *finding);
/* Silence where a greeting was due: does the port wait for TLS? */
int diagnose_silence(Session *session, Finding *finding);
