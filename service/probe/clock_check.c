/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A certificate that is out of its time, or a clock that is: others are asked. HTTPS servers say what time it is (their own certificates are
 * checked for everything but the time), and servers that have nothing to do with this one cannot all have let theirs run out. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"
#include "dbus/names.h"
#include "probe/control.h"
#include "probe/diagnose.h"
#include "proto/address.h"

#define CLOCK_USEC (3 * USEC_PER_SEC)
#define CLOCK_TOLERANCE_USEC (5 * USEC_PER_MINUTE)
/* No clock that shows less than this is right: it was later when this line was written. 2026-06-01. */
#define CLOCK_FLOOR_USEC (UINT64_C(1780272000) * USEC_PER_SEC)

enum { WITNESSES_MAX = 8, STRANGERS_NEEDED = 2 };

typedef struct Witness {
        Session *session;
        char *host;
        uint16_t port; /* 443: by HTTPS, else by its certificate */
        bool private;  /* the server itself: where its address may be */
        Fiber *fiber;
        /* the result */
        bool said;     /* the time */
        uint64_t usec; /* when, and our own then */
        uint64_t ours;
        unsigned faults; /* of its certificate, by our clock */
} Witness;

static void witnesses_deinit(Witness (*witnesses)[WITNESSES_MAX])
{
        for (size_t i = 0; i < WITNESSES_MAX; i++) {
                (*witnesses)[i].fiber = fiber_cancel((*witnesses)[i].fiber);
                free((*witnesses)[i].host);
        }
}

static int witness_say_time(Witness *w)
{
        const Means *means = w->session->means;
        _cleanup_outcome_ Outcome no = {};
        _cleanup_free_ char *url = NULL;
        uint64_t usec;
        int r;

        r = text_format(&url, "https://%s/", w->host);
        if (r < 0)
                return r;
        r = http_time(&usec, means->http, url, w->private ? w->session->policy : ADDRESS_PUBLIC,
                      &no);
        if (r != 0)
                return r == -EINVAL ? 0 : MIN(r, 0);
        w->usec = usec;
        w->ours = clock_real();
        w->said = true;
        return 0;
}

/* Only to look at what it shows. */
static int witness_show(Witness *w)
{
        Endpoint endpoint = { .protocol = w->session->endpoint->protocol,
                              .host = w->host,
                              .port = w->port,
                              .security = SECURITY_TLS };
        _cleanup_session_ Session second = { .side = w->session->side,
                                             .endpoint = &endpoint,
                                             .dns = w->session->dns,
                                             .tls = w->session->tls,
                                             .policy = w->session->policy,
                                             .relax = TLS_RELAX_LOOK };
        _cleanup_finding_ Finding unseen = {};
        StepId step;
        int r;

        r = session_open(&second, &unseen, &step);
        if (r == 0 && second.no.kind == OUTCOME_CERTIFICATE)
                w->faults = second.no.certificate->faults;
        return r;
}

static int witness_work(void *arg)
{
        Witness *w = arg;
        int r = w->port == 443 ? witness_say_time(w) : witness_show(w);

        return r == -ETIME ? 0 : r;
}

static int witness_add(Witness *witnesses, size_t *n, Session *session, const char *host,
                       uint16_t port)
{
        if (*n == WITNESSES_MAX)
                return 0;
        for (size_t i = 0; i < *n; i++)
                if (text_equal_nocase(witnesses[i].host, host) && witnesses[i].port == port)
                        return 0;
        witnesses[*n] = (Witness){ .session = session,
                                   .port = port,
                                   .private = text_equal_nocase(host, session->endpoint->host) };
        if (text_set(&witnesses[*n].host, host) < 0)
                return -ENOMEM;
        (*n)++;
        return 0;
}

/* The server itself, its domain's other hosts, and others. */
static int witnesses_choose(Session *session, Witness *witnesses, size_t *n)
{
        const char *host = session->endpoint->host;
        _cleanup_free_ char *domain = NULL, *autoconfig = NULL;
        Control others[CONTROLS_MAX];
        size_t n_others;
        int r;

        r = host_registrable(&domain, host);
        if (r == 0)
                r = text_format(&autoconfig, "autoconfig.%s", domain);
        if (r == 0 && session->means->http)
                r = witness_add(witnesses, n, session, host, 443);
        if (r == 0 && session->means->http)
                r = witness_add(witnesses, n, session, domain, 443);
        if (r == 0 && session->means->http)
                r = witness_add(witnesses, n, session, autoconfig, 443);
        n_others = session->endpoint->security == SECURITY_TLS ? controls_elsewhere(session, others)
                                                               : 0;
        for (size_t i = 0; i < n_others && r == 0; i++) {
                r = witness_add(witnesses, n, session, others[i].host, others[i].port);
                if (r == 0 && session->means->http)
                        r = witness_add(witnesses, n, session, others[i].host, 443);
        }
        return r;
}

