/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The store: every operation, its versions, the group commit, and who may have it open. A commit hook that waits makes the
 * writer stand still at the moment that matters, so that nothing here depends on who is quicker. */
#include "tests/unit/base/check.h"

#include <fcntl.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/text.h"
#include "core/store_internal.h"

typedef struct Fixture {
        Loop *loop;
        char directory[64], path[96];
        Store *store;
} Fixture;

static const char *const file_names[] = { "waypost.db", "waypost.db-wal", "waypost.db-shm",
                                          "waypost.lock" };

static int setup(void **state)
{
        Fixture *f = calloc(1, sizeof(*f));

        snprintf(f->directory, sizeof(f->directory), "/tmp/waypost-store-XXXXXX");
        assert_non_null(mkdtemp(f->directory));
        snprintf(f->path, sizeof(f->path), "%s/waypost.db", f->directory);
        assert_int_equal(loop_new(&f->loop), 0);
        *state = f;
        return 0;
}

static int setup_open(void **state)
{
        Fixture *f;

        setup(state);
        f = *state;
        assert_int_equal(store_open(&f->store, f->directory), 0);
        return 0;
}

static int teardown(void **state)
{
        Fixture *f = *state;

        f->store = store_close(f->store);
        loop_free(f->loop);
        for (size_t i = 0; i < ELEMENTS(file_names); i++) {
                char path[112];

                snprintf(path, sizeof(path), "%s/%s", f->directory, file_names[i]);
                unlink(path);
        }
        assert_int_equal(rmdir(f->directory), 0);
        free(f);
        return 0;
}

static void reopen(Fixture *f)
{
        f->store = store_close(f->store);
        assert_int_equal(store_open(&f->store, f->directory), 0);
}

/* --- on a fiber and back --- */

static void on_fiber(Fixture *f, FiberFunc func)
{
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;

        assert_int_equal(fiber_start(&fiber, "test", func, f), 0);
        check_run(f->loop);
}

static void account_id(char to[ID_SIZE], unsigned number)
{
        snprintf(to, ID_SIZE, "%032x", number);
}

/* Borrowed texts: never deinit. */
static AccountRecord sample(unsigned number)
{
        static char users[64][16];
        AccountRecord record = {
                .uid = 1000,
                .user_name = (char *) (uintptr_t) "anna",
                .address = (char *) (uintptr_t) "anna@example.com",
                .incoming = { .protocol = PROTOCOL_POP3,
                              .host = (char *) (uintptr_t) "pop.example.com",
                              .port = 995,
                              .security = SECURITY_TLS },
                .interval_usec = 600 * USEC_PER_SEC,
                .location = (char *) (uintptr_t) "/var/lib/waypost/mail/1000/x",
                .created_usec = 1700000000 * USEC_PER_SEC,
        };

        assert_true(number < ELEMENTS(users));
        account_id(record.id, number);
        snprintf(users[number], sizeof(users[number]), "user%u", number);
        record.incoming.user = users[number];
        return record;
}

static int insert(Fixture *f, unsigned number)
{
        AccountRecord record = sample(number);

        return store_account_insert(f->store, &record, &(SealedSecrets){});
}

static int count_accounts(void *userdata, const AccountRecord *record)
{
        ++*(unsigned *) userdata;
        return 0;
}

static unsigned n_accounts(Fixture *f)
{
        unsigned n = 0;

        assert_int_equal(store_accounts(f->store, count_accounts, &n), 0);
        return n;
}

