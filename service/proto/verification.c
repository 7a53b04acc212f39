/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See verification.h. Matching looks at the message's own header for the token, never at the body, except for delivery
 * reports: what is ours may be deleted from the server, so a mail that only quotes ours must not be taken for it. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/buffer.h"
#include "base/digest.h"
#include "base/limits.h"
#include "base/text.h"
#include "proto/verification.h"

enum { TOKEN_LEN = 32, MESSAGE_MAX = 8192, VALUE_MAX = 2048 };

/* RFC 5322 section 3.3. strftime() would speak the locale's language. */
static int append_date(Buffer *to, uint64_t real_usec)
{
        static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
        static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
        time_t seconds = (time_t) (real_usec / USEC_PER_SEC);
        struct tm tm;

        if (!gmtime_r(&seconds, &tm))
                return -EINVAL;
        return buffer_printf(to, "Date: %s, %d %s %d %02d:%02d:%02d +0000\n", days[tm.tm_wday],
                             tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour,
                             tm.tm_min, tm.tm_sec);
}

/* The Message-ID names the domain of the address, not this machine. RFC 3834 section 5 keeps answering machines still. */
static int append_header(Buffer *to, const VerificationMail *mail, const char *address,
                         uint64_t real_usec)
{
        const char *at = strrchr(address, '@');
        int r;

        r = append_date(to, real_usec);
        if (r < 0)
                return r;
        return buffer_printf(to,
                             "From: <%s>\n"
                             "To: <%s>\n"
                             "Subject: waypost checks this mailbox\n"
                             "Message-ID: <waypost-check.%s@%s>\n"
                             "X-Waypost-Check: %s\n"
                             "Auto-Submitted: auto-generated\n"
                             "MIME-Version: 1.0\n"
                             "Content-Type: text/plain; charset=utf-8\n"
                             "Content-Transfer-Encoding: 7bit\n"
                             "\n",
                             address, address, mail->token, at ? at + 1 : "localhost.invalid",
                             mail->token);
}

static int append_body(Buffer *to, const VerificationMail *mail)
{
        return buffer_printf(
                to,
                "Hello,\n"
                "\n"
                "a mail account was just set up with waypost, and this message went from the\n"
                "account to itself. That it has come shows that mail leaves and arrives.\n"
                "\n"
                "If waypost asks for a code, it is this one:\n"
                "\n"
                "    %s\n"
                "\n"
                "Otherwise nothing is to be done. You may delete this message.\n"
                "\n"
                "If it was not you who set up the account, somebody else knows its password:\n"
                "please change it.\n",
                mail->code);
}

int verification_format(VerificationMail *ret, const char *address, const uint8_t random[16],
                        uint64_t code_random, uint64_t real_usec)
{
        _cleanup_buffer_ Buffer text = BUFFER(MESSAGE_MAX);
        VerificationMail mail = {};
        int r;

        /* An address with a line end would write header fields of its own. */
        if (!text_is_clean(address, strlen(address)))
                return -EINVAL;
        hex_encode(mail.token, random, TOKEN_LEN / 2);
        snprintf(mail.code, sizeof(mail.code), "%06u", (unsigned) (code_random % 1000000));
        r = append_header(&text, &mail, address, real_usec);
        if (r < 0)
                return r;
        r = append_body(&text, &mail);
        if (r < 0)
                return r;
        mail.len = text.len;
        r = buffer_take(&text, &mail.message);
        if (r < 0)
                return r;
        *ret = mail;
        return 0;
}

void verification_deinit(VerificationMail *mail)
{
        free(mail->message);
        *mail = (VerificationMail){};
}

/* --- recognising -------------------------------------------------------------------------------------------- */

typedef struct Head {
        const char *p;
        size_t len;
} Head;

typedef struct Field {
        char name[40];
        char value[VALUE_MAX]; /* unfolded: line ends dropped, the blanks behind them kept */
        size_t value_len;
} Field;

/* The next line without LF and without the CRs before it. False at the end. */
static bool head_line(Head *head, const char **ret, size_t *ret_len)
{
        const char *lf;
        size_t n;

        if (head->len == 0)
                return false;
        lf = memchr(head->p, '\n', head->len);
        n = lf ? (size_t) (lf - head->p) : head->len;
        *ret = head->p;
        *ret_len = n;
        while (*ret_len > 0 && (*ret)[*ret_len - 1] == '\r')
                (*ret_len)--;
        head->p += n + (lf != NULL);
        head->len -= n + (lf != NULL);
        return true;
}

static void field_append(Field *field, const char *p, size_t len)
{
        size_t n = MIN(len, sizeof(field->value) - 1 - field->value_len);

        memcpy(field->value + field->value_len, p, n);
        field->value_len += n;
        field->value[field->value_len] = 0;
}

/* The next field, its continuation lines joined (RFC 5322 section 2.2.3). A line that is no field gives one without a
 * name. False at the empty line and at the end. */
static bool head_field(Head *head, Field *field)
{
        const char *line, *colon;
        size_t len, n;

        if (!head_line(head, &line, &len) || len == 0)
                return false;
        colon = memchr(line, ':', len);
        n = colon ? (size_t) (colon - line) : 0;
        while (n > 0 && (line[n - 1] == ' ' || line[n - 1] == '\t'))
                n--;
        n = n < sizeof(field->name) ? n : 0;
        memcpy(field->name, line, n);
        field->name[n] = 0;
        field->value_len = 0;
        if (colon)
                field_append(field, colon + 1, len - (size_t) (colon + 1 - line));
        while (head->len > 0 && (*head->p == ' ' || *head->p == '\t') &&
               head_line(head, &line, &len))
                field_append(field, line, len);
        return true;
}

static bool holds(const char *haystack, size_t len, const char *needle)
{
        size_t n = strlen(needle);

        for (size_t i = 0; i + n <= len; i++) {
                size_t j = 0;

                while (j < n && (haystack[i + j] == needle[j] ||
                                 (haystack[i + j] >= 'A' && haystack[i + j] <= 'Z' &&
                                  haystack[i + j] + 32 == needle[j])))
                        j++;
                if (j == n)
                        return true;
        }
        return false;
}

/* Some servers replace the Message-ID and keep the old one: "X-Microsoft-Original-Message-ID", "X-Original-Message-ID". */
static bool names_message_id(const char *name)
{
        return text_equal_nocase(name, "Message-ID") ||
               (text_starts_nocase(name, "X-") && text_ends_nocase(name, "Original-Message-ID"));
}

static bool is_null_path(const Field *field)
{
        const char *p = field->value + strspn(field->value, " \t");

        return p[0] == '<' && p[1 + strspn(p + 1, " \t")] == '>';
}

VerificationMatch verification_match(const char *head, size_t len, const char *token)
{
        Head rest = { head, len };
        Field field = {};
        bool ours = false, report = false;

        if (strlen(token) != TOKEN_LEN)
                return VERIFICATION_NO;
        while (head_field(&rest, &field)) {
                if (text_equal_nocase(field.name, "X-Waypost-Check") ||
                    names_message_id(field.name))
                        ours = ours || holds(field.value, field.value_len, token);
                else if (text_equal_nocase(field.name, "Content-Type"))
                        report = report || holds(field.value, field.value_len, "multipart/report");
                else if (text_equal_nocase(field.name, "Return-Path"))
                        report = report || is_null_path(&field);
        }
        if (report)
                return holds(head, len, token) ? VERIFICATION_BOUNCE : VERIFICATION_NO;
        return ours ? VERIFICATION_OURS : VERIFICATION_NO;
}