static int witnesses_ask(Witness *witnesses, size_t n)
{
        int r = 0, result;

        for (size_t i = 0; i < n && r == 0; i++)
                r = fiber_start(&witnesses[i].fiber, "witness", witness_work, &witnesses[i]);
        for (size_t i = 0; i < n && r == 0; i++) {
                r = fiber_join(&witnesses[i].fiber, &result);
                if (r == -ETIME)
                        return 0;
                r = r < 0 ? r : result;
        }
        return r;
}

static uint64_t distance(uint64_t a, uint64_t b)
{
        return a > b ? a - b : b - a;
}

static int tell_offset(Finding *finding, uint64_t right, uint64_t ours)
{
        uint64_t off = distance(right, ours);
        char text[64];

        if (off >= 2 * USEC_PER_DAY)
                snprintf(text, sizeof(text), "%" PRIu64 " days",
                         (off + USEC_PER_DAY / 2) / USEC_PER_DAY);
        else if (off >= 2 * USEC_PER_HOUR)
                snprintf(text, sizeof(text), "%" PRIu64 " hours",
                         (off + USEC_PER_HOUR / 2) / USEC_PER_HOUR);
        else
                snprintf(text, sizeof(text), "%" PRIu64 " minutes",
                         (off + USEC_PER_MINUTE / 2) / USEC_PER_MINUTE);
        strncat(text, right > ours ? " behind" : " ahead", sizeof(text) - strlen(text) - 1);
        return dict_set_text(&finding->evidence, KEY_OFFSET, text);
}

static int tell_witness(Finding *finding, const Witness *w)
{
        time_t seconds = (time_t) (w->usec / USEC_PER_SEC);
        char line[LIMIT_HOST + 64], date[32];
        struct tm tm;

        if (w->said && gmtime_r(&seconds, &tm)) {
                strftime(date, sizeof(date), "%F %H:%M UTC", &tm);
                snprintf(line, sizeof(line), "%s says it is %s", w->host, date);
        } else if (w->faults & (CERTIFICATE_EXPIRED | CERTIFICATE_NOT_YET_VALID))
                snprintf(line, sizeof(line), "%s shows a certificate out of its time, too",
                         w->host);
        else
                return 0;
        return dict_add_to_list(&finding->evidence, KEY_CLOCK, line);
}

/* Would this certificate be in its time at @usec? */
static bool valid_at(const Certificate *c, uint64_t usec)
{
        return c->not_before_usec <= usec && usec <= c->not_after_usec;
}

static bool same_fault(const Witness *w, const Certificate *c)
{
        return (w->faults & c->faults & (CERTIFICATE_EXPIRED | CERTIFICATE_NOT_YET_VALID)) != 0;
}

static int witnesses_conclude(const Session *session, const Witness *witnesses, size_t n,
                              Finding *finding)
{
        const Certificate *c = session->no.certificate;
        size_t n_strangers = 0, n_right = 0;
        const Witness *off = NULL;
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const Witness *w = &witnesses[i];

                r = tell_witness(finding, w);
                n_strangers += !w->private && same_fault(w, c);
                if (w->said && distance(w->usec, w->ours) <= CLOCK_TOLERANCE_USEC)
                        n_right++;
                else if (w->said && !off)
                        off = w;
        }
        if (r < 0)
                return r;
        /* One that agrees with us is worth more than one that does not: two clocks are seldom wrong by the same. */
        if (off && n_right == 0) {
                r = tell_offset(finding, off->usec, off->ours);
                if (valid_at(c, off->usec))
                        finding->cause = "local.clock-wrong";
        } else if (n_right == 0 && n_strangers >= STRANGERS_NEEDED)
                finding->cause = "local.clock-wrong";
        return r;
}

int diagnose_clock(Session *session, Finding *finding)
{
        _cleanup_(witnesses_deinit) Witness witnesses[WITNESSES_MAX] = {};
        uint64_t ours = clock_real();
        size_t n = 0;
        int r;

        if (ours < CLOCK_FLOOR_USEC) {
                finding->cause = "local.clock-wrong";
                (void) tell_offset(finding, CLOCK_FLOOR_USEC, ours);
                return dict_add_to_list(
                        &finding->evidence, KEY_CLOCK,
                        "it is later than this computer's clock says: this program is younger");
        }
        FIBER_DEADLINE(CLOCK_USEC);
        r = witnesses_choose(session, witnesses, &n);
        if (r == 0)
                r = witnesses_ask(witnesses, n);
        return r < 0 ? r : witnesses_conclude(session, witnesses, n, finding);
}
