/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From outcome to cause: the only place that turns what the world answered into what the user reads. */
#pragma once

#include "probe/endpoint.h"
#include "probe/finding.h"
#include "wire/dns.h"
#include "wire/outcome.h"

typedef struct JudgeContext {
        const Endpoint *endpoint;
        bool tls;
        bool logged_in;
        bool token; /* the login is by an OAuth access token */
} JudgeContext;

/* A code of the catalogue (static); never NULL. */
const char *judge_outcome(const Outcome *no, const JudgeContext *context);
/* The cause of a question that was not answered as it should. Never NULL. */
const char *judge_dns(DnsStatus status);
/* The cause of a fault of our own (negative errno) while mail was put where it belongs: the disk's, mostly. Never NULL. */
const char *judge_delivery_fault(int error);
/* Makes @finding a failed one: cause and the outcome as evidence (reply, code, status, phase, error, first-bytes, attempts,
 * certificate). Returns 0, -ENOMEM. */
int finding_fail(Finding *finding, const Outcome *no, const JudgeContext *context);

/* Evidence of things that went well. Each returns 0, -ENOMEM. */
int evidence_certificate(Dict *evidence, const Certificate *certificate);
/* phase, reply, code, status, error, what else came. */
int evidence_outcome(Dict *evidence, const Outcome *no);
int evidence_dial(Dict *evidence, const DialReport *report);
/* What each family came to, where both were tried and one of them is known not to work. */
int evidence_families(Dict *evidence, const DialReport *report);
int evidence_addresses(Dict *evidence, const DnsAddresses *addresses);
/* "refused", "no answer", "unreachable": what a connect() came to. Never NULL. */
const char *dial_error_text(int error);
/* The cause of a certificate's faults; NULL when it has none. */
const char *judge_certificate(const Certificate *certificate);
/* May the owner approve such a certificate (his own server), or must it be mended by whoever runs it? */
bool certificate_approvable(const Certificate *certificate);
