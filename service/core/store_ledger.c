/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The ledger of refused logins: how often a (uid, host, user, secret), known only by its mark, was refused. It outlives setups,
 * accounts and restarts, so that no password is tried until the provider locks the mailbox. */
#include <string.h>

#include "core/store_internal.h"

enum { MARK_LEN = 32, LEDGER_MAX = 100000 };

typedef struct LedgerJob {
        StoreJob base;
        uint8_t mark[MARK_LEN];
} LedgerJob;

int store_refused_logins(Store *store, const uint8_t mark[32])
{
        static const char sql[] = "SELECT count FROM refused_login WHERE mark = ?1";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, VALUES(BLOB(mark, MARK_LEN)));
        if (r < 0)
                return r;
        r = statement_step(&store->reader, statement);
        if (r <= 0)
                return r;
        return (int) MIN(column_number(statement, 0), (uint64_t) INT32_MAX);
}

/* The oldest entry goes when there are too many: the file stays bounded, whoever guesses. */
static int refused_add_work(Connection *writer, StoreJob *base)
{
        static const char add[] = "INSERT INTO refused_login (mark, count) VALUES (?1, 1)"
                                  " ON CONFLICT (mark) DO UPDATE SET count = count + 1";
        static const char prune[] = "DELETE FROM refused_login WHERE number <="
                                    " (SELECT max(number) - ?1 FROM refused_login)";
        LedgerJob *job = (LedgerJob *) base;
        int r;

        r = statement_run(writer, add, VALUES(BLOB(job->mark, MARK_LEN)));
        if (r < 0)
                return r;
        r = statement_run(writer, prune, VALUES(NUMBER(LEDGER_MAX)));
        return MIN(r, 0);
}

static int refused_clear_work(Connection *writer, StoreJob *base)
{
        static const char sql[] = "DELETE FROM refused_login WHERE mark = ?1";
        int r;

        r = statement_run(writer, sql, VALUES(BLOB(((LedgerJob *) base)->mark, MARK_LEN)));
        return MIN(r, 0);
}

static int ledger_run(Store *store, int (*work)(Connection *, StoreJob *), const uint8_t *mark)
{
        _cleanup_(store_job_unrefp) LedgerJob *job = store_job_new(store, sizeof(*job), work, NULL);

        if (!job)
                return -ENOMEM;
        memcpy(job->mark, mark, MARK_LEN);
        return store_job_run(store, &job->base);
}

int store_refused_login_add(Store *store, const uint8_t mark[32])
{
        return ledger_run(store, refused_add_work, mark);
}

int store_refused_login_clear(Store *store, const uint8_t mark[32])
{
        return ledger_run(store, refused_clear_work, mark);
}
