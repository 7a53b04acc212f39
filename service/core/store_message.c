/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages. A row is known by (account, uidl, occurrence) to the fetch and by its number to the Maildir; numbers are never
 * given twice, also not after a row was removed. */
#include <string.h>

#include "base/text.h"
#include "core/store_internal.h"

int store_messages(Store *store, const char *id,
                   int (*each)(void *userdata, const MessageRecord *record), void *userdata)
{
        static const char sql[] = "SELECT number, uidl, occurrence, state, size FROM message"
                                  " WHERE account = ?1 ORDER BY number";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        uint64_t account;
        int r;

        r = account_number(&store->reader, id, &account);
        if (r < 0)
                return r;
        r = statement_get(&statement, &store->reader, sql, VALUES(NUMBER(account)));
        while (r >= 0) {
                _cleanup_(message_record_deinit) MessageRecord record = {};

                r = statement_step(&store->reader, statement);
                if (r <= 0)
                        break;
                record.row = column_number(statement, 0);
                record.occurrence = (uint32_t) column_number(statement, 2);
                record.state = (MessageState) column_number(statement, 3);
                record.size = column_number(statement, 4);
                r = text_set(&record.uidl, column_text(statement, 1));
                if (r == 0)
                        r = each(userdata, &record);
        }
        return r;
}

/* --- jobs --- */

typedef struct MessageJob {
        StoreJob base;
        char account[ID_SIZE];
        MessageRecord *records;
        size_t n_records;
        RowSet done, dropped;
} MessageJob;

static void message_job_deinit(StoreJob *base)
{
        MessageJob *job = (MessageJob *) base;

        for (size_t i = 0; i < job->n_records; i++)
                message_record_deinit(&job->records[i]);
        free(job->records);
        free(job->done.rows);
        free(job->dropped.rows);
}

int row_set_copy(RowSet *to, const uint64_t *rows, size_t n_rows)
{
        if (n_rows == 0)
                return 0;
        to->rows = calloc(n_rows, sizeof(*rows));
        if (!to->rows)
                return -ENOMEM;
        memcpy(to->rows, rows, n_rows * sizeof(*rows));
        to->n_rows = n_rows;
        return 0;
}

