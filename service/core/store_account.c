/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Accounts and their sealed secrets. An account is addressed by its random id; rows of other tables refer to its number. */
#include <string.h>

#include "base/text.h"
#include "core/store_internal.h"

#define ACCOUNT_COLUMNS                                                                            \
        "id, uid, user_name, address, display_name, incoming_protocol, incoming_host, "            \
        "incoming_port, incoming_security, incoming_user, incoming_spki, outgoing_protocol, "      \
        "outgoing_host, outgoing_port, outgoing_security, outgoing_user, outgoing_spki, "          \
        "same_secret, keep, interval_usec, poll_minimum_usec, location, can_send, paused, cause, " \
        "since_usec, last_success_usec, created_usec, failures, messages_fetched, bytes_fetched, " \
        "keep_days, delivery, folders"

/* In the order of the columns. */
#define ACCOUNT_VALUES(a)                                                                          \
        VALUES(TEXT((a)->id), NUMBER((a)->uid), TEXT((a)->user_name), TEXT((a)->address),          \
               TEXT((a)->display_name), TEXT(protocol_name((a)->incoming.protocol)),               \
               TEXT((a)->incoming.host), NUMBER((a)->incoming.port),                               \
               TEXT(security_name((a)->incoming.security)), TEXT((a)->incoming.user),              \
               TEXT((a)->incoming.approved_spki), TEXT(protocol_name((a)->outgoing.protocol)),     \
               TEXT((a)->outgoing.host), NUMBER((a)->outgoing.port),                               \
               TEXT(security_name((a)->outgoing.security)), TEXT((a)->outgoing.user),              \
               TEXT((a)->outgoing.approved_spki), NUMBER((a)->same_secret), NUMBER((a)->keep),     \
               NUMBER((a)->interval_usec), NUMBER((a)->poll_minimum_usec), TEXT((a)->location),    \
               NUMBER((a)->can_send), NUMBER((a)->paused), TEXT((a)->cause),                       \
               NUMBER((a)->since_usec), NUMBER((a)->last_success_usec), NUMBER((a)->created_usec), \
               NUMBER((a)->failures), NUMBER((a)->messages_fetched), NUMBER((a)->bytes_fetched),   \
               NUMBER((a)->keep_days), TEXT((a)->delivery), TEXT((a)->folders))

/* --- reading --- */

/* A word that this program does not know was written by none: the file is damaged. */
static int endpoint_read(sqlite3_stmt *statement, int column, Endpoint *to)
{
        static const Protocol protocols[] = { PROTOCOL_POP3, PROTOCOL_SMTP, PROTOCOL_IMAP };
        const char *protocol = column_text(statement, column);
        const char *security = column_text(statement, column + 3);
        bool known = false;

        for (size_t i = 0; i < ELEMENTS(protocols) && !known; i++)
                if (text_equal(protocol, protocol_name(protocols[i]))) {
                        to->protocol = protocols[i];
                        known = true;
                }
        if (!known || security_from_name(security, &to->security) < 0)
                return -EBADMSG;
        to->port = (uint16_t) column_number(statement, column + 2);
        if (text_set(&to->host, column_text(statement, column + 1)) < 0 ||
            text_set(&to->user, column_text(statement, column + 4)) < 0 ||
            text_set(&to->approved_spki, column_text(statement, column + 5)) < 0)
                return -ENOMEM;
        return 0;
}

static int account_read_texts(sqlite3_stmt *s, AccountRecord *to)
{
        const char *id = column_text(s, 0);

        if (!id || strlen(id) != ID_SIZE - 1)
                return -EBADMSG;
        memcpy(to->id, id, ID_SIZE);
        if (text_set(&to->user_name, column_text(s, 2)) < 0 ||
            text_set(&to->address, column_text(s, 3)) < 0 ||
            text_set(&to->display_name, column_text(s, 4)) < 0 ||
            text_set(&to->location, column_text(s, 21)) < 0 ||
            text_set(&to->cause, column_text(s, 24)) < 0 ||
            text_set(&to->delivery, column_text(s, 32)) < 0 ||
            text_set(&to->folders, column_text(s, 33)) < 0)
                return -ENOMEM;
        return 0;
}

static void account_read_numbers(sqlite3_stmt *s, AccountRecord *to)
{
        to->uid = (uid_t) column_number(s, 1);
        to->same_secret = column_number(s, 17);
        to->keep = (Keep) MIN(column_number(s, 18), (uint64_t) KEEP_DAYS);
        to->interval_usec = column_number(s, 19);
        to->poll_minimum_usec = column_number(s, 20);
        to->can_send = column_number(s, 22);
        to->paused = column_number(s, 23);
        to->since_usec = column_number(s, 25);
        to->last_success_usec = column_number(s, 26);
        to->created_usec = column_number(s, 27);
        to->failures = column_number(s, 28);
        to->messages_fetched = column_number(s, 29);
        to->bytes_fetched = column_number(s, 30);
        to->keep_days = column_number(s, 31);
}

