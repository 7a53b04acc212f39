/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Steps, their states, and what a probe concluded about one: a finding. */
#pragma once

#include "base/dict.h"
#include "base/util.h"

typedef enum StepId {
        STEP_ADDRESS,
        STEP_DISCOVERY,
        STEP_INCOMING_DNS,
        STEP_INCOMING_PORT,
        STEP_INCOMING_TLS,
        STEP_INCOMING_SERVICE,
        STEP_INCOMING_LOGIN,
        STEP_INCOMING_MAILBOX,
        STEP_OUTGOING_DNS,
        STEP_OUTGOING_PORT,
        STEP_OUTGOING_TLS,
        STEP_OUTGOING_SERVICE,
        STEP_OUTGOING_LOGIN,
        STEP_OUTGOING_SENDER,
        STEP_HANDOVER,
        STEP_VERIFICATION,
        N_STEPS,
} StepId;

typedef enum StepStatus {
        STEP_PENDING,
        STEP_RUNNING,
        STEP_WAITING,
        STEP_PASSED,
        STEP_WARNED, /* passed, and @cause says what is not as it should be */
        STEP_FAILED,
        STEP_SKIPPED,
} StepStatus;

typedef struct Finding {
        StepStatus status;
        const char *cause; /* a code of the catalogue (static or the catalogue's own); NULL none */
        uint64_t usec;     /* how long the step worked, waiting for people not counted */
        Dict evidence;
} Finding;

void finding_clear(Finding *finding);
#define _cleanup_finding_ _cleanup_(finding_clear)
/* Moves @from over @to. */
void finding_move(Finding *to, Finding *from);

const char *step_name(StepId id);                  /* "incoming.dns" */
int step_from_name(const char *name, StepId *ret); /* 0, -EINVAL */
const char *step_status_name(StepStatus status);   /* "passed" */
