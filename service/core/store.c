/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See store.h. The file, its lock, its versions, and the group commit: jobs that are queued at one moment share a transaction,
 * each in a savepoint of its own, so that one that fails takes nobody along. When SQLite gives the whole transaction up (a
 * full disk does that), all of its jobs fail, also those that had gone well. */
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/text.h"
#include "core/directory.h"
#include "core/store_internal.h"

#define STORE_FILE "waypost.db"
#define STORE_LOCK "waypost.lock"

enum { STORE_BATCH = 256, STORE_BUSY_MSEC = 5000 };

/* What each version adds to the one before. Never changed, only added to: files of every version are out there. */
const char *const store_migrations[] = {
        "CREATE TABLE account ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT,"
        " id TEXT NOT NULL UNIQUE,"
        " uid INTEGER NOT NULL,"
        " user_name TEXT,"
        " address TEXT NOT NULL,"
        " display_name TEXT,"
        " incoming_protocol TEXT NOT NULL,"
        " incoming_host TEXT NOT NULL,"
        " incoming_port INTEGER NOT NULL,"
        " incoming_security TEXT NOT NULL,"
        " incoming_user TEXT NOT NULL,"
        " incoming_spki TEXT,"
        " outgoing_protocol TEXT,"
        " outgoing_host TEXT,"
        " outgoing_port INTEGER,"
        " outgoing_security TEXT,"
        " outgoing_user TEXT,"
        " outgoing_spki TEXT,"
        " same_secret INTEGER NOT NULL,"
        " keep INTEGER NOT NULL,"
        " interval_usec INTEGER NOT NULL,"
        " poll_minimum_usec INTEGER NOT NULL,"
        " location TEXT,"
        " can_send INTEGER NOT NULL,"
        " paused INTEGER NOT NULL,"
        " cause TEXT,"
        " since_usec INTEGER NOT NULL,"
        " last_success_usec INTEGER NOT NULL,"
        " created_usec INTEGER NOT NULL,"
        " failures INTEGER NOT NULL,"
        " messages_fetched INTEGER NOT NULL,"
        " bytes_fetched INTEGER NOT NULL,"
        " UNIQUE (uid, incoming_protocol, incoming_host, incoming_user)"
        ") STRICT;"
        "CREATE TABLE secret ("
        " account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,"
        " side TEXT NOT NULL CHECK (side IN ('incoming', 'outgoing')),"
        " sealed BLOB NOT NULL,"
        " PRIMARY KEY (account, side)"
        ") STRICT, WITHOUT ROWID;"
        "CREATE TABLE message ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT," /* names a file: never given twice */
        " account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,"
        " uidl TEXT NOT NULL,"
        " occurrence INTEGER NOT NULL,"
        " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 2),"
        " size INTEGER NOT NULL,"
        " UNIQUE (account, uidl, occurrence)"
        ") STRICT;"
        "CREATE TABLE run ("
        " number INTEGER PRIMARY KEY AUTOINCREMENT,"
        " account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,"
        " started_usec INTEGER NOT NULL,"
        " ended_usec INTEGER NOT NULL,"
        " cause TEXT,"
        " text TEXT,"
        " listed INTEGER NOT NULL,"
        " fresh INTEGER NOT NULL,"
        " skipped INTEGER NOT NULL,"
        " delivered INTEGER NOT NULL,"
        " deleted INTEGER NOT NULL,"
        " bytes INTEGER NOT NULL,"
        " manual INTEGER NOT NULL"
        ") STRICT;"
        "CREATE INDEX run_account ON run (account, number);"
        "CREATE TABLE refused_login ("
        " number INTEGER PRIMARY KEY,"
        " mark BLOB NOT NULL UNIQUE CHECK (length(mark) = 32),"
        " count INTEGER NOT NULL"
        ") STRICT;",
        /* What a message is known by besides its UIDL; mail that stays for some days; other ways of delivery. */
        "ALTER TABLE message ADD COLUMN octets INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE message ADD COLUMN digest BLOB;"
        "ALTER TABLE message ADD COLUMN delivered_usec INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE message ADD COLUMN absent_usec INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE message ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE message ADD COLUMN reason TEXT;"
        "ALTER TABLE account ADD COLUMN keep_days INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE account ADD COLUMN delivery TEXT;"
        "ALTER TABLE run ADD COLUMN duplicates INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE run ADD COLUMN gone INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE run ADD COLUMN left_over INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE run ADD COLUMN notes TEXT;",
        /* What a sign-in in the browser has granted: one for both sides of an account. */
        "CREATE TABLE oauth_grant ("
        " account INTEGER PRIMARY KEY REFERENCES account (number) ON DELETE CASCADE,"
        " sealed BLOB NOT NULL"
        ") STRICT;",
        /* What servers showed last. An exception that was approved before there was an end to it lasts another year. */
        "CREATE TABLE certificate ("
        " account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,"
        " side TEXT NOT NULL CHECK (side IN ('incoming', 'outgoing')),"
        " host TEXT NOT NULL,"
        " spki TEXT NOT NULL,"
        " not_after_usec INTEGER NOT NULL,"
        " changed_usec INTEGER NOT NULL,"
        " approved_until_usec INTEGER NOT NULL,"
        " PRIMARY KEY (account, side)"
        ") STRICT, WITHOUT ROWID;"
        "INSERT INTO certificate SELECT number, 'incoming', incoming_host, incoming_spki, 0, 0,"
        " (CAST(strftime('%s', 'now') AS INTEGER) + 31536000) * 1000000"
        " FROM account WHERE incoming_spki IS NOT NULL;"
        "INSERT INTO certificate SELECT number, 'outgoing', outgoing_host, outgoing_spki, 0, 0,"
        " (CAST(strftime('%s', 'now') AS INTEGER) + 31536000) * 1000000"
        " FROM account WHERE outgoing_spki IS NOT NULL AND outgoing_host IS NOT NULL;",
        /* Folders. */
        "ALTER TABLE message ADD COLUMN flags INTEGER NOT NULL DEFAULT 0;"
        "ALTER TABLE message ADD COLUMN folder TEXT;"
        "ALTER TABLE account ADD COLUMN folders TEXT;",
};