static int account_read(sqlite3_stmt *statement, AccountRecord *to)
{
        int r;

        account_read_numbers(statement, to);
        r = account_read_texts(statement, to);
        if (r < 0)
                return r;
        r = endpoint_read(statement, 5, &to->incoming);
        return r < 0 ? r : endpoint_read(statement, 11, &to->outgoing);
}

int store_accounts(Store *store, int (*each)(void *userdata, const AccountRecord *record),
                   void *userdata)
{
        static const char sql[] = "SELECT " ACCOUNT_COLUMNS " FROM account ORDER BY number";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, NULL, 0);
        while (r >= 0) {
                _cleanup_(account_record_deinit) AccountRecord record = {};

                r = statement_step(&store->reader, statement);
                if (r <= 0)
                        break;
                r = account_read(statement, &record);
                if (r == 0)
                        r = each(userdata, &record);
        }
        return r;
}

static int sealed_read(Store *store, sqlite3_stmt *statement, Buffer *to)
{
        int r = statement_step(&store->reader, statement);

        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return buffer_append(to, sqlite3_column_blob(statement, 0),
                             (size_t) sqlite3_column_bytes(statement, 0));
}

int store_secret(Store *store, const char *id, const char *side, Buffer *to)
{
        static const char sql[] = "SELECT sealed FROM secret WHERE side = ?2"
                                  " AND account = (SELECT number FROM account WHERE id = ?1)";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, VALUES(TEXT(id), TEXT(side)));
        return r < 0 ? r : sealed_read(store, statement, to);
}

int store_granted(Store *store, int (*each)(void *userdata, const char *id), void *userdata)
{
        static const char sql[] = "SELECT account.id FROM oauth_grant JOIN account"
                                  " ON account.number = oauth_grant.account";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, NULL, 0);
        while (r >= 0) {
                r = statement_step(&store->reader, statement);
                if (r <= 0)
                        break;
                r = each(userdata, column_text(statement, 0));
        }
        return r;
}

int store_grant(Store *store, const char *id, Buffer *to)
{
        static const char sql[] = "SELECT sealed FROM oauth_grant"
                                  " WHERE account = (SELECT number FROM account WHERE id = ?1)";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, VALUES(TEXT(id)));
        return r < 0 ? r : sealed_read(store, statement, to);
}

/* --- writing --- */

typedef struct Sealed {
        void *data;
        size_t len;
        bool given;
} Sealed;

typedef struct AccountJob {
        StoreJob base;
        AccountRecord record;
        Sealed sides[2], grant;
} AccountJob;

static const char *const side_names[] = { "incoming", "outgoing" };

static void account_job_deinit(StoreJob *base)
{
        AccountJob *job = (AccountJob *) base;

        account_record_deinit(&job->record);
        free(job->sides[SIDE_INCOMING].data);
        free(job->sides[SIDE_OUTGOING].data);
        free(job->grant.data);
}

static int sealed_copy(Sealed *to, const void *data, size_t len)
{
        if (!data)
                return 0;
        to->data = malloc(MAX(len, (size_t) 1));
        if (!to->data)
                return -ENOMEM;
        memcpy(to->data, data, len);
        to->len = len;
        to->given = true;
        return 0;
}

/* A job with copies of what is given; NULL without memory. */
static AccountJob *account_job_new(Store *store, int (*work)(Connection *, StoreJob *),
                                   const AccountRecord *record, const SealedSecrets *secrets)
{
        AccountJob *job = store_job_new(store, sizeof(*job), work, account_job_deinit);

        if (!job)
                return NULL;
        if (account_record_copy(&job->record, record) < 0 ||
            (secrets && (sealed_copy(&job->sides[SIDE_INCOMING], secrets->incoming,
                                     secrets->incoming_len) < 0 ||
                         sealed_copy(&job->sides[SIDE_OUTGOING], secrets->outgoing,
                                     secrets->outgoing_len) < 0 ||
                         sealed_copy(&job->grant, secrets->grant, secrets->grant_len) < 0))) {
                store_job_unrefp(&job);
                return NULL;
        }
        return job;
}