static uint64_t ask(Fixture *f, const char *sql)
{
        sqlite3 *db = NULL;
        sqlite3_stmt *statement = NULL;
        uint64_t value;

        assert_int_equal(sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
        value = (uint64_t) sqlite3_column_int64(statement, 0);
        sqlite3_finalize(statement);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
        return value;
}

static void exec(Fixture *f, const char *sql)
{
        sqlite3 *db = NULL;

        assert_int_equal(
                sqlite3_open_v2(f->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- the file and its versions --- */

static int file_modes_fiber(void *arg)
{
        return insert(arg, 1);
}

static void file_and_modes(void **state)
{
        Fixture *f = *state;
        mode_t old = umask(0);
        struct stat st;

        assert_int_equal(store_open(&f->store, f->directory), 0);
        on_fiber(f, file_modes_fiber);
        umask(old);
        for (size_t i = 0; i < ELEMENTS(file_names); i++) {
                char path[112];

                snprintf(path, sizeof(path), "%s/%s", f->directory, file_names[i]);
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_mode, S_IFREG | 0600);
        }
        f->store = store_close(f->store);
        /* Checkpointed: all is in the one file. */
        assert_int_equal(stat(f->path, &st), 0);
        for (size_t i = 1; i < 3; i++) {
                char path[112];

                snprintf(path, sizeof(path), "%s/%s", f->directory, file_names[i]);
                assert_int_equal(stat(path, &st), -1);
        }
        assert_int_equal(ask(f, "SELECT count(*) FROM account"), 1);
}

static void missing_directory_is_made(void **state)
{
        Fixture *f = *state;
        char deep[96], path[128];
        Store *store;
        struct stat st;

        snprintf(deep, sizeof(deep), "%s/a/b", f->directory);
        assert_int_equal(store_open(&store, deep), 0);
        store_close(store);
        assert_int_equal(stat(deep, &st), 0);
        assert_int_equal(st.st_mode, S_IFDIR | 0711);
        snprintf(path, sizeof(path), "%s/waypost.db", deep);
        assert_int_equal(unlink(path), 0);
        snprintf(path, sizeof(path), "%s/waypost.lock", deep);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(rmdir(deep), 0);
        snprintf(path, sizeof(path), "%s/a", f->directory);
        assert_int_equal(rmdir(path), 0);
}

static void settings(void **state)
{
        static const struct {
                const char *sql;
                int value;
        } wanted[] = {
                { "PRAGMA synchronous", 2 },
                { "PRAGMA foreign_keys", 1 },
                { "PRAGMA secure_delete", 1 },
                { "PRAGMA trusted_schema", 0 },
                { "PRAGMA user_version", STORE_VERSION },
        };
        Fixture *f = *state;
        int on = 0;

        for (size_t i = 0; i < ELEMENTS(wanted); i++) {
                sqlite3_stmt *statement;

                assert_int_equal(sqlite3_prepare_v2(f->store->writer.db, wanted[i].sql, -1,
                                                    &statement, NULL),
                                 SQLITE_OK);
                assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
                assert_int_equal(sqlite3_column_int(statement, 0), wanted[i].value);
                sqlite3_finalize(statement);
        }
        assert_int_equal(sqlite3_db_config(f->store->writer.db, SQLITE_DBCONFIG_DEFENSIVE, -1, &on),
                         SQLITE_OK);
        assert_int_equal(on, 1);
        /* The loop's connection cannot write. */
        assert_int_equal(sqlite3_db_readonly(f->store->reader.db, "main"), 1);
        assert_int_equal(sqlite3_exec(f->store->reader.db, "DELETE FROM account", NULL, NULL, NULL),
                         SQLITE_READONLY);
}

static void one_service_only(void **state)
{
        Fixture *f = *state;
        Store *second;

        assert_int_equal(store_open(&second, f->directory), -EEXIST);
        f->store = store_close(f->store);
        assert_int_equal(store_open(&second, f->directory), 0);
        store_close(second);
}

static void version_0(void **state)
{
        Fixture *f = *state;

        exec(f, "PRAGMA page_size = 8192; CREATE TABLE other (x); INSERT INTO other VALUES (42);");
        assert_int_equal(chmod(f->path, 0644), 0);
        assert_int_equal(store_open(&f->store, f->directory), 0);
        on_fiber(f, file_modes_fiber);
        f->store = store_close(f->store);
        assert_int_equal(ask(f, "PRAGMA user_version"), STORE_VERSION);
        assert_int_equal(ask(f, "SELECT x FROM other"), 42);
        assert_int_equal(ask(f, "SELECT count(*) FROM account"), 1);
}

static void newer_version_is_left_alone(void **state)
{
        Fixture *f = *state;

        exec(f, "PRAGMA user_version = 99");
        assert_int_equal(store_open(&f->store, f->directory), -EPROTONOSUPPORT);
        assert_int_equal(ask(f, "PRAGMA user_version"), 99);
        assert_int_equal(ask(f, "SELECT count(*) FROM sqlite_schema"), 0);
}

static void migrations_in_steps(void **state)
{
        static const char *const steps[] = {
                "CREATE TABLE a (x); INSERT INTO a VALUES (1);",
                "ALTER TABLE a ADD COLUMN y; UPDATE a SET y = 2;",
                "CREATE TABLE b (x); INSERT INTO nowhere VALUES (1);",
        };
        Connection connection = {};
        Fixture *f = *state;

        assert_int_equal(sqlite3_open(f->path, &connection.db), SQLITE_OK);
        assert_int_equal(store_migrate(&connection, steps, 1), 0);
        assert_int_equal(ask(f, "PRAGMA user_version"), 1);
        assert_int_equal(store_migrate(&connection, steps, 2), 0);
        assert_int_equal(store_migrate(&connection, steps, 2), 0); /* nothing to do */
        assert_int_equal(ask(f, "SELECT sum(x + y) FROM a"), 3);
        /* The broken step leaves nothing of itself, and no open transaction. */
        assert_int_equal(store_migrate(&connection, steps, 3), -EIO);
        assert_int_equal(sqlite3_get_autocommit(connection.db), 1);
        assert_int_equal(ask(f, "PRAGMA user_version"), 2);
        assert_int_equal(ask(f, "SELECT count(*) FROM sqlite_schema"), 1);
        assert_int_equal(store_migrate(&connection, steps, 1), -EPROTONOSUPPORT);
        sqlite3_close(connection.db);
}

static void overwrite(const char *path, off_t offset, size_t len)
{
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        char junk[512];

        memset(junk, 0xa5, sizeof(junk));
        assert_true(fd >= 0 && len <= sizeof(junk));
        assert_int_equal(pwrite(fd, junk, len, offset), len);
}

/* What was approved before approvals had an end gets one. */
static void approvals_of_before(void **state)
{
        enum { BEFORE = 3 };
        static const char account[] =
                "INSERT INTO account (id, uid, address, incoming_protocol, incoming_host, incoming_port,"
                " incoming_security, incoming_user, incoming_spki, same_secret, keep, interval_usec,"
                " poll_minimum_usec, can_send, paused, since_usec, last_success_usec, created_usec,"
                " failures, messages_fetched, bytes_fetched) VALUES ('a', 1, 'a@b', 'pop3', 'h', 995, 'tls',"
                " 'u', 'abcd', 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)";
        Connection connection = {};
        Fixture *f = *state;

        assert_int_equal(sqlite3_open(f->path, &connection.db), SQLITE_OK);
        assert_int_equal(store_migrate(&connection, store_migrations, BEFORE), 0);
        assert_int_equal(sqlite3_exec(connection.db, account, NULL, NULL, NULL), SQLITE_OK);
        assert_int_equal(store_migrate(&connection, store_migrations, STORE_VERSION), 0);
        assert_int_equal(ask(f,
                             "SELECT count(*) FROM certificate WHERE host = 'h' AND spki = 'abcd'"
                             " AND side = 'incoming'"),
                         1);
        assert_int_equal(
                ask(f, "SELECT (approved_until_usec / 1000000 - strftime('%s', 'now')) / 86400"
                       " BETWEEN 363 AND 366 FROM certificate"),
                1);
        sqlite3_close(connection.db);
}

static void damaged(void **state)
{
        Fixture *f = *state;
        struct stat st;

        assert_int_equal(store_open(&f->store, f->directory), 0);
        on_fiber(f, file_modes_fiber);
        f->store = store_close(f->store);
        assert_int_equal(stat(f->path, &st), 0);
        /* A page in the middle; then the head. */
        overwrite(f->path, 4096, 512);
        assert_int_equal(store_open(&f->store, f->directory), -EBADMSG);
        overwrite(f->path, 0, 100);
        assert_int_equal(store_open(&f->store, f->directory), -EBADMSG);
        assert_null(f->store);
}

static void a_link_is_no_database(void **state)
{
        Fixture *f = *state;
        char other[112];

        snprintf(other, sizeof(other), "%s/other", f->directory);
        assert_int_equal(symlink(other, f->path), 0);
        assert_int_equal(store_open(&f->store, f->directory), -ELOOP);
        assert_int_equal(access(other, F_OK), -1);
}

/* --- accounts --- */

static int accounts_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1), two = sample(2), clash = sample(3);
        SealedSecrets secrets = { .incoming = "sealed-in", .incoming_len = 9 };

        assert_int_equal(store_account_insert(f->store, &one, &secrets), 0);
        assert_int_equal(store_account_insert(f->store, &two, &(SealedSecrets){}), 0);
        assert_int_equal(store_account_insert(f->store, &one, &secrets), -EEXIST); /* the id */
        clash.incoming.user = one.incoming.user;
        clash.incoming.port = 110;
        assert_int_equal(store_account_insert(f->store, &clash, &secrets), -EEXIST);
        clash.uid = 1001; /* somebody else's */
        assert_int_equal(store_account_insert(f->store, &clash, &secrets), 0);
        assert_int_equal(store_account_delete(f->store, clash.id), 0);
        assert_int_equal(store_account_delete(f->store, clash.id), -ENOENT);
        assert_int_equal(store_account_delete(f->store, "x"), -ENOENT);
        assert_int_equal(store_account_update(f->store, &clash), -ENOENT);
        two.incoming.user = one.incoming.user;
        assert_int_equal(store_account_update(f->store, &two), -EEXIST);
        two.incoming.user = NULL;
        assert_int_equal(store_account_update(f->store, &two), -EINVAL);
        return 0;
}

static void accounts(void **state)
{
        Fixture *f = *state;

        on_fiber(f, accounts_fiber);
        assert_int_equal(n_accounts(f), 2);
}

#define OWN(text) ((char *) (uintptr_t) (text))

static AccountRecord full_record(void)
{
        AccountRecord record = sample(7);

        record.uid = (uid_t) -2;
        record.display_name = OWN("Anna Ümläut");
        record.incoming.approved_spki = OWN("aa55");
        record.outgoing = (Endpoint){ .protocol = PROTOCOL_SMTP,
                                      .host = OWN("smtp.example.com"),
                                      .port = 65535,
                                      .security = SECURITY_STARTTLS,
                                      .user = OWN("anna@example.com"),
                                      .approved_spki = OWN("77") };
        record.same_secret = record.can_send = record.paused = true;
        record.keep = KEEP_DAYS;
        record.keep_days = 30;
        record.delivery = OWN("lmtp");
        record.poll_minimum_usec = 1;
        record.cause = OWN("login.refused");
        record.since_usec = UINT64_MAX;
        record.last_success_usec = 2;
        record.failures = 3;
        record.messages_fetched = 4;
        record.bytes_fetched = UINT64_C(1) << 40;
        return record;
}

static int check_full(void *userdata, const AccountRecord *r)
{
        AccountRecord w = full_record();

        assert_string_equal(r->id, w.id);
        assert_string_equal(r->user_name, w.user_name);
        assert_string_equal(r->address, w.address);
        assert_string_equal(r->display_name, w.display_name);
        assert_true(endpoint_same(&r->incoming, &w.incoming));
        assert_true(endpoint_same(&r->outgoing, &w.outgoing));
        assert_string_equal(r->incoming.user, w.incoming.user);
        assert_string_equal(r->incoming.approved_spki, w.incoming.approved_spki);
        assert_string_equal(r->outgoing.user, w.outgoing.user);
        assert_string_equal(r->outgoing.approved_spki, w.outgoing.approved_spki);
        assert_string_equal(r->location, w.location);
        assert_string_equal(r->cause, w.cause);
        assert_string_equal(r->delivery, w.delivery);
        assert_int_equal(r->keep_days, w.keep_days);
        assert_true(r->uid == w.uid && r->keep == w.keep && r->same_secret && r->can_send &&
                    r->paused);
        assert_true(r->interval_usec == w.interval_usec &&
                    r->poll_minimum_usec == w.poll_minimum_usec && r->since_usec == w.since_usec &&
                    r->last_success_usec == w.last_success_usec &&
                    r->created_usec == w.created_usec);
        assert_true(r->failures == w.failures && r->messages_fetched == w.messages_fetched &&
                    r->bytes_fetched == w.bytes_fetched);
        ++*(unsigned *) userdata;
        return 0;
}

static int full_insert_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord record = full_record();

        return store_account_insert(f->store, &record, &(SealedSecrets){});
}

