/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See newest.h. POP3 lists everything to know its end, and reads again only what it has not shown before; IMAP reads the last few in one
 * go. */
#include <stdio.h>
#include <string.h>

#include "probe/newest.h"

enum { TOP_LINES = 40 };

/* A message on its way to each(). */
typedef struct Reading {
        const Newest *newest;
        Buffer head;
        uint32_t uid_validity; /* IMAP */
        /* POP3: a ring of the newest, and of those the ones to be read */
        uint32_t numbers[NEWEST_MESSAGES], wanted[NEWEST_MESSAGES];
        char uidls[NEWEST_MESSAGES][LIMIT_UIDL + 1];
        size_t slots[NEWEST_MESSAGES], n_seen, n_wanted;
} Reading;

static int reading_begin(void *userdata, size_t index)
{
        buffer_clear(&((Reading *) userdata)->head);
        return 0;
}

static int reading_data(void *userdata, size_t index, const char *data, size_t len)
{
        Reading *reading = userdata;

        (void) buffer_append(&reading->head, data, MIN(len, NEWEST_HEAD - reading->head.len));
        return 0;
}

static int reading_end(Reading *reading, const char *identity, uint32_t handle)
{
        const Newest *newest = reading->newest;

        return newest->each(newest->userdata, identity, handle,
                            reading->head.data ? reading->head.data : "", reading->head.len);
}

/* --- POP3 ------------------------------------------------------------------------------------------------------------ */

static int on_uidl(void *userdata, uint32_t number, const char *uidl)
{
        Reading *reading = userdata;
        size_t slot = reading->n_seen++ % NEWEST_MESSAGES;

        reading->numbers[slot] = number;
        snprintf(reading->uidls[slot], sizeof(reading->uidls[slot]), "%s", uidl);
        return 0;
}

/* No UIDL: numbers tell apart within one session only. */
static int on_list(void *userdata, uint32_t number, uint64_t octets)
{
        return on_uidl(userdata, number, "");
}

static int pop3_end(void *userdata, size_t index)
{
        Reading *reading = userdata;

        return reading_end(reading, reading->uidls[reading->slots[index]], reading->wanted[index]);
}

static int pop3_refused(void *userdata, size_t index, const Outcome *no)
{
        return 0;
}

static void pop3_choose(Reading *reading)
{
        const Newest *newest = reading->newest;

        for (size_t i = 0; i < MIN(reading->n_seen, (size_t) NEWEST_MESSAGES); i++) {
                const char *uidl = reading->uidls[i];

                if (*uidl && newest->wanted && !newest->wanted(newest->userdata, uidl))
                        continue;
                reading->slots[reading->n_wanted] = i;
                reading->wanted[reading->n_wanted++] = reading->numbers[i];
        }
}

static int pop3_read(Reading *reading, Pop3 *pop3, Outcome *no)
{
        static const Pop3Sink sink = { reading_begin, reading_data, pop3_end, pop3_refused };
        const Pop3Capabilities *c = pop3_capabilities(pop3);
        int r;

        r = !c->known || c->uidl ? pop3_uidl(pop3, on_uidl, reading, no)
                                 : pop3_list(pop3, on_list, reading, no);
        if (r != 0)
                return r;
        pop3_choose(reading);
        if (reading->n_wanted == 0)
                return 0;
        if (!c->known || c->top)
                return pop3_top(pop3, reading->wanted, reading->n_wanted, TOP_LINES, &sink, reading,
                                no);
        return pop3_retrieve(pop3, reading->wanted, reading->n_wanted, &sink, reading, no);
}

/* --- IMAP ------------------------------------------------------------------------------------------------------------ */

static int imap_begin(void *userdata, size_t index, uint64_t octets)
{
        return reading_begin(userdata, index);
}

static int imap_end(void *userdata, size_t index, uint32_t uid, unsigned flags)
{
        Reading *reading = userdata;
        const Newest *newest = reading->newest;
        char identity[32];

        snprintf(identity, sizeof(identity), "%u/%u", reading->uid_validity, uid);
        if (newest->wanted && !newest->wanted(newest->userdata, identity))
                return 0;
        return reading_end(reading, identity, uid);
}

static int imap_read(Reading *reading, Imap *imap, bool writable, Outcome *no)
{
        static const ImapSink sink = { .begin = imap_begin, .data = reading_data, .end = imap_end };
        ImapMailbox mailbox;
        int r;

        r = imap_identify(imap, no);
        if (r == 0)
                r = imap_select(imap, "INBOX", !writable, &mailbox, no);
        if (r != 0)
                return r;
        reading->uid_validity = mailbox.uid_validity;
        return imap_peek(imap, NEWEST_MESSAGES, NEWEST_HEAD, &sink, reading, no);
}

/* --- both ------------------------------------------------------------------------------------------------------------ */

int newest_read(Session *session, bool writable, const Newest *newest, Outcome *no)
{
        Reading reading = { .newest = newest, .head = BUFFER(NEWEST_HEAD + 1) };
        int r;

        r = session->imap ? imap_read(&reading, session->imap, writable, no)
                          : pop3_read(&reading, session->pop3, no);
        buffer_deinit(&reading.head);
        return r;
}

int newest_delete(Session *session, uint32_t handle, Outcome *no)
{
        bool deleted = false;
        int r;

        if (session->imap)
                return imap_delete(session->imap, &handle, 1, &deleted, no);
        r = pop3_delete(session->pop3, &handle, 1, &deleted, no);
        if (r == 0 && !deleted)
                return outcome_set(no, OUTCOME_REPLY, PHASE_DELETE);
        return r ? r : pop3_quit(session->pop3, no);
}
