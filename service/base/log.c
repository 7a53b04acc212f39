/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See log.h. The level and the kind of standard error are asked for once; they are global because logging is. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "base/log.h"
#include "base/text.h"

enum { LOG_FIELDS_MAX = 16, LOG_TEXT_MAX = 2048 };

static int the_level = LOG_INFO;

void log_set_level(int level)
{
        the_level = level;
}

int log_level(void)
{
        return the_level;
}

int log_level_from_text(const char *text, int *ret)
{
        static const char *const names[] = { "emerg",   "alert",  "crit", "err",
                                             "warning", "notice", "info", "debug" };

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (text_equal(names[i], text)) {
                        *ret = (int) i;
                        return 0;
                }
        return -EINVAL;
}

/* systemd tells in JOURNAL_STREAM which device and inode its own pipe to the journal has. */
static bool stderr_is_journal(void)
{
        const char *stream = getenv("JOURNAL_STREAM");
        unsigned long long device, inode;
        struct stat st;

        return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
               fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

static void log_to_journal(int level, const LogField *fields, const char *message)
{
        struct iovec iov[LOG_FIELDS_MAX + 2];
        char *owned[LOG_FIELDS_MAX + 2];
        int n = 0;

        if (asprintf(&owned[n], "MESSAGE=%s", message) >= 0)
                n++;
        if (asprintf(&owned[n], "PRIORITY=%d", level) >= 0)
                n++;
        for (const LogField *f = fields; f && f->name && n < LOG_FIELDS_MAX; f++)
                if (f->value && asprintf(&owned[n], "%s=%s", f->name, f->value) >= 0)
                        n++;
        for (int i = 0; i < n; i++)
                iov[i] = (struct iovec){ owned[i], strlen(owned[i]) };
        (void) sd_journal_sendv(iov, n);
        for (int i = 0; i < n; i++)
                free(owned[i]);
}

static void log_to_stderr(int level, const LogField *fields, const char *message)
{
        char line[2 * LOG_TEXT_MAX];
        size_t len;

        len = (size_t) snprintf(line, sizeof(line) - 1, "<%d>waypostd: %s", level, message);
        len = MIN(len, sizeof(line) - 2);
        for (const LogField *f = fields; f && f->name; f++) {
                size_t room = sizeof(line) - 1 - len;
                int n;

                if (!f->value)
                        continue;
                n = snprintf(line + len, room, " %s=", f->name);
                if (n < 0 || (size_t) n >= room)
                        break;
                len += (size_t) n;
                /* A line end in it would begin a line that we never said. */
                len += text_printable(line + len, room - (size_t) n, f->value, strlen(f->value));
        }
        line[len++] = '\n';
        if (write(STDERR_FILENO, line, len) < 0)
                return; /* nobody left to tell */
}

static void log_text(int level, const LogField *fields, const char *text)
{
        char message[LOG_TEXT_MAX];
        int e = errno;

        text_printable(message, sizeof(message), text, strlen(text));
        if (stderr_is_journal())
                log_to_journal(level, fields, message);
        else
                log_to_stderr(level, fields, message);
        errno = e;
}

void log_write(int level, const LogField *fields, const char *format, ...)
{
        char text[LOG_TEXT_MAX];
        va_list ap;

        if (level > the_level)
                return;
        va_start(ap, format);
        vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        log_text(level, fields, text);
}

int log_fault_(int error, const char *format, ...)
{
        char text[LOG_TEXT_MAX];
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (n >= 0 && (size_t) n < sizeof(text))
                snprintf(text + n, sizeof(text) - (size_t) n, ": %s",
                         strerrordesc_np(error < 0 ? -error : error));
        if (the_level >= LOG_ERR)
                log_text(LOG_ERR, NULL, text);
        return error;
}