static int full_update_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord empty = sample(7), record = full_record();

        assert_int_equal(store_account_update(f->store, &empty), 0);
        assert_int_equal(n_accounts(f), 1);
        return store_account_update(f->store, &record);
}

static void every_field(void **state)
{
        Fixture *f = *state;
        unsigned n = 0;

        on_fiber(f, full_insert_fiber);
        assert_int_equal(store_accounts(f->store, check_full, &n), 0);
        on_fiber(f, full_update_fiber);
        assert_int_equal(store_accounts(f->store, check_full, &n), 0);
        reopen(f);
        assert_int_equal(store_accounts(f->store, check_full, &n), 0);
        assert_int_equal(n, 3);
}

static int stop(void *userdata, const AccountRecord *record)
{
        ++*(unsigned *) userdata;
        return -E2BIG;
}

static void each_can_stop(void **state)
{
        Fixture *f = *state;
        unsigned n = 0;

        on_fiber(f, accounts_fiber);
        assert_int_equal(store_accounts(f->store, stop, &n), -E2BIG);
        assert_int_equal(n, 1);
        assert_int_equal(n_accounts(f), 2); /* the statement is usable again */
}

static void secret_is(Fixture *f, const char *side, const char *wanted)
{
        _cleanup_buffer_ Buffer buffer = BUFFER(4096);
        AccountRecord record = sample(1);
        int r = store_secret(f->store, record.id, side, &buffer);

        assert_int_equal(r, wanted ? 0 : -ENOENT);
        if (!wanted)
                return;
        assert_int_equal(buffer.len, strlen(wanted));
        assert_true(memcmp(buffer.data, wanted, buffer.len) == 0);
}