static int grant_write(Connection *writer, uint64_t account, const Sealed *grant)
{
        static const char put[] = "INSERT INTO oauth_grant (account, sealed) VALUES (?1, ?2)"
                                  " ON CONFLICT (account) DO UPDATE SET sealed = ?2";
        static const char drop[] = "DELETE FROM oauth_grant WHERE account = ?1";

        if (!grant->given)
                return 0;
        return grant->len > 0
                       ? statement_run(writer, put,
                                       VALUES(NUMBER(account), BLOB(grant->data, grant->len)))
                       : statement_run(writer, drop, VALUES(NUMBER(account)));
}

static int secrets_write(Connection *writer, uint64_t account, const AccountJob *job)
{
        static const char put[] = "INSERT INTO secret (account, side, sealed) VALUES (?1, ?2, ?3)"
                                  " ON CONFLICT (account, side) DO UPDATE SET sealed = ?3";
        static const char drop[] = "DELETE FROM secret WHERE account = ?1 AND side = ?2";
        int r = 0;

        for (size_t i = 0; i < ELEMENTS(side_names) && r >= 0; i++) {
                const Sealed *side = &job->sides[i];

                if (side->given && side->len > 0)
                        r = statement_run(writer, put,
                                          VALUES(NUMBER(account), TEXT(side_names[i]),
                                                 BLOB(side->data, side->len)));
                else if (side->given)
                        r = statement_run(writer, drop,
                                          VALUES(NUMBER(account), TEXT(side_names[i])));
        }
        if (r >= 0)
                r = grant_write(writer, account, &job->grant);
        return MIN(r, 0);
}

static int account_insert_work(Connection *writer, StoreJob *base)
{
        static const char sql[] = "INSERT INTO account (" ACCOUNT_COLUMNS ") VALUES"
                                  " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
                                  " ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26,"
                                  " ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34)";
        AccountJob *job = (AccountJob *) base;
        int r;

        r = statement_run(writer, sql, ACCOUNT_VALUES(&job->record));
        if (r < 0)
                return r;
        return secrets_write(writer, (uint64_t) sqlite3_last_insert_rowid(writer->db), job);
}

int account_write(Connection *writer, const AccountRecord *record)
{
        static const char sql[] = "UPDATE account SET (" ACCOUNT_COLUMNS ") ="
                                  " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14,"
                                  " ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26,"
                                  " ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34) WHERE id = ?1";
        int r;

        r = statement_run(writer, sql, ACCOUNT_VALUES(record));
        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

static int account_update_work(Connection *writer, StoreJob *base)
{
        return account_write(writer, &((AccountJob *) base)->record);
}

static int account_secrets_work(Connection *writer, StoreJob *base)
{
        AccountJob *job = (AccountJob *) base;
        uint64_t account;
        int r;

        r = account_number(writer, job->record.id, &account);
        return r < 0 ? r : secrets_write(writer, account, job);
}

/* What belongs to it goes by ON DELETE CASCADE. */
static int account_delete_work(Connection *writer, StoreJob *base)
{
        static const char sql[] = "DELETE FROM account WHERE id = ?1";
        int r;

        r = statement_run(writer, sql, VALUES(TEXT(((AccountJob *) base)->record.id)));
        return r < 0 ? r : r == 0 ? -ENOENT : 0;
}

static int account_job_run(Store *store, int (*work)(Connection *, StoreJob *),
                           const AccountRecord *record, const SealedSecrets *secrets)
{
        _cleanup_(store_job_unrefp) AccountJob *job = account_job_new(store, work, record, secrets);

        return job ? store_job_run(store, &job->base) : -ENOMEM;
}

/* A record that carries the id alone. Returns -ENOENT for what can be no id. */
static int record_of_id(AccountRecord *to, const char *id)
{
        if (strlen(id) != ID_SIZE - 1)
                return -ENOENT;
        *to = (AccountRecord){};
        memcpy(to->id, id, ID_SIZE);
        return 0;
}

int store_account_insert(Store *store, const AccountRecord *record, const SealedSecrets *secrets)
{
        return account_job_run(store, account_insert_work, record, secrets);
}

int store_account_update(Store *store, const AccountRecord *record)
{
        return account_job_run(store, account_update_work, record, NULL);
}

int store_account_set_secrets(Store *store, const char *id, const SealedSecrets *secrets)
{
        AccountRecord record;
        int r = record_of_id(&record, id);

        return r < 0 ? r : account_job_run(store, account_secrets_work, &record, secrets);
}

int store_account_delete(Store *store, const char *id)
{
        AccountRecord record;
        int r = record_of_id(&record, id);

        return r < 0 ? r : account_job_run(store, account_delete_work, &record, NULL);
}