static int records_copy(MessageJob *job, const MessageRecord *records, size_t n)
{
        job->records = calloc(MAX(n, (size_t) 1), sizeof(*records));
        if (!job->records)
                return -ENOMEM;
        for (; job->n_records < n; job->n_records++) {
                const MessageRecord *from = &records[job->n_records];
                MessageRecord *to = &job->records[job->n_records];

                *to = (MessageRecord){ .row = from->row,
                                       .occurrence = from->occurrence,
                                       .size = from->size };
                if (text_set(&to->uidl, from->uidl) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int message_job_new(MessageJob **ret, Store *store, int (*work)(Connection *, StoreJob *),
                           const char *id, const MessageRecord *records, size_t n)
{
        _cleanup_(store_job_unrefp) MessageJob *job = NULL;

        if (strlen(id) != ID_SIZE - 1)
                return -ENOENT;
        job = store_job_new(store, sizeof(*job), work, message_job_deinit);
        if (!job || records_copy(job, records, n) < 0)
                return -ENOMEM;
        memcpy(job->account, id, ID_SIZE);
        *ret = TAKE(job);
        return 0;
}

/* --- reserving --- */

static int message_find(Connection *writer, uint64_t account, MessageRecord *record)
{
        static const char sql[] = "SELECT number, state FROM message"
                                  " WHERE account = ?1 AND uidl = ?2 AND occurrence = ?3";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, writer, sql,
                          VALUES(NUMBER(account), TEXT(record->uidl), NUMBER(record->occurrence)));
        if (r < 0)
                return r;
        r = statement_step(writer, statement);
        if (r <= 0)
                return r;
        record->row = column_number(statement, 0);
        record->state = (MessageState) column_number(statement, 1);
        return 1;
}

static int message_reserve(Connection *writer, uint64_t account, MessageRecord *record)
{
        static const char sql[] = "INSERT INTO message (account, uidl, occurrence, state, size)"
                                  " VALUES (?1, ?2, ?3, 0, 0)";
        int r;

        r = message_find(writer, account, record);
        if (r != 0)
                return MIN(r, 0);
        r = statement_run(writer, sql,
                          VALUES(NUMBER(account), TEXT(record->uidl), NUMBER(record->occurrence)));
        if (r < 0)
                return r;
        record->row = (uint64_t) sqlite3_last_insert_rowid(writer->db);
        record->state = MESSAGE_RESERVED;
        return 0;
}

static int messages_reserve_work(Connection *writer, StoreJob *base)
{
        MessageJob *job = (MessageJob *) base;
        uint64_t account;
        int r;

        r = account_number(writer, job->account, &account);
        for (size_t i = 0; i < job->n_records && r >= 0; i++)
                r = message_reserve(writer, account, &job->records[i]);
        return r;
}

int store_messages_reserve(Store *store, const char *id, MessageRecord *records, size_t n)
{
        _cleanup_(store_job_unrefp) MessageJob *job = NULL;
        int r;

        r = message_job_new(&job, store, messages_reserve_work, id, records, n);
        if (r < 0)
                return r;
        r = store_job_run(store, &job->base);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                records[i].row = job->records[i].row;
                records[i].state = job->records[i].state;
        }
        return 0;
}

/* --- staging and settling --- */

static int rows_run(Connection *writer, const char *sql, uint64_t account, const RowSet *set)
{
        int r = 0;

        for (size_t i = 0; i < set->n_rows && r >= 0; i++)
                r = statement_run(writer, sql, VALUES(NUMBER(account), NUMBER(set->rows[i])));
        return MIN(r, 0);
}

int messages_settle(Connection *writer, uint64_t account, const RowSet *done, const RowSet *dropped)
{
        static const char finish[] = "UPDATE message SET state = 2 WHERE account = ?1"
                                     " AND number = ?2 AND state = 1";
        static const char drop[] = "DELETE FROM message WHERE account = ?1 AND number = ?2";
        int r;

        r = rows_run(writer, finish, account, done);
        return r < 0 ? r : rows_run(writer, drop, account, dropped);
}

/* A row that is not there would be a file without a memory of it: the message would come twice. */
static int message_stage(Connection *writer, uint64_t account, const MessageRecord *record)
{
        static const char sql[] = "UPDATE message SET state = 1, size = ?3 WHERE account = ?1"
                                  " AND number = ?2 AND state < 2";
        int r;

        r = statement_run(writer, sql,
                          VALUES(NUMBER(account), NUMBER(record->row), NUMBER(record->size)));
        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

static int messages_stage_work(Connection *writer, StoreJob *base)
{
        MessageJob *job = (MessageJob *) base;
        uint64_t account;
        int r;

        r = account_number(writer, job->account, &account);
        for (size_t i = 0; i < job->n_records && r >= 0; i++)
                r = message_stage(writer, account, &job->records[i]);
        return r < 0 ? r : messages_settle(writer, account, &job->done, &job->dropped);
}

int store_messages_stage(Store *store, const char *id, const MessageRecord *staged, size_t n_staged,
                         const uint64_t *done, size_t n_done, const uint64_t *dropped,
                         size_t n_dropped)
{
        _cleanup_(store_job_unrefp) MessageJob *job = NULL;
        int r;

        r = message_job_new(&job, store, messages_stage_work, id, staged, n_staged);
        if (r < 0)
                return r;
        if (row_set_copy(&job->done, done, n_done) < 0 ||
            row_set_copy(&job->dropped, dropped, n_dropped) < 0)
                return -ENOMEM;
        return store_job_run(store, &job->base);
}
