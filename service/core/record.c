/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See record.h. */
#include <stdio.h>

#include "base/text.h"
#include "core/record.h"

const char *keep_text(const AccountRecord *record, char to[KEEP_TEXT])
{
        switch (record->keep) {
        case KEEP_ON_SERVER:
                snprintf(to, KEEP_TEXT, "server");
                break;
        case KEEP_NOT:
                snprintf(to, KEEP_TEXT, "none");
                break;
        case KEEP_DAYS:
                snprintf(to, KEEP_TEXT, "%ud", (unsigned) record->keep_days);
                break;
        }
        return to;
}

void account_record_deinit(AccountRecord *record)
{
        free(record->user_name);
        free(record->address);
        free(record->display_name);
        free(record->location);
        free(record->delivery);
        free(record->folders);
        free(record->cause);
        endpoint_deinit(&record->incoming);
        endpoint_deinit(&record->outgoing);
        *record = (AccountRecord){};
}

int account_record_copy(AccountRecord *to, const AccountRecord *from)
{
        _cleanup_(account_record_deinit) AccountRecord copy = *from;

        copy.user_name = copy.address = copy.display_name = copy.location = copy.cause =
                copy.delivery = copy.folders = NULL;
        copy.incoming = copy.outgoing = (Endpoint){};
        if (text_set(&copy.user_name, from->user_name) < 0 ||
            text_set(&copy.address, from->address) < 0 ||
            text_set(&copy.display_name, from->display_name) < 0 ||
            text_set(&copy.location, from->location) < 0 ||
            text_set(&copy.cause, from->cause) < 0 ||
            text_set(&copy.delivery, from->delivery) < 0 ||
            text_set(&copy.folders, from->folders) < 0 ||
            endpoint_copy(&copy.incoming, &from->incoming) < 0 ||
            endpoint_copy(&copy.outgoing, &from->outgoing) < 0)
                return -ENOMEM;
        account_record_deinit(to);
        *to = copy;
        copy = (AccountRecord){};
        return 0;
}

void run_record_deinit(RunRecord *record)
{
        free(record->cause);
        free(record->text);
        free(record->notes);
        *record = (RunRecord){};
}

void message_record_deinit(MessageRecord *record)
{
        free(record->uidl);
        free(record->reason);
        free(record->folder);
        *record = (MessageRecord){};
}

void certificate_record_deinit(CertificateRecord *record)
{
        free(record->host);
        *record = (CertificateRecord){};
}

int certificate_record_copy(CertificateRecord *to, const CertificateRecord *from)
{
        CertificateRecord copy = *from;

        copy.host = NULL;
        if (text_set(&copy.host, from->host) < 0)
                return -ENOMEM;
        certificate_record_deinit(to);
        *to = copy;
        return 0;
}