_Static_assert(ELEMENTS(store_migrations) == STORE_VERSION, "a migration more, a version more");

/* --- errors and statements --- */

static int error_from_sqlite(int rc)
{
        switch (rc & 0xff) {
        case SQLITE_OK:
        case SQLITE_ROW:
        case SQLITE_DONE:
                return 0;
        case SQLITE_FULL:
                return -ENOSPC;
        case SQLITE_NOMEM:
                return -ENOMEM;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
                return -EBADMSG;
        case SQLITE_READONLY:
                return -EROFS;
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
                return -EACCES;
        case SQLITE_TOOBIG:
                return -EFBIG;
        case SQLITE_CONSTRAINT:
                /* Something that is referred to is gone; a value that may not be; taken already. */
                return rc == SQLITE_CONSTRAINT_FOREIGNKEY ? -ENOENT
                       : rc == SQLITE_CONSTRAINT_NOTNULL || rc == SQLITE_CONSTRAINT_CHECK ||
                                       rc == SQLITE_CONSTRAINT_DATATYPE
                               ? -EINVAL
                               : -EEXIST;
        }
        return -EIO; /* SQLITE_IOERR and what should never come: a second writer, misuse */
}

int connection_error(Connection *connection, int rc)
{
        int r = error_from_sqlite(rc);

        /* SQLite's own text may quote stored values, the code's text cannot. */
        if (r < 0 && r != -EEXIST)
                log_debug("database: %s (%d)", sqlite3_errstr(rc), rc);
        return r;
}

static int statement_find(sqlite3_stmt **ret, Connection *connection, const char *sql)
{
        sqlite3_stmt *statement;
        int rc;

        for (unsigned i = 0; i < connection->n_statements; i++)
                if (connection->statements[i].sql == sql) {
                        *ret = connection->statements[i].statement;
                        return 0;
                }
        assert(connection->n_statements < STATEMENTS_MAX);
        rc = sqlite3_prepare_v3(connection->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
                                NULL);
        if (rc != SQLITE_OK)
                return connection_error(connection, rc);
        connection->statements[connection->n_statements].sql = sql;
        connection->statements[connection->n_statements++].statement = statement;
        *ret = statement;
        return 0;
}

