/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See finding.h. The names are the contract's. */
#include "probe/finding.h"
#include "base/text.h"

void finding_clear(Finding *finding)
{
        dict_clear(&finding->evidence);
        *finding = (Finding){};
}

void finding_move(Finding *to, Finding *from)
{
        finding_clear(to);
        *to = *from;
        *from = (Finding){};
}

static const char *const step_names[] = {
        [STEP_ADDRESS] = "address",
        [STEP_DISCOVERY] = "discovery",
        [STEP_INCOMING_DNS] = "incoming.dns",
        [STEP_INCOMING_PORT] = "incoming.port",
        [STEP_INCOMING_TLS] = "incoming.tls",
        [STEP_INCOMING_SERVICE] = "incoming.service",
        [STEP_INCOMING_LOGIN] = "incoming.login",
        [STEP_INCOMING_MAILBOX] = "incoming.mailbox",
        [STEP_OUTGOING_DNS] = "outgoing.dns",
        [STEP_OUTGOING_PORT] = "outgoing.port",
        [STEP_OUTGOING_TLS] = "outgoing.tls",
        [STEP_OUTGOING_SERVICE] = "outgoing.service",
        [STEP_OUTGOING_LOGIN] = "outgoing.login",
        [STEP_OUTGOING_SENDER] = "outgoing.sender",
        [STEP_HANDOVER] = "handover",
        [STEP_VERIFICATION] = "verification",
};
static_assert(ELEMENTS(step_names) == N_STEPS, "a step without a name");

const char *step_name(StepId id)
{
        assert(id < N_STEPS);
        return step_names[id];
}

int step_from_name(const char *name, StepId *ret)
{
        for (size_t i = 0; i < N_STEPS; i++)
                if (text_equal(step_names[i], name)) {
                        *ret = (StepId) i;
                        return 0;
                }
        return -EINVAL;
}

const char *step_status_name(StepStatus status)
{
        switch (status) {
        case STEP_PENDING:
                return "pending";
        case STEP_RUNNING:
                return "running";
        case STEP_WAITING:
                return "waiting";
        case STEP_PASSED:
                return "passed";
        case STEP_WARNED:
                return "warned";
        case STEP_FAILED:
                return "failed";
        case STEP_SKIPPED:
                return "skipped";
        }
        return "unknown";
}