static int secrets_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1), none = sample(9);

        assert_int_equal(store_account_insert(f->store, &one,
                                              &(SealedSecrets){ .incoming = "in",
                                                                .incoming_len = 2,
                                                                .outgoing = "out",
                                                                .outgoing_len = 3 }),
                         0);
        secret_is(f, "incoming", "in");
        secret_is(f, "outgoing", "out");
        /* One side alone, then one goes. */
        assert_int_equal(
                store_account_set_secrets(f->store, one.id,
                                          &(SealedSecrets){ .incoming = "new", .incoming_len = 3 }),
                0);
        secret_is(f, "incoming", "new");
        secret_is(f, "outgoing", "out");
        assert_int_equal(
                store_account_set_secrets(f->store, one.id, &(SealedSecrets){ .outgoing = "" }), 0);
        secret_is(f, "incoming", "new");
        secret_is(f, "outgoing", NULL);
        assert_int_equal(store_account_update(f->store, &one), 0);
        secret_is(f, "incoming", "new");
        assert_int_equal(
                store_account_set_secrets(f->store, none.id,
                                          &(SealedSecrets){ .incoming = "x", .incoming_len = 1 }),
                -ENOENT);
        return 0;
}

static void secrets(void **state)
{
        Fixture *f = *state;

        on_fiber(f, secrets_fiber);
        secret_is(f, "incoming", "new");
        secret_is(f, "nowhere", NULL);
}

/* --- messages --- */

typedef struct Seen {
        unsigned n, n_state[3];
        uint64_t row, size, rows_sum;
} Seen;

static int see_message(void *userdata, const MessageRecord *record)
{
        Seen *seen = userdata;

        assert_true(record->row > seen->row);
        assert_non_null(record->uidl);
        seen->n++;
        seen->n_state[record->state]++;
        seen->row = record->row;
        seen->rows_sum += record->row;
        seen->size += record->size;
        return 0;
}

static Seen see(Fixture *f, unsigned number)
{
        AccountRecord record = sample(number);
        Seen seen = {};

        assert_int_equal(store_messages(f->store, record.id, see_message, &seen), 0);
        return seen;
}

