/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The heads of the newest messages in a mailbox, whatever the protocol: how a verification mail is found again. */
#pragma once

#include "probe/session.h"

enum {
        NEWEST_MESSAGES = 20, /* at the end of the list that are looked at */
        NEWEST_HEAD = 16384,  /* octets of one */
};

typedef struct Newest {
        /* Is this one to be read? Its identity lasts over sessions. NULL: all are. */
        bool (*wanted)(void *userdata, const char *identity);
        /* The head of one. @identity is "" where there is none that lasts. @handle is for newest_delete() in this session. Negative values
         * end it and are returned. */
        int (*each)(void *userdata, const char *identity, uint32_t handle, const char *head,
                    size_t len);
        void *userdata;
} Newest;

/* Of a session that is signed in. @writable: one of them may be deleted afterwards. Suspends. Returns like talk. */
int newest_read(Session *session, bool writable, const Newest *newest, Outcome *no);
/* Deletes one for good, which may end the dialogue. Suspends. Returns like talk. */
int newest_delete(Session *session, uint32_t handle, Outcome *no);
