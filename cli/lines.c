/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Text that is composed before it is shown. */
#include "cli/lines.h"

#include <stdarg.h>
#include <string.h>

#include "cli/text.h"

void lines_deinit(Lines *lines)
{
        for (size_t i = 0; i < lines->n; i++)
                free(lines->list[i].text);
        free(lines->list);
        *lines = (Lines){};
}

static void add(Lines *lines, int rank, char *text_take)
{
        struct Line *list = reallocarray(lines->list, lines->n + 1, sizeof(*list));

        if (!list) {
                free(text_take);
                return;
        }
        lines->list = list;
        list[lines->n++] = (struct Line){ .text = text_take, .rank = rank };
}

void lines_add(Lines *lines, int rank, const char *format, ...)
{
        va_list arguments;
        char *text;
        int n;

        va_start(arguments, format);
        n = vasprintf(&text, format, arguments);
        va_end(arguments);
        if (n >= 0)
                add(lines, rank, text);
}

/* How much of @text fits: up to the last blank before @columns, or one word that is too long for any line. */
static size_t fitting(const char *text, unsigned columns)
{
        size_t at = 0, blank = 0;
        unsigned used = 0;

        while (text[at]) {
                unsigned width;
                size_t len = text_character(text + at, &width);

                if (text[at] == ' ')
                        blank = at;
                if (used + width > columns && blank)
                        return blank;
                used += width;
                at += len;
        }
        return used > columns && blank ? blank : at;
}

void lines_wrap(Lines *lines, unsigned columns, const char *first, const char *text)
{
        unsigned indent = (unsigned) text_width(first);
        bool begun = false;

        do {
                size_t n = fitting(text, columns > indent + 10 ? columns - indent : 10);

                lines_add(lines, RANK_STAYS, "%*s%s%.*s", begun ? (int) indent : 0, "",
                          begun ? "" : first, (int) n, text);
                begun = true;
                text += n;
                text += strspn(text, " ");
        } while (*text);
}

static void drop(Lines *lines, size_t index)
{
        free(lines->list[index].text);
        lines->n--;
        memmove(lines->list + index, lines->list + index + 1,
                (lines->n - index) * sizeof(*lines->list));
}

static bool is_bare_heading(const Lines *lines, size_t index)
{
        const struct Line *line = lines->list + index;

        return line->rank == RANK_HEADING &&
               (index + 1 == lines->n || line[1].rank == RANK_HEADING || !*line[1].text);
}

void lines_shorten(Lines *lines, size_t most)
{
        for (int rank = RANK_PENDING; rank > RANK_STAYS; rank--)
                for (size_t i = 0; i < lines->n && lines->n > most;)
                        if (lines->list[i].rank == rank)
                                drop(lines, i);
                        else
                                i++;
        while (lines->n > most)
                drop(lines, 0);
        for (size_t i = lines->n; i-- > 0;)
                if (is_bare_heading(lines, i))
                        drop(lines, i);
}

void line_clip(FILE *to, const char *text, unsigned columns, const char *more)
{
        unsigned used = 0, width, room = columns;
        bool coloured = false;

        if (text_width(text) > (int) columns)
                room -= (unsigned) text_width(more);
        for (size_t len; *text; text += len) {
                len = text_character(text, &width);
                if (used + width > room)
                        break;
                used += width;
                coloured = coloured || *text == '\033';
                fwrite(text, 1, len, to);
        }
        if (*text)
                fprintf(to, "%s%s", more, coloured ? "\033[0m" : "");
}

void line_cut_list(char *text, unsigned columns)
{
        unsigned used = 0, width;
        char *comma = NULL;

        for (size_t len; *text; text += len) {
                len = text_character(text, &width);
                if (*text == ',' && text[1] == ' ')
                        comma = text;
                if (used + width > columns && comma) {
                        *comma = '\0';
                        return;
                }
                used += width;
        }
}