static int messages_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1);
        MessageRecord records[3] = { { .uidl = OWN("same") },
                                     { .uidl = OWN("same"), .occurrence = 1 },
                                     { .uidl = OWN("\xff\xfe other") } };
        MessageRecord again[3] = { records[2], records[0], { .uidl = OWN("new") } };
        uint64_t first[3], ghost = 4711;

        assert_int_equal(insert(f, 1), 0);
        assert_int_equal(insert(f, 2), 0);
        assert_int_equal(store_messages_reserve(f->store, one.id, records, 3), 0);
        for (size_t i = 0; i < 3; i++)
                first[i] = records[i].row;
        assert_true(first[0] > 0 && first[1] > first[0] && first[2] > first[1]);
        /* What a crash left is given again, in whatever order it is asked for. */
        assert_int_equal(store_messages_reserve(f->store, one.id, again, 3), 0);
        assert_int_equal(again[0].row, first[2]);
        assert_int_equal(again[1].row, first[0]);
        assert_true(again[2].row > first[2]);
        assert_int_equal(again[1].state, MESSAGE_RESERVED);

        records[0].size = 100;
        records[1].size = 200;
        assert_int_equal(store_messages_stage(f->store, one.id, records, 2, NULL), 0);
        assert_int_equal(see(f, 1).n_state[MESSAGE_STAGED], 2);
        assert_int_equal(see(f, 1).size, 300);
        /* Another account's rows and rows that are not there: all or nothing. */
        assert_int_equal(store_messages_stage(f->store, sample(2).id, &records[2], 1,
                                              &(MessageChanges){ .done = first,
                                                                 .n_done = 1,
                                                                 .dropped = NULL,
                                                                 .n_dropped = 0 }),
                         -ENOENT);
        records[0].row = ghost;
        assert_int_equal(store_messages_stage(f->store, one.id, records, 1,
                                              &(MessageChanges){ .done = &first[1],
                                                                 .n_done = 1,
                                                                 .dropped = first,
                                                                 .n_dropped = 1 }),
                         -ENOENT);
        /* A good one before the bad one is undone with it. */
        assert_int_equal(store_messages_stage(f->store, one.id,
                                              (MessageRecord[]){ records[2], records[0] }, 2, NULL),
                         -ENOENT);
        assert_int_equal(see(f, 1).n_state[MESSAGE_STAGED], 2);
        assert_int_equal(see(f, 1).n, 4);

        /* Done rides on the next commit; only staged ones become it. */
        assert_int_equal(store_messages_stage(f->store, one.id, &records[2], 1,
                                              &(MessageChanges){ .done = first,
                                                                 .n_done = 2,
                                                                 .dropped = &again[2].row,
                                                                 .n_dropped = 1 }),
                         0);
        assert_int_equal(see(f, 1).n, 3);
        assert_int_equal(see(f, 1).n_state[MESSAGE_DONE], 2);
        assert_int_equal(see(f, 1).n_state[MESSAGE_STAGED], 1);
        records[1].row = first[1];
        assert_int_equal(store_messages_stage(f->store, one.id, &records[1], 1, NULL),
                         -ENOENT); /* done is done */
        assert_int_equal(store_messages_reserve(f->store, one.id, again, 3), 0);
        assert_int_equal(again[1].state, MESSAGE_DONE);
        assert_int_equal(again[0].state, MESSAGE_STAGED);
        assert_int_equal(store_messages_reserve(f->store, sample(9).id, again, 3), -ENOENT);
        assert_int_equal(store_messages_stage(f->store, one.id, NULL, 0, NULL), 0);
        return 0;
}

static int check_changed(void *userdata, const MessageRecord *r)
{
        MessageRecord *w = userdata;

        assert_int_equal(r->row, w->row);
        assert_int_equal(r->state, w->state);
        assert_true(r->size == w->size && r->octets == w->octets && r->tries == w->tries &&
                    r->delivered_usec == w->delivered_usec && r->absent_usec == w->absent_usec);
        assert_int_equal(r->has_digest, w->has_digest);
        assert_memory_equal(r->digest, w->digest, DIGEST_LEN);
        assert_true(text_equal(r->reason, w->reason) && text_equal(r->uidl, w->uidl));
        return 0;
}

/* A stage and an update keep each value; an update may take it away again. */
static int message_values_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1);
        MessageRecord record = { .uidl = OWN("a") };

        assert_int_equal(insert(f, 1), 0);
        assert_int_equal(store_messages_reserve(f->store, one.id, &record, 1), 0);
        record.state = MESSAGE_STAGED;
        record.size = 7;
        record.octets = 8;
        record.has_digest = true;
        memset(record.digest, 0xa5, DIGEST_LEN);
        record.delivered_usec = 9;
        assert_int_equal(store_messages_stage(f->store, one.id, &record, 1, NULL), 0);
        assert_int_equal(store_messages(f->store, one.id, check_changed, &record), 0);
        record.state = MESSAGE_RESERVED;
        record.absent_usec = 10;
        record.tries = 3;
        record.reason = OWN("TOOBIG");
        assert_int_equal(
                store_messages_stage(f->store, one.id, NULL, 0,
                                     &(MessageChanges){ .updated = &record, .n_updated = 1 }),
                0);
        assert_int_equal(store_messages(f->store, one.id, check_changed, &record), 0);
        record = (MessageRecord){ .row = record.row, .uidl = OWN("a") };
        assert_int_equal(store_run_end(f->store, &one, &(RunRecord){},
                                       &(MessageChanges){ .updated = &record, .n_updated = 1 }),
                         0);
        return store_messages(f->store, one.id, check_changed, &record);
}

static void message_values(void **state)
{
        on_fiber(*state, message_values_fiber);
}

static void messages(void **state)
{
        Fixture *f = *state;

        on_fiber(f, messages_fiber);
        assert_int_equal(see(f, 2).n, 0);
        assert_int_equal(store_messages(f->store, sample(9).id, see_message, NULL), -ENOENT);
}

static int never_reused_fiber(void *arg)
{
        Fixture *f = arg;
        MessageRecord record = { .uidl = OWN("a") };
        uint64_t row;

        assert_int_equal(insert(f, 1), 0);
        assert_int_equal(store_messages_reserve(f->store, sample(1).id, &record, 1), 0);
        row = record.row;
        assert_int_equal(store_messages_stage(f->store, sample(1).id, NULL, 0,
                                              &(MessageChanges){ .done = NULL,
                                                                 .n_done = 0,
                                                                 .dropped = &record.row,
                                                                 .n_dropped = 1 }),
                         0);
        assert_int_equal(store_messages_reserve(f->store, sample(1).id, &record, 1), 0);
        assert_true(record.row > row);
        row = record.row;
        assert_int_equal(store_account_delete(f->store, sample(1).id), 0);
        assert_int_equal(insert(f, 1), 0);
        assert_int_equal(store_messages_reserve(f->store, sample(1).id, &record, 1), 0);
        assert_true(record.row > row);
        return 0;
}

