/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Dialogues that stay open between two runs because their server tells of new mail (IMAP's IDLE). A run parks its session here instead of
 * ending it, and the next run takes it back, signed in, its mailbox selected. Nothing is fetched here: news make a run due. Polling
 * goes on at the account's interval all the same: a server that forgets to tell costs time, not mail. */
#pragma once

#include "core/core_internal.h"
#include "probe/session.h"

typedef struct Push Push;

int push_new(Push **ret, Core *core);
/* Closes all. */
Push *push_free(Push *push);
DEFINE_CLEANUP(Push, push_free);

/* Takes @session's dialogue over when its server tells of new mail and there is a place for it: at most idle-connections, and when all are
 * taken the owner who has the most gives one to an owner who has at least two fewer. Returns whether it did. @mailbox is what is selected.
 * Does not suspend. */
bool push_park(Push *push, Account *account, Session *session_take, const ImapMailbox *mailbox,
               bool read_only);
/* A run begins: gives the dialogue back, if there is one and it still answers. Suspends. Returns 1 with @ret_session and the mailbox; 0 when
 * there is none; -ECANCELED. */
int push_take(Push *push, Account *account, Session *ret_session, ImapMailbox *ret_mailbox,
              bool *ret_read_only);
/* Closes it: the account is stopped, gone, or signs in otherwise from now on. Fine when there is none. */
void push_drop(Push *push, Account *account);
/* The network has changed: who is parked looks whether his server is still there, by a run. */
void push_network(Push *push);
bool push_waits(const Account *account);