static int statement_bind(sqlite3_stmt *statement, int index, const Value *value)
{
        switch (value->type) {
        case VALUE_NUMBER:
                return sqlite3_bind_int64(statement, index, (sqlite3_int64) value->number);
        case VALUE_TEXT:
                return sqlite3_bind_text(statement, index, value->data, -1, SQLITE_STATIC);
        case VALUE_BLOB:
                return sqlite3_bind_blob64(statement, index, value->data, value->number,
                                           SQLITE_STATIC);
        }
        return SQLITE_MISUSE;
}

int statement_get(sqlite3_stmt **ret, Connection *connection, const char *sql, const Value *values,
                  size_t n_values)
{
        sqlite3_stmt *statement;
        int r, rc = SQLITE_OK;

        r = statement_find(&statement, connection, sql);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n_values && rc == SQLITE_OK; i++)
                rc = statement_bind(statement, (int) i + 1, &values[i]);
        if (rc != SQLITE_OK) {
                statement_resetp(&statement);
                return connection_error(connection, rc);
        }
        *ret = statement;
        return 0;
}

int statement_step(Connection *connection, sqlite3_stmt *statement)
{
        int rc = sqlite3_step(statement);

        return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : connection_error(connection, rc);
}

void statement_resetp(sqlite3_stmt **statement)
{
        if (!*statement)
                return;
        sqlite3_reset(*statement);
        sqlite3_clear_bindings(*statement);
}

int statement_run(Connection *connection, const char *sql, const Value *values, size_t n_values)
{
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, connection, sql, values, n_values);
        if (r < 0)
                return r;
        r = statement_step(connection, statement);
        if (r < 0)
                return r;
        return sqlite3_changes(connection->db);
}

uint64_t column_number(sqlite3_stmt *statement, int column)
{
        return (uint64_t) sqlite3_column_int64(statement, column);
}

const char *column_text(sqlite3_stmt *statement, int column)
{
        return (const char *) sqlite3_column_text(statement, column);
}

int account_number(Connection *connection, const char *id, uint64_t *ret)
{
        static const char sql[] = "SELECT number FROM account WHERE id = ?1";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, connection, sql, VALUES(TEXT(id)));
        if (r < 0)
                return r;
        r = statement_step(connection, statement);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        *ret = column_number(statement, 0);
        return 0;
}

/* --- connections --- */

static int connection_exec(Connection *connection, const char *sql)
{
        int rc = sqlite3_exec(connection->db, sql, NULL, NULL, NULL);

        return rc == SQLITE_OK ? 0 : connection_error(connection, rc);
}

/* The one value of a pragma or query. */
static int connection_ask(Connection *connection, const char *sql, char **ret)
{
        sqlite3_stmt *statement = NULL;
        int r, rc;

        rc = sqlite3_prepare_v2(connection->db, sql, -1, &statement, NULL);
        r = rc == SQLITE_OK ? statement_step(connection, statement)
                            : connection_error(connection, rc);
        if (r > 0)
                r = text_set(ret, column_text(statement, 0));
        else if (r == 0)
                r = -ENODATA;
        sqlite3_finalize(statement);
        return r;
}

static void connection_close(Connection *connection)
{
        for (unsigned i = 0; i < connection->n_statements; i++)
                sqlite3_finalize(connection->statements[i].statement);
        connection->n_statements = 0;
        if (connection->db && sqlite3_close(connection->db) != SQLITE_OK)
                log_error("database: a statement is still in use");
        connection->db = NULL;
}

/* A damaged or foreign file can do nothing but be refused: no functions from its schema, no writes to its internals. */
static int connection_harden(Connection *connection)
{
        static const struct {
                int option, value;
        } options[] = {
                { SQLITE_DBCONFIG_DEFENSIVE, 1 },   { SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0 },
                { SQLITE_DBCONFIG_ENABLE_FKEY, 1 }, { SQLITE_DBCONFIG_DQS_DML, 0 },
                { SQLITE_DBCONFIG_DQS_DDL, 0 },     { SQLITE_DBCONFIG_ENABLE_TRIGGER, 0 },
                { SQLITE_DBCONFIG_ENABLE_VIEW, 0 },
        };

        for (size_t i = 0; i < ELEMENTS(options); i++)
                if (sqlite3_db_config(connection->db, options[i].option, options[i].value,
                                      (int *) NULL) != SQLITE_OK)
                        return -EOPNOTSUPP;
        return 0;
}

