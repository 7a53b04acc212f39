/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The one way to sign in, for setups, verification mails and fetches alike, with the ledger around it: at most LIMIT_REFUSED_LOGINS refused
 * logins for each (uid, host, user, secret), whatever the port and the protocol, kept across restarts. The surprising part: logins
 * under way count as refused until they have ended, so that several at the same time cannot exceed the limit together. */
#include <string.h>

#include "base/text.h"
#include "core/core_internal.h"
#include "dbus/names.h"
#include "probe/cause.h"
#include "probe/session.h"

/* One login under way. It lies on the stack of the fiber that makes it, which takes it out however it ends. */
typedef struct SignIn SignIn;
struct SignIn {
        uint8_t mark[SHA256_LEN];
        int tries; /* how often the server may say no while it is under way */
        SignIn *next;
};

static int sign_ins_under_way(const Core *core, const uint8_t *mark)
{
        int n = 0;

        for (const SignIn *s = core->sign_ins; s; s = s->next)
                n += memcmp(s->mark, mark, SHA256_LEN) == 0 ? s->tries : 0;
        return n;
}

static void sign_in_end(Core *core, SignIn *sign_in)
{
        SignIn **at = &core->sign_ins;

        while (*at && *at != sign_in)
                at = &(*at)->next;
        if (*at)
                *at = sign_in->next;
        fiber_queue_wake_all(&core->sign_in_queue);
}

/* Returns 1 with @sign_in entered, 0 when the secret has been refused too often, negative errno. Suspends while others try the same secret. */
static int sign_in_begin(Core *core, SignIn *sign_in)
{
        int refused, left, r;

        for (;;) {
                refused = store_refused_logins(core->store, sign_in->mark);
                if (refused < 0)
                        return refused;
                if (refused >= LIMIT_REFUSED_LOGINS)
                        return 0;
                left = LIMIT_REFUSED_LOGINS - refused - sign_ins_under_way(core, sign_in->mark);
                if (left > 0)
                        break;
                r = fiber_queue_wait(&core->sign_in_queue);
                if (r < 0)
                        return r;
        }
        sign_in->tries = MIN(sign_in->tries, left);
        sign_in->next = core->sign_ins;
        core->sign_ins = sign_in;
        return 1;
}

/* Only an answer that judged the sign-in counts: a locked mailbox, a full server or a lost line did not look at the password. */
static bool finding_refuses(const Finding *finding)
{
        const Cause *cause = cause_find(finding->cause);

        return finding->status == STEP_FAILED && finding->cause &&
               text_starts_nocase(finding->cause, "auth.") &&
               (!cause || cause->class != CAUSE_TEMPORARY) &&
               !text_equal(finding->cause, "auth.mechanism-unsupported");
}

static int ledger_note(Core *core, const uint8_t *mark, const Finding *finding)
{
        uint64_t refusals = finding_refuses(finding)
                                    ? dict_number(&finding->evidence, KEY_REFUSALS, 1)
                                    : 0;
        int r = 0;

        for (uint64_t i = 0; i < refusals && r == 0; i++)
                r = store_refused_login_add(core->store, mark);
        if (refusals > 0)
                return r;
        /* The usual case costs no write: nothing was noted before. */
        if (finding->status != STEP_FAILED && store_refused_logins(core->store, mark) > 0)
                return store_refused_login_clear(core->store, mark);
        return 0;
}

static int refused_before(Finding *finding, const Endpoint *endpoint)
{
        int r;

        finding->status = STEP_FAILED;
        finding->cause = "auth.bad-credentials";
        r = dict_set_text(&finding->evidence, KEY_HOST, endpoint->host);
        if (r == 0)
                r = dict_set_text(&finding->evidence, KEY_USER, endpoint->user);
        return r < 0 ? r
                     : dict_set_text(
                               &finding->evidence, KEY_REASON,
                               "this password was refused twice there already and is not tried again");
}

int core_sign_in(Core *core, uid_t uid, Session *session, const Secret *secret, Finding *ret)
{
        const Endpoint *endpoint = session->endpoint;
        SignIn sign_in = { .tries = session_may_try_twice(session) ? 2 : 1 };
        int r;

        r = vault_mark(core->vault, uid, endpoint->host, endpoint->user, secret, sign_in.mark);
        if (r == 0)
                r = sign_in_begin(core, &sign_in);
        if (r < 0)
                return r;
        if (r == 0)
                return refused_before(ret, endpoint);
        session->refusals_allowed = (unsigned) sign_in.tries;
        r = session_login(session, secret, ret);
        if (r == 0)
                r = ledger_note(core, sign_in.mark, ret);
        sign_in_end(core, &sign_in);
        return r;
}

int core_open_and_sign_in(Core *core, uid_t uid, Session *session, const Secret *secret,
                          Finding *ret)
{
        StepId step;
        int r;

        r = session_open(session, ret, &step);
        if (r == 0 && ret->status == STEP_FAILED)
                return session_diagnose(session, step, ret);
        if (r < 0)
                return r;
        finding_clear(ret);
        return core_sign_in(core, uid, session, secret, ret);
}
