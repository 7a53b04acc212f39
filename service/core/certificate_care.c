/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The servers' certificates after handover: when they end, that a key changed, and until when an exception holds. A key that changes is
 * news, not an alarm, as long as the certificate verifies; one that does not verify is another cause, and the approval of
 * one key says nothing of the next. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "core/core_internal.h"
#include "dbus/names.h"

/* A changed key is told for so long. */
#define CHANGE_TOLD_USEC (7 * USEC_PER_DAY)

/* The forecast is told anew when it passes one of these. */
static const unsigned forecast_days[] = { 3, 14, 30 };

int account_load_certificates(Account *account)
{
        for (size_t i = 0; i < 2; i++) {
                CertificateRecord *c = &account->certificates[i];
                Endpoint *e = i == SIDE_INCOMING ? &account->record.incoming
                                                 : &account->record.outgoing;
                int r = store_certificate(account->core->store, account->record.id, (Side) i, c);

                if (r < 0 && r != -ENOENT)
                        return r;
                /* An approval without an end has lost it in a crash. */
                if (e->approved_spki)
                        e->approved_until_usec = r == 0 && c->approved_until_usec
                                                         ? c->approved_until_usec
                                                         : account->record.created_usec +
                                                                   APPROVAL_USEC;
        }
        return 0;
}

static uint64_t days_left(uint64_t usec)
{
        uint64_t now = clock_real();

        return usec > now ? (usec - now) / USEC_PER_DAY : 0;
}

/* 0: far away. */
static unsigned forecast_of(uint64_t not_after_usec)
{
        for (size_t i = 0; i < ELEMENTS(forecast_days) && not_after_usec; i++)
                if (days_left(not_after_usec) < forecast_days[i])
                        return forecast_days[i];
        return 0;
}

int account_certificate_warnings(const Account *account, char ***to)
{
        int r = 0;

        for (size_t i = 0; i < 2 && r == 0; i++) {
                const CertificateRecord *c = &account->certificates[i];

                if (!c->host)
                        continue;
                if (forecast_of(c->not_after_usec))
                        r = list_contains_nocase(*to, "tls.cert-expiring")
                                    ? 0
                                    : list_append(to, "tls.cert-expiring", 16);
                if (r == 0 && c->approved_until_usec && forecast_of(c->approved_until_usec))
                        r = list_append(to, "tls.approval-ending", 16);
                if (r == 0 && c->changed_usec && clock_real() - c->changed_usec < CHANGE_TOLD_USEC)
                        r = list_append(to, "tls.cert-key-changed", 16);
        }
        return r == -ENOBUFS ? 0 : r;
}

static void forecast_tell(Account *account, Side side)
{
        const CertificateRecord *c = &account->certificates[side];
        unsigned forecast = forecast_of(c->not_after_usec);

        if (forecast && forecast != account->forecast[side]) {
                log_write(LOG_WARNING,
                          (LogField[]){ { "WAYPOST_ACCOUNT", account->record.id }, {} },
                          "%s: the certificate of %s ends in %" PRIu64 " days",
                          account->record.address, c->host, days_left(c->not_after_usec));
                /* Whoever watches looks again, although the code stays the same. */
                account_changed(account, ACCOUNT_CHANGED_WARNINGS | ACCOUNT_CHANGED_SETTINGS);
        }
        account->forecast[side] = forecast;
}

static bool record_is(const CertificateRecord *a, const CertificateRecord *b)
{
        return text_equal_nocase(a->host, b->host) && strcmp(a->spki, b->spki) == 0 &&
               a->not_after_usec == b->not_after_usec &&
               a->approved_until_usec == b->approved_until_usec;
}

int account_note_certificate(Account *account, Side side, const CertificateSeen *seen)
{
        _cleanup_(certificate_record_deinit) CertificateRecord now = {};
        CertificateRecord *before = &account->certificates[side];
        const Endpoint *e = side == SIDE_INCOMING ? &account->record.incoming
                                                  : &account->record.outgoing;
        bool same_host;
        int r;

        if (!seen->spki || strlen(seen->spki) >= sizeof(now.spki) || !e->host)
                return 0;
        same_host = text_equal_nocase(before->host, e->host);
        memcpy(now.spki, seen->spki, strlen(seen->spki) + 1);
        now.not_after_usec = seen->not_after_usec;
        now.changed_usec = same_host ? before->changed_usec : 0;
        now.approved_until_usec = seen->approved ? e->approved_until_usec : 0;
        r = text_set(&now.host, e->host);
        if (r < 0)
                return r;
        if (!record_is(&now, before)) {
                if (same_host && strcmp(now.spki, before->spki) != 0) {
                        now.changed_usec = clock_real();
                        log_write(LOG_NOTICE,
                                  (LogField[]){ { "WAYPOST_ACCOUNT", account->record.id }, {} },
                                  "%s: %s has another key than before; its certificate verifies",
                                  account->record.address, now.host);
                }
                certificate_record_deinit(before);
                *before = now;
                now = (CertificateRecord){};
                r = certificate_record_copy(&now, before);
                if (r == 0)
                        r = store_certificate_put(account->core->store, account->record.id, side,
                                                  &now);
                account_changed(account, ACCOUNT_CHANGED_SETTINGS);
        }
        forecast_tell(account, SIDE_INCOMING);
        forecast_tell(account, SIDE_OUTGOING);
        return r;
}

int account_server_dict(const Account *account, Side side, Dict *to)
{
        const Endpoint *e = side == SIDE_INCOMING ? &account->record.incoming
                                                  : &account->record.outgoing;
        const CertificateRecord *c = &account->certificates[side];
        int r;

        if (!e->host)
                return 0;
        r = endpoint_to_dict(e, to);
        if (r < 0 || !c->host)
                return r;
        if ((r = dict_set_text(to, KEY_SPKI, c->spki)) < 0 ||
            (r = c->not_after_usec ? dict_set_number(to, KEY_NOT_AFTER, c->not_after_usec) : 0) <
                    0 ||
            (r = c->not_after_usec
                         ? dict_set_number(to, KEY_DAYS_LEFT, days_left(c->not_after_usec))
                         : 0) < 0 ||
            (r = c->changed_usec ? dict_set_number(to, KEY_CHANGED, c->changed_usec) : 0) < 0)
                return r;
        return c->approved_until_usec
                       ? dict_set_number(to, KEY_APPROVED_UNTIL, c->approved_until_usec)
                       : 0;
}
