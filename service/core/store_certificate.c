/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What servers showed last: a row for each side of an account. */
#include <string.h>

#include "base/text.h"
#include "core/store_internal.h"

static const char *const sides[] = { [SIDE_INCOMING] = "incoming", [SIDE_OUTGOING] = "outgoing" };

typedef struct CertificateJob {
        StoreJob base;
        char id[ID_SIZE];
        Side side;
        CertificateRecord record;
} CertificateJob;

static void certificate_job_deinit(StoreJob *base)
{
        certificate_record_deinit(&((CertificateJob *) base)->record);
}

static int certificate_read_row(sqlite3_stmt *s, CertificateRecord *to)
{
        const char *spki = column_text(s, 1);

        if (!spki || strlen(spki) >= sizeof(to->spki))
                return -EBADMSG;
        certificate_record_deinit(to);
        memcpy(to->spki, spki, strlen(spki) + 1);
        to->not_after_usec = column_number(s, 2);
        to->changed_usec = column_number(s, 3);
        to->approved_until_usec = column_number(s, 4);
        return text_set(&to->host, column_text(s, 0));
}

int store_certificate(Store *store, const char *id, Side side, CertificateRecord *ret)
{
        static const char sql[] =
                "SELECT host, spki, not_after_usec, changed_usec, approved_until_usec FROM certificate"
                " WHERE side = ?2 AND account = (SELECT number FROM account WHERE id = ?1)";
        _cleanup_(statement_resetp) sqlite3_stmt *statement = NULL;
        int r;

        r = statement_get(&statement, &store->reader, sql, VALUES(TEXT(id), TEXT(sides[side])));
        if (r < 0)
                return r;
        r = statement_step(&store->reader, statement);
        if (r <= 0)
                return r < 0 ? r : -ENOENT;
        return certificate_read_row(statement, ret);
}

static int certificate_put_work(Connection *writer, StoreJob *base)
{
        static const char sql[] =
                "INSERT INTO certificate (account, side, host, spki, not_after_usec, changed_usec, approved_until_usec)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (account, side) DO UPDATE SET"
                " host = ?3, spki = ?4, not_after_usec = ?5, changed_usec = ?6, approved_until_usec = ?7";
        CertificateJob *job = (CertificateJob *) base;
        const CertificateRecord *c = &job->record;
        uint64_t account;
        int r;

        r = account_number(writer, job->id, &account);
        if (r < 0)
                return r;
        r = statement_run(writer, sql,
                          VALUES(NUMBER(account), TEXT(sides[job->side]), TEXT(c->host),
                                 TEXT(c->spki), NUMBER(c->not_after_usec), NUMBER(c->changed_usec),
                                 NUMBER(c->approved_until_usec)));
        return MIN(r, 0);
}

int store_certificate_put(Store *store, const char *id, Side side, const CertificateRecord *record)
{
        _cleanup_(store_job_unrefp) CertificateJob *job = store_job_new(
                store, sizeof(*job), certificate_put_work, certificate_job_deinit);

        if (!job || certificate_record_copy(&job->record, record) < 0)
                return -ENOMEM;
        if (strlen(id) != ID_SIZE - 1)
                return -ENOENT;
        memcpy(job->id, id, ID_SIZE);
        job->side = side;
        return store_job_run(store, &job->base);
}
