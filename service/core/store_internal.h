/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the store's files share: connections with their prepared statements, bound values, and jobs of the writer. */
#pragma once

#include <sqlite3.h>

#include "base/pool.h"
#include "core/store.h"

enum { STATEMENTS_MAX = 48, STORE_VERSION = 5 };

/* One connection, used by one thread. Statements are found again by the address of their text, which is therefore a constant
 * of its file. */
typedef struct Connection {
        sqlite3 *db;
        struct {
                const char *sql;
                sqlite3_stmt *statement;
        } statements[STATEMENTS_MAX];
        unsigned n_statements;
} Connection;

struct Store {
        Connection writer; /* the pool's thread only, once it runs */
        Connection reader; /* the loop only; sees what is committed */
        Pool *pool;
        int directory_fd, lock_fd;
        int batch_error; /* the transaction is gone: every job of it fails with this */
        uint64_t n_commits;
        uint64_t last_run; /* the highest id given to a run */
};

/* --- statements --- */

typedef struct Value {
        enum { VALUE_NUMBER, VALUE_TEXT, VALUE_BLOB } type;
        uint64_t number; /* of a blob: its length */
        const void *data;
} Value;

#define NUMBER(x) ((Value){ .type = VALUE_NUMBER, .number = (uint64_t) (x) })
#define TEXT(x) ((Value){ .type = VALUE_TEXT, .data = (x) }) /* NULL is NULL */
#define BLOB(x, len) ((Value){ .type = VALUE_BLOB, .number = (len), .data = (x) })
#define VALUES(...) (const Value[]){ __VA_ARGS__ }, ELEMENTS(((const Value[]){ __VA_ARGS__ }))

/* SQLite's word for what went wrong as a negative errno, logged. */
int connection_error(Connection *connection, int rc);
/* A statement with its values bound; they are borrowed until it is reset. */
int statement_get(sqlite3_stmt **ret, Connection *connection, const char *sql, const Value *values,
                  size_t n_values);
/* Returns 1: a row, 0: no more, negative errno. */
int statement_step(Connection *connection, sqlite3_stmt *statement);
/* Ready for its next use. For _cleanup_: a borrowed statement never stays in the middle of its rows. */
void statement_resetp(sqlite3_stmt **statement);
/* All of a statement that has no rows. Returns how many were changed, negative errno. */
int statement_run(Connection *connection, const char *sql, const Value *values, size_t n_values);
uint64_t column_number(sqlite3_stmt *statement, int column);
/* Borrowed until the next step; NULL for NULL. */
const char *column_text(sqlite3_stmt *statement, int column);
/* The number of account @id. Returns 0, -ENOENT. */
int account_number(Connection *connection, const char *id, uint64_t *ret);

/* --- jobs --- */

/* The head of each change. It owns copies of all that it needs: whoever asked for it may be gone. */
typedef struct StoreJob {
        Job job;
        Store *store;
        int (*work)(Connection *writer, struct StoreJob *job);
        void (*deinit)(struct StoreJob *job); /* what the job holds besides itself; NULL: nothing */
} StoreJob;

/* Allocates and sets up a job of @size bytes, zeroed behind its head. NULL: no memory. */
void *store_job_new(Store *store, size_t size, int (*work)(Connection *, StoreJob *),
                    void (*deinit)(StoreJob *));
void store_job_unrefp(void *job); /* for _cleanup_ on any job's pointer */
/* Suspends until the change is durable. Returns its result; -ECANCELED or -ETIME when it goes on without us. */
int store_job_run(Store *store, StoreJob *job);

/* --- rows, shared by changes that carry others along --- */

/* A MessageChanges of a job's own. */
typedef struct ChangeSet {
        uint64_t *done, *dropped;
        MessageRecord *updated;
        size_t n_done, n_dropped, n_updated;
} ChangeSet;

/* NULL: no changes. */
int change_set_copy(ChangeSet *to, const MessageChanges *from);
void change_set_deinit(ChangeSet *set);
int messages_settle(Connection *writer, uint64_t account, const ChangeSet *changes);
int account_write(Connection *writer, const AccountRecord *record);

/* --- for the tests --- */

extern const char *const store_migrations[]; /* STORE_VERSION of them */

/* Brings @db to version @n_migrations, each step in a transaction of its own. */
int store_migrate(Connection *connection, const char *const *migrations, size_t n_migrations);