static void rows_are_never_reused(void **state)
{
        on_fiber(*state, never_reused_fiber);
}

enum { MANY = 5000 };

static int many_fiber(void *arg)
{
        Fixture *f = arg;
        MessageRecord *records = calloc(MANY, sizeof(*records));
        uint64_t *rows = calloc(MANY, sizeof(*rows)), commits;
        char(*uidls)[16] = calloc(MANY, sizeof(*uidls));

        assert_int_equal(insert(f, 1), 0);
        for (size_t i = 0; i < MANY; i++) {
                snprintf(uidls[i], sizeof(uidls[i]), "u%zu", i);
                records[i] = (MessageRecord){ .uidl = uidls[i], .size = 7 };
        }
        commits = f->store->n_commits;
        assert_int_equal(store_messages_reserve(f->store, sample(1).id, records, MANY), 0);
        assert_int_equal(f->store->n_commits, commits + 1);
        for (size_t i = 0; i < MANY; i++)
                rows[i] = records[i].row;
        assert_int_equal(store_messages_stage(f->store, sample(1).id, records, MANY, NULL), 0);
        assert_int_equal(store_messages_stage(f->store, sample(1).id, NULL, 0,
                                              &(MessageChanges){ .done = rows,
                                                                 .n_done = MANY,
                                                                 .dropped = rows,
                                                                 .n_dropped = 10 }),
                         0);
        assert_int_equal(f->store->n_commits, commits + 3);
        free(records);
        free(rows);
        free(uidls);
        return 0;
}

static void thousands_at_once(void **state)
{
        Fixture *f = *state;

        on_fiber(f, many_fiber);
        assert_int_equal(see(f, 1).n_state[MESSAGE_DONE], MANY - 10);
        assert_int_equal(see(f, 1).size, 7 * (MANY - 10));
}

/* --- runs --- */

static int see_run(void *userdata, const RunRecord *run)
{
        uint64_t *last = userdata;

        assert_true(run->id < *last); /* the newest first */
        *last = run->id;
        assert_string_equal(run->text, "-ERR later");
        assert_int_equal(run->listed, run->started_usec + 1);
        assert_true(run->manual == (run->started_usec % 2));
        assert_true(run->started_usec % 2 ? !run->cause : text_equal(run->cause, "x.y"));
        assert_int_equal(run->ended_usec + run->fresh + run->skipped + run->delivered +
                                 run->deleted + run->bytes,
                         2 + 3 + 4 + 5 + 6 + 7);
        return 0;
}

static int runs_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1), none = sample(9);
        MessageRecord records[2] = { { .uidl = OWN("a") }, { .uidl = OWN("b") } };
        uint64_t last = 0;

        assert_int_equal(insert(f, 1), 0);
        assert_int_equal(insert(f, 2), 0);
        assert_int_equal(store_messages_reserve(f->store, one.id, records, 2), 0);
        assert_int_equal(store_messages_stage(f->store, one.id, records, 2, NULL), 0);
        for (unsigned i = 0; i < LIMIT_HISTORY + 5; i++) {
                RunRecord run = { .started_usec = i,
                                  .ended_usec = 2,
                                  .cause = i % 2 ? NULL : OWN("x.y"),
                                  .text = OWN("-ERR later"),
                                  .listed = i + 1,
                                  .fresh = 3,
                                  .skipped = 4,
                                  .delivered = 5,
                                  .deleted = 6,
                                  .bytes = 7,
                                  .manual = i % 2 };
                uint64_t done = records[0].row, dropped = records[1].row;

                one.messages_fetched = i;
                assert_int_equal(store_run_end(f->store, &one, &run,
                                               &(MessageChanges){ .done = &done,
                                                                  .n_done = i == 3,
                                                                  .dropped = &dropped,
                                                                  .n_dropped = i == 4 }),
                                 0);
                assert_true(run.id > last);
                last = run.id;
        }
        assert_int_equal(store_run_end(f->store, &none, &(RunRecord){}, NULL), -ENOENT);
        return 0;
}

static int see_fetched(void *userdata, const AccountRecord *record)
{
        *(uint64_t *) userdata = MAX(*(uint64_t *) userdata, record->messages_fetched);
        return 0;
}

static void runs(void **state)
{
        Fixture *f = *state;
        uint64_t last = UINT64_MAX, fetched = 0;

        on_fiber(f, runs_fiber);
        assert_int_equal(store_runs(f->store, sample(1).id, 10, see_run, &last), 0);
        assert_int_equal(last, LIMIT_HISTORY + 5 - 9);
        last = UINT64_MAX;
        assert_int_equal(store_runs(f->store, sample(1).id, 100000, see_run, &last), 0);
        assert_int_equal(last, 6); /* five are gone */
        assert_int_equal(store_accounts(f->store, see_fetched, &fetched), 0);
        assert_int_equal(fetched, LIMIT_HISTORY + 4);
        assert_int_equal(see(f, 1).n, 1);
        assert_int_equal(see(f, 1).n_state[MESSAGE_DONE], 1);
        assert_int_equal(store_runs(f->store, sample(2).id, 10, see_run, &last), 0);
}

static int run_ids_fiber(void *arg)
{
        Fixture *f = arg;
        AccountRecord one = sample(1);
        RunRecord told = {}, plain = {};

        assert_int_equal(insert(f, 1), 0);
        told.id = store_next_run(f->store);
        assert_int_equal(store_run_end(f->store, &one, &plain, NULL), 0);
        assert_true(plain.id > told.id);
        plain.id = told.id;
        assert_int_equal(store_run_end(f->store, &one, &told, NULL), 0);
        assert_int_equal(told.id, plain.id); /* as it was told */
        assert_int_equal(store_run_end(f->store, &one, &told, NULL), -EEXIST);
        return 0;
}

