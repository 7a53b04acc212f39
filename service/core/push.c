/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See push.h. One fiber for each parked session waits for its server to say something. A fiber that has ended leaves the session where it
 * is: whoever takes it back finds out in what state it is. */
#include "core/push.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

/* A server that ends an IDLE sooner than this does not mean it: it is polled for a while. */
#define SHORT_USEC USEC_PER_MINUTE
#define SULK_USEC (30 * USEC_PER_MINUTE)

typedef struct Parked {
        Push *push;
        Account *account;
        Session session;
        ImapMailbox mailbox;
        bool read_only;
        bool news; /* the server has just told: it lives */
        bool dead;
        uint64_t since_usec;
        Fiber *fiber;
        struct Parked *next;
} Parked;

struct Push {
        Core *core;
        Parked *first; /* the newest */
        uint64_t n;
};

int push_new(Push **ret, Core *core)
{
        Push *push = calloc(1, sizeof(*push));

        if (!push)
                return -ENOMEM;
        push->core = core;
        *ret = push;
        return 0;
}

static void parked_free(Parked *parked)
{
        Push *push = parked->push;
        Parked **at = &push->first;

        parked->fiber = fiber_cancel(parked->fiber);
        while (*at && *at != parked)
                at = &(*at)->next;
        if (*at) {
                *at = parked->next;
                push->n--;
        }
        if (parked->account->parked == parked)
                parked->account->parked = NULL;
        session_close(&parked->session);
        free(parked);
}

Push *push_free(Push *push)
{
        if (!push)
                return NULL;
        while (push->first)
                parked_free(push->first);
        free(push);
        return NULL;
}

bool push_waits(const Account *account)
{
        return account->parked && !account->parked->dead;
}

/* --- waiting ---------------------------------------------------------------------------------------------------- */

static void parked_tell(Parked *parked)
{
        scheduler_now(parked->push->core->scheduler, parked->account);
}

/* Renewed before the server or something on the way takes it for dead (RFC 2177: 29 minutes; many boxes less). */
static int parked_wait(Parked *parked, Outcome *no)
{
        uint64_t usec = parked->push->core->config->idle_renew_usec;
        int r = 0;

        while (r == 0 && !parked->news)
                r = imap_idle(parked->session.imap, usec, &parked->news, no);
        return r;
}

static int parked_work(void *arg)
{
        Parked *parked = arg;
        _cleanup_outcome_ Outcome no = {};
        int r;

        r = parked_wait(parked, &no);
        if (r == -ECANCELED)
                return r;
        if (r != 0) {
                parked->dead = true;
                log_debug("the waiting dialogue of %s ended: %s", parked->account->record.address,
                          no.text[0] ? no.text : outcome_kind_name(no.kind));
                if (clock_now() - parked->since_usec < SHORT_USEC)
                        parked->account->push_not_before_usec = clock_now() + SULK_USEC;
        }
        parked_tell(parked);
        return r;
}

/* --- places ------------------------------------------------------------------------------------------------------ */

static uint64_t push_count(const Push *push, uid_t uid)
{
        uint64_t n = 0;

        for (const Parked *p = push->first; p; p = p->next)
                n += p->account->record.uid == uid;
        return n;
}

/* The one that has waited longest of the owner who has the most. */
static Parked *push_richest(const Push *push, uint64_t *ret_n)
{
        Parked *oldest = NULL;
        uint64_t most = 0;

        for (Parked *p = push->first; p; p = p->next) {
                uint64_t n = push_count(push, p->account->record.uid);

                if (n >= most) {
                        most = n;
                        oldest = p;
                }
        }
        *ret_n = most;
        return oldest;
}

static bool push_make_place(Push *push, const Account *account)
{
        uint64_t most;
        Parked *giver;

        if (push->n < push->core->config->idle_connections)
                return true;
        giver = push_richest(push, &most);
        if (!giver || push_count(push, account->record.uid) + 2 > most)
                return false;
        parked_free(giver);
        return true;
}

bool push_park(Push *push, Account *account, Session *session_take, const ImapMailbox *mailbox,
               bool read_only)
{
        Parked *parked;

        if (!session_take->imap || !imap_capabilities(session_take->imap)->idle ||
            account->removing || clock_now() < account->push_not_before_usec)
                return false;
        push_drop(push, account);
        if (!push_make_place(push, account))
                return false;
        parked = calloc(1, sizeof(*parked));
        if (!parked)
                return false;
        *parked = (Parked){ .push = push,
                            .account = account,
                            .mailbox = *mailbox,
                            .read_only = read_only,
                            .since_usec = clock_now() };
        if (fiber_start(&parked->fiber, "idle", parked_work, parked) < 0) {
                free(parked);
                return false;
        }
        session_move(&parked->session, session_take);
        parked->next = push->first;
        push->first = parked;
        push->n++;
        account->parked = parked;
        return true;
}

/* --- taking back --------------------------------------------------------------------------------------------------- */

static int parked_lives(Parked *parked)
{
        _cleanup_outcome_ Outcome no = {};
        int r;

        if (parked->dead)
                return 0;
        if (parked->news)
                return 1;
        FIBER_DEADLINE(LIMIT_ALIVE_USEC);
        r = imap_noop(parked->session.imap, &no);
        return r == -ECANCELED ? r : r == 0;
}

int push_take(Push *push, Account *account, Session *ret_session, ImapMailbox *ret_mailbox,
              bool *ret_read_only)
{
        Parked *parked = account->parked;
        int r;

        if (!parked)
                return 0;
        parked->fiber = fiber_cancel(parked->fiber);
        r = parked_lives(parked);
        if (r == 1) {
                session_move(ret_session, &parked->session);
                *ret_mailbox = parked->mailbox;
                ret_mailbox->exists = imap_exists(ret_session->imap);
                if (parked->news | imap_take_news(ret_session->imap))
                        ret_mailbox->uid_next = 0; /* not known any more */
                *ret_read_only = parked->read_only;
        }
        parked_free(parked);
        return r;
}

void push_drop(Push *push, Account *account)
{
        if (push && account->parked)
                parked_free(account->parked);
}

void push_network(Push *push)
{
        for (Parked *p = push->first; p; p = p->next)
                parked_tell(p);
}