/* Each connection is used by one thread at a time: no mutexes of SQLite's own are needed. */
static int connection_open(Connection *connection, const char *path, int flags)
{
        int r, rc;

        rc = sqlite3_open_v2(path, &connection->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
        if (rc != SQLITE_OK)
                return connection->db ? connection_error(connection, rc) : -ENOMEM;
        sqlite3_extended_result_codes(connection->db, 1);
        sqlite3_busy_timeout(connection->db, STORE_BUSY_MSEC); /* an administrator's sqlite3 */
        r = connection_harden(connection);
        if (r < 0)
                return r;
        return connection_exec(connection, "PRAGMA temp_store = MEMORY;"
                                           "PRAGMA cell_size_check = ON;"
                                           "PRAGMA mmap_size = 0;");
}

/* --- versions --- */

static int migration_apply(Connection *connection, const char *sql, size_t version)
{
        _cleanup_free_ char *pragma = NULL;
        int r;

        r = text_format(&pragma, "PRAGMA user_version = %zu", version);
        if (r < 0)
                return r;
        r = connection_exec(connection, "BEGIN IMMEDIATE");
        if (r < 0)
                return r;
        r = connection_exec(connection, sql);
        if (r == 0)
                r = connection_exec(connection, pragma);
        if (r == 0)
                r = connection_exec(connection, "COMMIT");
        if (r < 0 && !sqlite3_get_autocommit(connection->db))
                (void) connection_exec(connection, "ROLLBACK");
        return r;
}

static int store_version(Connection *connection, uint64_t *ret)
{
        _cleanup_free_ char *text = NULL;
        int r;

        r = connection_ask(connection, "PRAGMA user_version", &text);
        if (r < 0)
                return r;
        /* A negative one is nobody's. */
        return text_to_u64(text, INT32_MAX, ret) < 0 ? -EBADMSG : 0;
}

int store_migrate(Connection *connection, const char *const *steps, size_t n_steps)
{
        uint64_t version;
        int r;

        r = store_version(connection, &version);
        if (r < 0)
                return r;
        if (version > n_steps)
                return -EPROTONOSUPPORT;
        for (; version < n_steps; version++) {
                r = migration_apply(connection, steps[version], version + 1);
                if (r < 0)
                        return log_fault(r, "database: version %ju", (uintmax_t) version + 1);
        }
        return 0;
}

/* --- opening and closing --- */

/* The file is made by us and not by SQLite, with its mode from the first moment on; its WAL takes the mode over. */
static int store_file_make(int directory)
{
        _cleanup_close_ int fd = -1;
        struct stat st;
        bool made = true;

        fd = openat(directory, STORE_FILE,
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
        if (fd < 0 && errno == EEXIST) {
                made = false;
                fd = openat(directory, STORE_FILE,
                            O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        }
        if (fd < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;
        if ((st.st_mode & 07777) != 0600 && fchmod(fd, 0600) < 0)
                return -errno;
        return made && (fsync(fd) < 0 || fsync(directory) < 0) ? -errno : 0;
}

static int store_lock(Store *store)
{
        store->lock_fd = openat(store->directory_fd, STORE_LOCK,
                                O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0600);
        if (store->lock_fd < 0)
                return -errno;
        if (flock(store->lock_fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? -EEXIST : -errno;
        return 0;
}

static int writer_check(Connection *writer)
{
        _cleanup_free_ char *verdict = NULL;
        int r;

        r = connection_ask(writer, "PRAGMA quick_check(1)", &verdict);
        if (r < 0)
                return r;
        if (!text_equal(verdict, "ok")) {
                log_error("database: damaged");
                return -EBADMSG;
        }
        return 0;
}

static int writer_open(Connection *writer, const char *path)
{
        _cleanup_free_ char *mode = NULL;
        uint64_t version;
        int r;

        r = connection_open(writer, path, SQLITE_OPEN_READWRITE);
        if (r < 0)
                return r;
        /* A newer program's file is left exactly as it is. */
        r = store_version(writer, &version);
        if (r < 0)
                return r;
        if (version > ELEMENTS(store_migrations))
                return -EPROTONOSUPPORT;
        r = writer_check(writer);
        if (r < 0)
                return r;
        r = connection_ask(writer, "PRAGMA journal_mode = WAL", &mode);
        if (r < 0)
                return r;
        if (!text_equal(mode, "wal"))
                return -EOPNOTSUPP;
        r = connection_exec(writer, "PRAGMA synchronous = FULL;"
                                    "PRAGMA secure_delete = ON;"
                                    "PRAGMA journal_size_limit = 16777216;");
        if (r < 0)
                return r;
        return store_migrate(writer, store_migrations, ELEMENTS(store_migrations));
}

static int reader_open(Connection *reader, const char *path)
{
        int r;

        r = connection_open(reader, path, SQLITE_OPEN_READONLY);
        if (r < 0)
                return r;
        return connection_exec(reader, "PRAGMA query_only = ON");
}

static int batch_begin(void *userdata)
{
        Store *store = userdata;

        store->batch_error = 0;
        return connection_exec(&store->writer, "BEGIN IMMEDIATE");
}

static int batch_end(void *userdata)
{
        Store *store = userdata;
        int r = store->batch_error;

        if (r == 0)
                r = connection_exec(&store->writer, "COMMIT");
        if (r == 0)
                store->n_commits++;
        else if (!sqlite3_get_autocommit(store->writer.db))
                (void) connection_exec(&store->writer, "ROLLBACK");
        return r;
}

int store_open(Store **ret, const char *directory)
{
        _cleanup_(store_closep) Store *store = calloc(1, sizeof(*store));
        _cleanup_free_ char *path = NULL;
        int r;

        if (!store)
                return -ENOMEM;
        store->directory_fd = store->lock_fd = -1;
        r = directory_open(&store->directory_fd, directory, 0711, DIRECTORY_MAKE);
        if (r < 0)
                return r;
        r = store_lock(store);
        if (r < 0)
                return r;
        r = store_file_make(store->directory_fd);
        if (r < 0)
                return r;
        r = text_format(&path, "%s/" STORE_FILE, directory);
        if (r < 0)
                return r;
        r = writer_open(&store->writer, path);
        if (r < 0)
                return r;
        r = reader_open(&store->reader, path);
        if (r < 0)
                return r;
        r = pool_new(&store->pool, 1,
                     &(PoolBatch){ .begin = batch_begin,
                                   .end = batch_end,
                                   .userdata = store,
                                   .max_jobs = STORE_BATCH });
        if (r < 0)
                return r;
        *ret = TAKE(store);
        return 0;
}

Store *store_close(Store *store)
{
        if (!store)
                return NULL;
        pool_free(store->pool);
        /* The last connection to go writes the WAL back and removes it; the reader could not. */
        connection_close(&store->reader);
        connection_close(&store->writer);
        fd_close(store->lock_fd);
        fd_close(store->directory_fd);
        free(store);
        return NULL;
}

/* --- jobs --- */

/* Undoes what one job did. When even that fails, or SQLite has given the transaction up, the batch is lost. */
static void job_undo(Store *store, int error)
{
        Connection *writer = &store->writer;

        if (sqlite3_get_autocommit(writer->db) || connection_exec(writer, "ROLLBACK TO job") < 0)
                store->batch_error = error;
        else if (statement_run(writer, "RELEASE job", NULL, 0) < 0)
                store->batch_error = error;
}

/* On the writer's thread. */
static int job_work(Job *base)
{
        StoreJob *job = (StoreJob *) base;
        Store *store = job->store;
        int r;

        if (store->batch_error < 0)
                return store->batch_error;
        r = statement_run(&store->writer, "SAVEPOINT job", NULL, 0);
        if (r >= 0) {
                r = job->work(&store->writer, job);
                if (r >= 0)
                        r = statement_run(&store->writer, "RELEASE job", NULL, 0);
                if (r < 0)
                        job_undo(store, r);
        } else if (sqlite3_get_autocommit(store->writer.db))
                store->batch_error = r;
        return MIN(r, 0);
}

static void job_free(Job *base)
{
        StoreJob *job = (StoreJob *) base;

        if (job->deinit)
                job->deinit(job);
        free(job);
}

void *store_job_new(Store *store, size_t size, int (*work)(Connection *, StoreJob *),
                    void (*deinit)(StoreJob *))
{
        StoreJob *job = calloc(1, size);

        if (!job)
                return NULL;
        job_init(&job->job, job_work, job_free);
        job->store = store;
        job->work = work;
        job->deinit = deinit;
        return job;
}

void store_job_unrefp(void *job)
{
        job_unref(*(Job **) job);
}

int store_job_run(Store *store, StoreJob *job)
{
        int r;

        r = pool_run(store->pool, &job->job);
        return r < 0 ? r : job->job.result;
}