static void run_ids_rise(void **state)
{
        Fixture *f = *state;
        uint64_t last;

        on_fiber(f, run_ids_fiber);
        last = ask(f, "SELECT max(number) FROM run");
        reopen(f);
        assert_true(store_next_run(f->store) > last);
}

/* --- everything goes with the account --- */

static int cascade_fiber(void *arg)
{
        runs_fiber(arg);
        return store_account_delete(((Fixture *) arg)->store, sample(1).id);
}

static void delete_takes_all_along(void **state)
{
        Fixture *f = *state;

        on_fiber(f, cascade_fiber);
        assert_int_equal(ask(f, "SELECT count(*) FROM account"), 1);
        assert_int_equal(ask(f, "SELECT (SELECT count(*) FROM message)"
                                " + (SELECT count(*) FROM run) + (SELECT count(*) FROM secret)"),
                         0);
}

/* --- the ledger --- */

static int ledger_fiber(void *arg)
{
        Fixture *f = arg;
        uint8_t a[32] = { 1 }, b[32] = { 2 };

        assert_int_equal(store_refused_logins(f->store, a), 0);
        assert_int_equal(store_refused_login_add(f->store, a), 0);
        assert_int_equal(store_refused_login_add(f->store, a), 0);
        assert_int_equal(store_refused_login_add(f->store, b), 0);
        assert_int_equal(store_refused_logins(f->store, a), 2);
        assert_int_equal(store_refused_logins(f->store, b), 1);
        assert_int_equal(store_refused_login_clear(f->store, a), 0);
        assert_int_equal(store_refused_login_clear(f->store, a), 0);
        assert_int_equal(store_refused_logins(f->store, a), 0);
        return 0;
}

static void ledger(void **state)
{
        Fixture *f = *state;
        uint8_t b[32] = { 2 };

        on_fiber(f, ledger_fiber);
        reopen(f);
        assert_int_equal(store_refused_logins(f->store, b), 1);
}

/* --- the group commit --- */

typedef struct Gate {
        sem_t reached, open;
        unsigned n_commits;
        bool wait, fail;
} Gate;

/* On the writer's thread. A value other than 0 makes SQLite undo the transaction. */
static int gate_hook(void *userdata)
{
        Gate *gate = userdata;

        gate->n_commits++;
        if (gate->wait) {
                gate->wait = false;
                sem_post(&gate->reached);
                while (sem_wait(&gate->open) < 0)
                        ;
        }
        return gate->fail;
}

static void gate_init(Gate *gate, Fixture *f)
{
        *gate = (Gate){};
        sem_init(&gate->reached, 0, 0);
        sem_init(&gate->open, 0, 0);
        sqlite3_commit_hook(f->store->writer.db, gate_hook, gate);
}

static void gate_deinit(Gate *gate, Fixture *f)
{
        sqlite3_commit_hook(f->store->writer.db, NULL, NULL);
        sem_destroy(&gate->reached);
        sem_destroy(&gate->open);
}

typedef struct Task {
        Fixture *f;
        unsigned number;
        int result;
} Task;

static int task_fiber(void *arg)
{
        Task *task = arg;

        task->result = insert(task->f, task->number);
        return 0;
}

enum { N_TASKS = 40 };

/* One commit that stands still, and behind it the jobs of many fibers. */
static void run_group(Fixture *f, Gate *gate, Task *tasks, bool fail)
{
        Fiber *fibers[N_TASKS] = {};

        for (unsigned i = 0; i < N_TASKS; i++) {
                tasks[i] = (Task){ .f = f, .number = i ? i : 50, .result = 1 };
                assert_int_equal(fiber_start(&fibers[i], "task", task_fiber, &tasks[i]), 0);
                if (i == 0) {
                        gate->wait = true;
                        check_settle(f->loop);
                        while (sem_wait(&gate->reached) < 0)
                                ;
                }
        }
        check_settle(f->loop); /* all are queued now */
        gate->fail = fail;
        sem_post(&gate->open);
        check_run(f->loop);
        for (unsigned i = 0; i < N_TASKS; i++)
                fiber_cancel(fibers[i]);
}

static void group_commit(void **state)
{
        Fixture *f = *state;
        Task tasks[N_TASKS];
        Gate gate;

        gate_init(&gate, f);
        run_group(f, &gate, tasks, false);
        for (unsigned i = 0; i < N_TASKS; i++)
                assert_int_equal(tasks[i].result, 0);
        assert_int_equal(gate.n_commits, 2);
        assert_int_equal(f->store->n_commits, 2);
        assert_int_equal(n_accounts(f), N_TASKS);
        gate_deinit(&gate, f);
}

static int insert_20_fiber(void *arg)
{
        return insert(arg, 20);
}

static void one_that_fails_goes_alone(void **state)
{
        Fixture *f = *state;
        Task tasks[N_TASKS];
        Gate gate;

        on_fiber(f, insert_20_fiber);
        gate_init(&gate, f);
        run_group(f, &gate, tasks, false);
        for (unsigned i = 0; i < N_TASKS; i++)
                assert_int_equal(tasks[i].result, i == 20 ? -EEXIST : 0);
        assert_int_equal(gate.n_commits, 2);
        assert_int_equal(n_accounts(f), N_TASKS);
        gate_deinit(&gate, f);
}

