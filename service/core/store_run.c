/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The history of runs, and what the end of one changes with it: the account's record and the messages that it has settled. */
#include "base/limits.h"
#include "base/text.h"
#include "core/store_internal.h"

typedef struct RunJob {
        StoreJob base;
        AccountRecord account;
        RunRecord run;
        ChangeSet changes;
} RunJob;

static void run_job_deinit(StoreJob *base)
{
        RunJob *job = (RunJob *) base;

        account_record_deinit(&job->account);
        run_record_deinit(&job->run);
        change_set_deinit(&job->changes);
}

static int run_copy(RunRecord *to, const RunRecord *from)
{
        *to = *from;
        to->cause = to->text = to->notes = NULL;
        return text_set(&to->cause, from->cause) < 0 || text_set(&to->text, from->text) < 0 ||
                               text_set(&to->notes, from->notes) < 0
                       ? -ENOMEM
                       : 0;
}

static int run_insert(Connection *writer, uint64_t account, RunRecord *run)
{
        static const char insert[] =
                "INSERT INTO run (number, account, started_usec, ended_usec, cause,"
                " text, listed, fresh, skipped, delivered, deleted, bytes,"
                " manual, duplicates, gone, left_over, notes) VALUES"
                " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,"
                " ?14, ?15, ?16, ?17)";
        static const char prune[] = "DELETE FROM run WHERE account = ?1 AND number <="
                                    " (SELECT number FROM run WHERE account = ?1"
                                    " ORDER BY number DESC LIMIT 1 OFFSET ?2)";
        int r;

        r = statement_run(writer, insert,
                          VALUES(NUMBER(run->id), NUMBER(account), NUMBER(run->started_usec),
                                 NUMBER(run->ended_usec), TEXT(run->cause), TEXT(run->text),
                                 NUMBER(run->listed), NUMBER(run->fresh), NUMBER(run->skipped),
                                 NUMBER(run->delivered), NUMBER(run->deleted), NUMBER(run->bytes),
                                 NUMBER(run->manual), NUMBER(run->duplicates), NUMBER(run->gone),
                                 NUMBER(run->left), TEXT(run->notes)));
        if (r < 0)
                return r;
        r = statement_run(writer, prune, VALUES(NUMBER(account), NUMBER(LIMIT_HISTORY)));
        return MIN(r, 0);
}

static int run_end_work(Connection *writer, StoreJob *base)
{
        RunJob *job = (RunJob *) base;
        uint64_t account;
        int r;

        r = account_number(writer, job->account.id, &account);
        if (r < 0)
                return r;
        r = account_write(writer, &job->account);
        if (r < 0)
                return r;
        r = messages_settle(writer, account, &job->changes);
        return r < 0 ? r : run_insert(writer, account, &job->run);
}

int store_run_end(Store *store, const AccountRecord *account, RunRecord *run,
                  const MessageChanges *changes)
{
        _cleanup_(store_job_unrefp)
                RunJob *job = store_job_new(store, sizeof(*job), run_end_work, run_job_deinit);
        int r;

        if (!job || account_record_copy(&job->account, account) < 0 ||
            run_copy(&job->run, run) < 0 || change_set_copy(&job->changes, changes) < 0)
                return -ENOMEM;
        if (!job->run.id)
                job->run.id = store_next_run(store);
        r = store_job_run(store, &job->base);
        if (r < 0)
                return r;
        run->id = job->run.id;
        return 0;
}

uint64_t store_next_run(Store *store)
{
        static const char last[] = "SELECT seq FROM sqlite_sequence WHERE name = 'run'";
        sqlite3_stmt *s;

        if (!store->last_run && statement_get(&s, &store->reader, last, NULL, 0) == 0) {
                if (sqlite3_step(s) == SQLITE_ROW)
                        store->last_run = (uint64_t) sqlite3_column_int64(s, 0);
                sqlite3_reset(s);
        }
        return ++store->last_run;
}

static int run_read(sqlite3_stmt *s, RunRecord *to)
{
        to->id = column_number(s, 0);
        to->started_usec = column_number(s, 1);
        to->ended_usec = column_number(s, 2);
        to->listed = column_number(s, 5);
        to->fresh = column_number(s, 6);
        to->skipped = column_number(s, 7);
        to->delivered = column_number(s, 8);
        to->deleted = column_number(s, 9);
        to->bytes = column_number(s, 10);
        to->manual = column_number(s, 11);
        to->duplicates = column_number(s, 12);
        to->gone = column_number(s, 13);
        to->left = column_number(s, 14);
        return text_set(&to->cause, column_text(s, 3)) < 0 ||
                               text_set(&to->text, column_text(s, 4)) < 0 ||
                               text_set(&to->notes, column_text(s, 15)) < 0
                       ? -ENOMEM
                       : 0;
}

int store_runs(Store *store, const char *id, unsigned max,
               int (*each)(void *userdata, const RunRecord *run), void *userdata)
{
        static const char sql[] =
                "SELECT number, started_usec, ended_usec, cause, text, listed,"
                " fresh, skipped, delivered, deleted, bytes, manual, duplicates, gone,"
                " left_over, notes FROM run"
                " WHERE account = ?1 ORDER BY number DESC LIMIT ?2";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        uint64_t account;
        int r;

        r = account_number(&store->reader, id, &account);
        if (r < 0)
                return r;
        r = statement_get(&statement, &store->reader, sql, VALUES(NUMBER(account), NUMBER(max)));
        while (r >= 0) {
                _cleanup_(run_record_deinit) RunRecord run = {};

                r = statement_step(&store->reader, statement);
                if (r <= 0)
                        break;
                r = run_read(statement, &run);
                if (r == 0)
                        r = each(userdata, &run);
        }
        return r;
}
