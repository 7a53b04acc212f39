/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages. A row is known by (account, uidl, occurrence) to the fetch and by its number to the Maildir; numbers are never
 * given twice, also not after a row was removed. */
#include <string.h>

#include "base/text.h"
#include "core/store_internal.h"

static int message_read(sqlite3_stmt *s, MessageRecord *to)
{
        const void *digest = sqlite3_column_blob(s, 6);

        to->row = column_number(s, 0);
        to->occurrence = (uint32_t) column_number(s, 2);
        to->state = (MessageState) column_number(s, 3);
        to->size = column_number(s, 4);
        to->octets = column_number(s, 5);
        to->has_digest = digest && sqlite3_column_bytes(s, 6) == DIGEST_LEN;
        if (to->has_digest)
                memcpy(to->digest, digest, DIGEST_LEN);
        to->delivered_usec = column_number(s, 7);
        to->absent_usec = column_number(s, 8);
        to->tries = (uint32_t) column_number(s, 9);
        to->flags = (unsigned) column_number(s, 11);
        return text_set(&to->uidl, column_text(s, 1)) < 0 ||
                               text_set(&to->reason, column_text(s, 10)) < 0 ||
                               text_set(&to->folder, column_text(s, 12)) < 0
                       ? -ENOMEM
                       : 0;
}

int store_messages(Store *store, const char *id,
                   int (*each)(void *userdata, const MessageRecord *record), void *userdata)
{
        static const char sql[] =
                "SELECT number, uidl, occurrence, state, size, octets, digest,"
                " delivered_usec, absent_usec, tries, reason, flags, folder FROM message"
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
                r = message_read(statement, &record);
                if (r == 0)
                        r = each(userdata, &record);
        }
        return r;
}

/* --- copies for jobs --- */

static void records_free(MessageRecord *records, size_t n)
{
        for (size_t i = 0; i < n; i++)
                message_record_deinit(&records[i]);
        free(records);
}

/* A state that was not given is MESSAGE_RESERVED. */
static int records_copy(MessageRecord **to, size_t *ret_n, const MessageRecord *from, size_t n)
{
        MessageRecord *records = calloc(MAX(n, (size_t) 1), sizeof(*records));
        int r = records ? 0 : -ENOMEM;

        for (size_t i = 0; i < n && r == 0; i++) {
                records[i] = from[i];
                records[i].uidl = records[i].reason = records[i].folder = NULL;
                r = text_set(&records[i].uidl, from[i].uidl);
                if (r == 0)
                        r = text_set(&records[i].folder, from[i].folder);
                if (r == 0)
                        r = text_set(&records[i].reason, from[i].reason);
        }
        *to = records;
        *ret_n = records ? n : 0;
        return r;
}

static int rows_copy(uint64_t **to, size_t *ret_n, const uint64_t *from, size_t n)
{
        if (n == 0)
                return 0;
        *to = calloc(n, sizeof(**to));
        if (!*to)
                return -ENOMEM;
        memcpy(*to, from, n * sizeof(**to));
        *ret_n = n;
        return 0;
}

int change_set_copy(ChangeSet *to, const MessageChanges *from)
{
        int r;

        if (!from)
                return 0;
        r = rows_copy(&to->done, &to->n_done, from->done, from->n_done);
        if (r == 0)
                r = rows_copy(&to->dropped, &to->n_dropped, from->dropped, from->n_dropped);
        if (r == 0 && from->n_updated > 0)
                r = records_copy(&to->updated, &to->n_updated, from->updated, from->n_updated);
        return r;
}

void change_set_deinit(ChangeSet *set)
{
        free(set->done);
        free(set->dropped);
        records_free(set->updated, set->n_updated);
        *set = (ChangeSet){};
}

/* --- jobs --- */

typedef struct MessageJob {
        StoreJob base;
        char account[ID_SIZE];
        MessageRecord *records;
        size_t n_records;
        ChangeSet changes;
} MessageJob;

static void message_job_deinit(StoreJob *base)
{
        MessageJob *job = (MessageJob *) base;

        records_free(job->records, job->n_records);
        change_set_deinit(&job->changes);
}

static int message_job_new(MessageJob **ret, Store *store, int (*work)(Connection *, StoreJob *),
                           const char *id, const MessageRecord *records, size_t n)
{
        _cleanup_(store_job_unrefp) MessageJob *job = NULL;

        if (strlen(id) != ID_SIZE - 1)
                return -ENOENT;
        job = store_job_new(store, sizeof(*job), work, message_job_deinit);
        if (!job || records_copy(&job->records, &job->n_records, records, n) < 0)
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

static int rows_run(Connection *writer, const char *sql, uint64_t account, const uint64_t *rows,
                    size_t n)
{
        int r = 0;

        for (size_t i = 0; i < n && r >= 0; i++)
                r = statement_run(writer, sql, VALUES(NUMBER(account), NUMBER(rows[i])));
        return MIN(r, 0);
}

#define DIGEST(record) BLOB((record)->has_digest ? (record)->digest : NULL, DIGEST_LEN)

static int message_update(Connection *writer, uint64_t account, const MessageRecord *record)
{
        static const char sql[] =
                "UPDATE message SET state = ?3, size = ?4, octets = ?5, digest = ?6,"
                " delivered_usec = ?7, absent_usec = ?8, tries = ?9, reason = ?10"
                " WHERE account = ?1 AND number = ?2";

        return statement_run(writer, sql,
                             VALUES(NUMBER(account), NUMBER(record->row), NUMBER(record->state),
                                    NUMBER(record->size), NUMBER(record->octets), DIGEST(record),
                                    NUMBER(record->delivered_usec), NUMBER(record->absent_usec),
                                    NUMBER(record->tries), TEXT(record->reason)));
}

int messages_settle(Connection *writer, uint64_t account, const ChangeSet *changes)
{
        static const char finish[] = "UPDATE message SET state = 2 WHERE account = ?1"
                                     " AND number = ?2 AND state = 1";
        static const char drop[] = "DELETE FROM message WHERE account = ?1 AND number = ?2";
        int r;

        r = rows_run(writer, finish, account, changes->done, changes->n_done);
        for (size_t i = 0; i < changes->n_updated && r >= 0; i++)
                r = message_update(writer, account, &changes->updated[i]);
        return r < 0 ? r : rows_run(writer, drop, account, changes->dropped, changes->n_dropped);
}

/* A row that is not there would be a file without a memory of it: the message would come twice. */
static int message_stage(Connection *writer, uint64_t account, const MessageRecord *record)
{
        static const char sql[] =
                "UPDATE message SET state = 1, size = ?3, octets = ?4, digest = ?5,"
                " delivered_usec = ?6, flags = ?7, folder = ?8 WHERE account = ?1"
                " AND number = ?2 AND state < 2";
        int r;

        r = statement_run(writer, sql,
                          VALUES(NUMBER(account), NUMBER(record->row), NUMBER(record->size),
                                 NUMBER(record->octets), DIGEST(record),
                                 NUMBER(record->delivered_usec), NUMBER(record->flags),
                                 TEXT(record->folder)));
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
        return r < 0 ? r : messages_settle(writer, account, &job->changes);
}

int store_messages_stage(Store *store, const char *id, const MessageRecord *staged, size_t n_staged,
                         const MessageChanges *changes)
{
        _cleanup_(store_job_unrefp) MessageJob *job = NULL;
        int r;

        r = message_job_new(&job, store, messages_stage_work, id, staged, n_staged);
        if (r == 0)
                r = change_set_copy(&job->changes, changes);
        return r < 0 ? r : store_job_run(store, &job->base);
}