static void commit_that_fails(void **state)
{
        Fixture *f = *state;
        Task tasks[N_TASKS];
        Gate gate;

        gate_init(&gate, f);
        run_group(f, &gate, tasks, true);
        for (unsigned i = 0; i < N_TASKS; i++)
                assert_true(tasks[i].result < 0);
        assert_int_equal(n_accounts(f), 0);
        assert_int_equal(f->store->n_commits, 0);
        /* The next one is not hurt by it. */
        gate.fail = false;
        on_fiber(f, insert_20_fiber);
        assert_int_equal(n_accounts(f), 1);
        gate_deinit(&gate, f);
}

static void cancelled_while_it_commits(void **state)
{
        Task task = { .f = *state, .number = 1, .result = 1 };
        Fiber *fiber = NULL;
        Fixture *f = *state;
        Gate gate;

        gate_init(&gate, f);
        gate.wait = true;
        assert_int_equal(fiber_start(&fiber, "task", task_fiber, &task), 0);
        check_settle(f->loop);
        while (sem_wait(&gate.reached) < 0)
                ;
        fiber_cancel(fiber);
        assert_int_equal(task.result, -ECANCELED);
        sem_post(&gate.open);
        on_fiber(f, insert_20_fiber); /* one writer: the first is through when this is */
        assert_int_equal(n_accounts(f), 2);
        gate_deinit(&gate, f);
}

static int deadline_fiber(void *arg)
{
        Task *task = arg;
        FIBER_DEADLINE(10 * USEC_PER_MSEC);

        task->result = insert(task->f, task->number);
        return 0;
}

static void deadline_while_it_commits(void **state)
{
        Task task = { .f = *state, .number = 1, .result = 1 };
        _cleanup_(fiber_cancelp) Fiber *fiber = NULL;
        Fixture *f = *state;
        Gate gate;

        gate_init(&gate, f);
        gate.wait = true;
        assert_int_equal(fiber_start(&fiber, "task", deadline_fiber, &task), 0);
        check_run(f->loop);
        assert_int_equal(task.result, -ETIME);
        while (sem_wait(&gate.reached) < 0)
                ;
        sem_post(&gate.open);
        f->store = store_close(f->store); /* waits for it */
        assert_int_equal(ask(f, "SELECT count(*) FROM account"), 1);
        sem_destroy(&gate.reached);
        sem_destroy(&gate.open);
}

/* --- a full disk --- */

static int fill_fiber(void *arg)
{
        Fixture *f = arg;
        char uidl[2048];
        unsigned n = 0;
        int r = 0;

        memset(uidl, 'x', sizeof(uidl));
        uidl[sizeof(uidl) - 1] = 0;
        assert_int_equal(insert(f, 1), 0);
        while (r == 0 && n < 100000) {
                MessageRecord records[8];

                for (unsigned i = 0; i < ELEMENTS(records); i++)
                        records[i] = (MessageRecord){ .uidl = uidl, .occurrence = n + i };
                r = store_messages_reserve(f->store, sample(1).id, records, ELEMENTS(records));
                if (r == 0)
                        n += (unsigned) ELEMENTS(records);
        }
        assert_int_equal(r, -ENOSPC);
        assert_true(n > 0);
        assert_int_equal(see(f, 1).n, n); /* whole groups or nothing */
        return 0;
}

static int after_fill_fiber(void *arg)
{
        Fixture *f = arg;

        assert_int_equal(store_account_delete(f->store, sample(1).id), 0);
        return insert(f, 2);
}

static void full_disk(void **state)
{
        Fixture *f = *state;
        char filler[96];
        int fd;

        /* A mount namespace of our own; the suite runs as root. */
        assert_int_equal(unshare(CLONE_NEWNS), 0);
        assert_int_equal(mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL), 0);
        assert_int_equal(mount("tmpfs", f->directory, "tmpfs", 0, "size=1m,mode=700"), 0);
        /* A filler that can be removed: SQLite needs room also to delete. */
        snprintf(filler, sizeof(filler), "%s/filler", f->directory);
        fd = open(filler, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(posix_fallocate(fd, 0, 384 * 1024), 0);
        close(fd);
        assert_int_equal(store_open(&f->store, f->directory), 0);
        on_fiber(f, fill_fiber);
        assert_int_equal(unlink(filler), 0);
        on_fiber(f, after_fill_fiber);
        assert_int_equal(n_accounts(f), 1);
        reopen(f);
        assert_int_equal(n_accounts(f), 1);
        f->store = store_close(f->store);
        assert_int_equal(umount(f->directory), 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define OPEN(f) cmocka_unit_test_setup_teardown(f, setup_open, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                CASE(file_and_modes),
                CASE(missing_directory_is_made),
                OPEN(settings),
                OPEN(one_service_only),
                CASE(version_0),
                CASE(newer_version_is_left_alone),
                CASE(migrations_in_steps),
                CASE(approvals_of_before),
                CASE(damaged),
                CASE(a_link_is_no_database),
                OPEN(accounts),
                OPEN(every_field),
                OPEN(each_can_stop),
                OPEN(secrets),
                OPEN(messages),
                OPEN(message_values),
                OPEN(rows_are_never_reused),
                OPEN(thousands_at_once),
                OPEN(runs),
                OPEN(run_ids_rise),
                OPEN(delete_takes_all_along),
                OPEN(ledger),
                OPEN(group_commit),
                OPEN(one_that_fails_goes_alone),
                OPEN(commit_that_fails),
                OPEN(cancelled_while_it_commits),
                OPEN(deadline_while_it_commits),
                CASE(full_disk),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
