/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text for people. */
#include "cli/text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

/* The length of the UTF-8 character at @s and its code point; 0 when it is none. */
static size_t decode(const char *s, uint32_t *ret)
{
        static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *b = (const unsigned char *) s;
        size_t len = b[0] < 0x80   ? 1
                     : b[0] < 0xc2 ? 0
                     : b[0] < 0xe0 ? 2
                     : b[0] < 0xf0 ? 3
                     : b[0] < 0xf5 ? 4
                                   : 0;
        uint32_t c = len == 1 ? b[0] : b[0] & (0xffU >> (len + 1));

        for (size_t i = 1; i < len; i++) {
                if ((b[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (b[i] & 0x3f);
        }
        if (len == 0 || c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;
        *ret = c;
        return len;
}

bool text_is_utf8(const char *text)
{
        uint32_t c;

        while (*text) {
                size_t len = decode(text, &c);

                if (len == 0)
                        return false;
                text += len;
        }
        return true;
}

static bool steers(uint32_t c)
{
        return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x200e || c == 0x200f ||
               (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0x61c ||
               c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) || c >= 0xe0000;
}

char *text_printable(const char *text)
{
        char *copy = malloc(strlen(text) + 1), *to = copy;

        if (!copy)
                return NULL;
        while (*text) {
                uint32_t c = 0;
                size_t len = decode(text, &c);

                if (len == 0 || steers(c)) {
                        *to++ = c == '\t' ? ' ' : '?';
                        text += len ?: 1;
                        continue;
                }
                memcpy(to, text, len);
                to += len;
                text += len;
        }
        *to = '\0';
        return copy;
}

void text_to_ascii(char *text)
{
        char *to = text;

        for (const char *from = text; *from; from++)
                if ((*from & 0x80) == 0)
                        *to++ = *from;
                else if ((*from & 0xc0) == 0xc0)
                        *to++ = '?';
        *to = '\0';
}

size_t text_character(const char *text, unsigned *ret_columns)
{
        uint32_t c = 0;
        size_t len;
        int columns;

        *ret_columns = 0;
        if (text[0] == '\033' && text[1] == '[') {
                len = 2 + strspn(text + 2, "0123456789;");
                return text[len] ? len + 1 : len;
        }
        len = decode(text, &c);
        columns = len > 1 ? wcwidth((wchar_t) c) : 1;
        *ret_columns = columns < 0 ? 1 : (unsigned) columns;
        return len ?: 1;
}

int text_width(const char *text)
{
        int width = 0;

        while (*text) {
                unsigned columns;

                text += text_character(text, &columns);
                width += (int) columns;
        }
        return width;
}

/* "2 min 3 s", and "2 min" rather than "2 min 0 s". */
static void two_units(char buffer[TEXT_SHORT], uint64_t much, const char *big, uint64_t rest,
                      const char *small)
{
        if (rest)
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " %s %" PRIu64 " %s", much, big, rest,
                         small);
        else
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " %s", much, big);
}

const char *text_duration(char buffer[TEXT_SHORT], uint64_t usec)
{
        if (usec < USEC_PER_MSEC)
                snprintf(buffer, TEXT_SHORT, "<1 ms");
        else if (usec < USEC_PER_SEC)
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " ms", usec / USEC_PER_MSEC);
        else if (usec < USEC_PER_MINUTE)
                snprintf(buffer, TEXT_SHORT, "%.2f s", (double) usec / USEC_PER_SEC);
        else if (usec < USEC_PER_HOUR)
                two_units(buffer, usec / USEC_PER_MINUTE, "min",
                          usec % USEC_PER_MINUTE / USEC_PER_SEC, "s");
        else
                two_units(buffer, usec / USEC_PER_HOUR, "h", usec % USEC_PER_HOUR / USEC_PER_MINUTE,
                          "min");
        return buffer;
}

const char *text_size(char buffer[TEXT_SHORT], uint64_t bytes)
{
        static const char units[] = "kMGTPE";
        double value = (double) bytes;
        size_t unit = 0;

        if (bytes < 1000) {
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " B", bytes);
                return buffer;
        }
        for (value /= 1000; value >= 999.95 && units[unit + 1]; unit++)
                value /= 1000;
        snprintf(buffer, TEXT_SHORT, "%.1f %cB", value, units[unit]);
        return buffer;
}

const char *text_span(char buffer[TEXT_SHORT], uint64_t usec)
{
        if (usec < USEC_PER_MINUTE)
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " s", usec / USEC_PER_SEC);
        else if (usec < USEC_PER_HOUR)
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " min", usec / USEC_PER_MINUTE);
        else if (usec < 2 * USEC_PER_DAY)
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " h", usec / USEC_PER_HOUR);
        else
                snprintf(buffer, TEXT_SHORT, "%" PRIu64 " days", usec / USEC_PER_DAY);
        return buffer;
}

const char *text_when(char buffer[TEXT_SHORT], uint64_t when, uint64_t now)
{
        char span[TEXT_SHORT];

        if (when == 0 || when == UINT64_MAX) {
                snprintf(buffer, TEXT_SHORT, "never");
        } else if (when > now) {
                text_span(span, when - now);
                snprintf(buffer, TEXT_SHORT, "in %.32s", span);
        } else if (now - when < USEC_PER_SEC) {
                snprintf(buffer, TEXT_SHORT, "now");
        } else {
                text_span(span, now - when);
                snprintf(buffer, TEXT_SHORT, "%.32s ago", span);
        }
        return buffer;
}

const char *text_time(char buffer[TEXT_SHORT], uint64_t when)
{
        time_t seconds = (time_t) (when / USEC_PER_SEC);
        struct tm tm;

        if (!localtime_r(&seconds, &tm) || strftime(buffer, TEXT_SHORT, "%F %T", &tm) == 0)
                snprintf(buffer, TEXT_SHORT, "?");
        return buffer;
}

const char *text_count(char buffer[TEXT_SHORT], uint64_t n, const char *noun)
{
        snprintf(buffer, TEXT_SHORT, "%" PRIu64 " %.20s%s", n, noun, n == 1 ? "" : "s");
        return buffer;
}

uint64_t text_now(void)
{
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return (uint64_t) now.tv_sec * USEC_PER_SEC + (uint64_t) now.tv_nsec / 1000;
}

int text_to_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret)
{
        unsigned long long value;
        char *end;

        if (*text < '0' || *text > '9')
                return -EINVAL;
        errno = 0;
        value = strtoull(text, &end, 10);
        if (*end)
                return -EINVAL;
        if (errno || value < min || value > max)
                return -ERANGE;
        *ret = value;
        return 0;
}

unsigned text_distance(const char *a, const char *b)
{
        enum { MAX = 32 };
        unsigned row[MAX + 1];
        size_t n = strlen(a), m = strlen(b);

        if (n > MAX || m > MAX)
                return 4;
        for (size_t j = 0; j <= m; j++)
                row[j] = (unsigned) j;
        for (size_t i = 1; i <= n; i++) {
                unsigned diagonal = row[0];

                row[0] = (unsigned) i;
                for (size_t j = 1; j <= m; j++) {
                        unsigned best = diagonal + (a[i - 1] != b[j - 1]);

                        if (row[j] + 1 < best)
                                best = row[j] + 1;
                        if (row[j - 1] + 1 < best)
                                best = row[j - 1] + 1;
                        diagonal = row[j];
                        row[j] = best;
                }
        }
        return row[m] > 3 ? 4 : row[m];
}
