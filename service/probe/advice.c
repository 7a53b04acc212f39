/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See advice.h. What decides is, in this order: what works at once, what may be asked as often as one likes, what is told without asking. */
#include "probe/advice.h"

/* From then on a mail that is waited for is waited for long. */
#define SELDOM_USEC (5 * USEC_PER_MINUTE)

static const Candidate *best_of(const Ranking *ranking, Protocol protocol)
{
        for (size_t i = 0; i < ranking->n; i++) {
                const Endpoint *endpoint = ranking->list[i].endpoint[SIDE_INCOMING];

                if (endpoint && endpoint->protocol == protocol)
                        return ranking->list[i].candidate;
        }
        return NULL;
}

/* @other has to be switched on by the user, @one has not. */
static bool switched_off(const Candidate *one, const Candidate *other)
{
        return other->access == ACCESS_OFF && one->access != ACCESS_OFF;
}

const char *advice_protocol(const Ranking *ranking, Protocol *ret_better)
{
        const Candidate *pop3 = best_of(ranking, PROTOCOL_POP3),
                        *imap = best_of(ranking, PROTOCOL_IMAP);

        if (!pop3 || !imap)
                return NULL;
        *ret_better = PROTOCOL_IMAP;
        if (switched_off(imap, pop3))
                return "IMAP is better here: it works at once, POP3 has to be switched on at the provider first.";
        if (switched_off(pop3, imap)) {
                *ret_better = PROTOCOL_POP3;
                return "POP3 is better here: it works at once, IMAP has to be switched on at the provider first.";
        }
        if (pop3->poll_minimum_usec >= SELDOM_USEC &&
            imap->poll_minimum_usec < pop3->poll_minimum_usec)
                return "IMAP is better here: POP3 may be asked for new mail only now and then at this provider.";
        if (pop3->source > imap->source)
                return "IMAP is better here: its servers are known from a better source than those of POP3.";
        *ret_better = PROTOCOL_POP3;
        return "POP3 does here, and asks least of both sides; IMAP brings new mail at once where the server tells of it, and folders.";
}
