/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The block at the lower end of the terminal. Only lines that have changed are sent, so that it is quick over a slow line, too. The few
 * sequences used (ECMA-48: up, right, erase) are the same on every terminal that is not dumb. No line is as wide as the
 * terminal: it would wrap on some and not on others. */
#include "cli/screen.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "cli/output.h"
#include "cli/text.h"

#define TICK_USEC (100 * USEC_PER_MSEC)

typedef struct Part {
        Painter paint; /* NULL: none */
        void *userdata;
} Part;

typedef struct Screen {
        Cli *cli;
        FILE *to;
        Part body, foot;
        Lines shown; /* as they stand there; the cursor is in the last one */
        unsigned cursor_column;
        unsigned columns, rows, phase;
        bool cursor_hidden;
        sd_event_source *tick, *resized, *stopped;
        struct termios before;
        bool silent; /* input is not echoed and comes by the byte */
} Screen;

/* --- the terminal ------------------------------------------------------------------------------------------------ */

/* Whether it has another size now. */
static bool read_size(Screen *screen)
{
        unsigned columns = screen->columns, rows = screen->rows;
        struct winsize size = {};

        (void) ioctl(fileno(screen->to), TIOCGWINSZ, &size);
        screen->columns = output_columns(screen->cli) + 1;
        screen->rows = size.ws_row >= 4 ? size.ws_row : size.ws_row ? 4 : 24;
        return columns != screen->columns || rows != screen->rows;
}

/* What is typed must not appear within the block. A process in the background would be stopped for trying. */
static void silence(Screen *screen)
{
        struct termios silent;

        if (screen->silent || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
            tcgetattr(STDIN_FILENO, &screen->before) < 0)
                return;
        silent = screen->before;
        silent.c_lflag &= ~(tcflag_t) (ECHO | ICANON);
        silent.c_cc[VMIN] = 1;
        silent.c_cc[VTIME] = 0;
        screen->silent = tcsetattr(STDIN_FILENO, TCSADRAIN, &silent) == 0;
}

static void restore(Screen *screen)
{
        if (screen->silent)
                (void) tcsetattr(STDIN_FILENO, TCSADRAIN, &screen->before);
        screen->silent = false;
}

static void show_cursor(Screen *screen, bool shown)
{
        if (screen->cursor_hidden == !shown)
                return;
        screen->cursor_hidden = !shown;
        fputs(shown ? "\033[?25h" : "\033[?25l", screen->to);
}

/* --- drawing ----------------------------------------------------------------------------------------------------- */

static void compose(Screen *screen, Canvas *canvas)
{
        const Part *parts[] = { &screen->body, &screen->foot };

        for (size_t i = 0; i < ELEMENTS(parts); i++)
                if (parts[i]->paint)
                        parts[i]->paint(parts[i]->userdata, canvas);
}

/* The lines as they shall stand there, cut to the width and fit for the locale. */
static void fit(Screen *screen, const Lines *from, Lines *to)
{
        const char *more = screen->cli->utf8 ? "\u2026" : "..";

        for (size_t i = 0; i < from->n; i++) {
                char *text = NULL;
                size_t size;
                FILE *memory = open_memstream(&text, &size);

                if (!memory)
                        return;
                line_clip(memory, from->list[i].text, screen->columns - 1, more);
                if (fclose(memory) == 0) {
                        if (!screen->cli->utf8)
                                text_to_ascii(text);
                        lines_add(to, RANK_STAYS, "%s", text);
                }
                free(text);
        }
}

static void forget_shown(Screen *screen)
{
        lines_deinit(&screen->shown);
        screen->cursor_column = 0;
}

static void go_to_top(Screen *screen)
{
        if (screen->shown.n > 1)
                fprintf(screen->to, "\033[%zuA", screen->shown.n - 1);
        fputc('\r', screen->to);
}

/* Line by line: some terminals keep what is erased as a whole among the lines that have scrolled away. */
static void erase(Screen *screen)
{
        if (screen->shown.n == 0)
                return;
        go_to_top(screen);
        for (size_t i = 0; i < screen->shown.n; i++)
                fprintf(screen->to, "%s\033[K", i ? "\r\n" : "");
        go_to_top(screen);
        forget_shown(screen);
}

static void draw(Screen *screen, Lines *lines)
{
        size_t before = screen->shown.n;

        if (before == 0)
                fputc('\r', screen->to);
        else
                go_to_top(screen);
        for (size_t i = 0; i < lines->n; i++) {
                bool last = i + 1 == lines->n, shrinks = last && before > lines->n;

                if (i >= before || shrinks ||
                    strcmp(lines->list[i].text, screen->shown.list[i].text))
                        fprintf(screen->to, "%s%s", lines->list[i].text,
                                shrinks ? "\033[J" : "\033[K");
                if (!last)
                        fputs("\r\n", screen->to);
        }
        screen->cursor_column = lines->n ? (unsigned) text_width(lines->list[lines->n - 1].text)
                                         : 0;
        fputc('\r', screen->to);
        if (screen->cursor_column)
                fprintf(screen->to, "\033[%uC", screen->cursor_column);
        lines_deinit(&screen->shown);
        screen->shown = *lines;
        *lines = (Lines){};
}

/* A narrower terminal has broken what stands there; where the cursor is now follows from the widths. */
static void erase_broken(Screen *screen)
{
        size_t up = 0;

        for (size_t i = 0; i < screen->shown.n; i++) {
                bool last = i + 1 == screen->shown.n;
                unsigned width = last ? screen->cursor_column
                                      : (unsigned) text_width(screen->shown.list[i].text);

                up += last    ? width / screen->columns
                      : width ? (width - 1) / screen->columns + 1
                              : 1;
        }
        if (up)
                fprintf(screen->to, "\033[%zuA", up);
        fputs("\r\033[J", screen->to);
        forget_shown(screen);
}

static bool stands_there(Screen *screen, const Lines *lines)
{
        if (lines->n != screen->shown.n)
                return false;
        for (size_t i = 0; i < lines->n; i++)
                if (strcmp(lines->list[i].text, screen->shown.list[i].text) != 0)
                        return false;
        return true;
}

static void paint(Screen *screen, bool final)
{
        Canvas canvas = { .cli = screen->cli, .phase = screen->phase, .final = final };
        _cleanup_lines_ Lines lines = {};

        /* Looked at each time: the signal may come when it is too late. */
        if (read_size(screen))
                erase_broken(screen);
        canvas.columns = screen->columns - 1;

        compose(screen, &canvas);
        if (!final)
                lines_shorten(&canvas.lines, screen->rows - 1);
        fit(screen, &canvas.lines, &lines);
        lines_deinit(&canvas.lines);
        /* More than the terminal has rows cannot be gone back over. */
        if (lines.n >= screen->rows)
                erase(screen);
        if (lines.n == 0)
                erase(screen);
        else if (!stands_there(screen, &lines))
                draw(screen, &lines);
        show_cursor(screen, final || screen->foot.paint);
        fflush(screen->to);
}

/* --- events ------------------------------------------------------------------------------------------------------ */

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
        Screen *screen = userdata;

        screen->phase++;
        paint(screen, false);
        (void) sd_event_source_set_time_relative(source, TICK_USEC);
        return 0;
}

static int on_resize(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        paint(userdata, false);
        return 0;
}

/* Ctrl-Z: the shell gets its terminal as it was, and we take it again afterwards. */
static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
        Screen *screen = userdata;
        bool silent = screen->silent;

        erase(screen);
        show_cursor(screen, true);
        fflush(screen->to);
        restore(screen);
        (void) raise(SIGSTOP);
        if (silent)
                silence(screen);
        paint(screen, false);
        return 0;
}

static int add_signal(Screen *screen, int number, sd_event_source **source,
                      sd_event_signal_handler_t handler)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, number);
        if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
                return -errno;
        return sd_event_add_signal(screen->cli->event, source, number, handler, screen);
}

static int listen_to_terminal(Screen *screen)
{
        int r;

        r = add_signal(screen, SIGWINCH, &screen->resized, on_resize);
        if (r >= 0)
                r = add_signal(screen, SIGTSTP, &screen->stopped, on_stop);
        if (r >= 0)
                r = sd_event_add_time_relative(screen->cli->event, &screen->tick, CLOCK_MONOTONIC,
                                               TICK_USEC, USEC_PER_MSEC, on_tick, screen);
        if (r >= 0)
                r = sd_event_source_set_enabled(screen->tick, SD_EVENT_ON);
        return r;
}

/* --- life -------------------------------------------------------------------------------------------------------- */

static int screen_new(Cli *cli)
{
        Screen *screen = calloc(1, sizeof(*screen));
        int r;

        if (!screen)
                return cli_failed(cli, -ENOMEM, "Preparing the terminal");
        screen->cli = cli;
        screen->to = output_steps(cli);
        read_size(screen);
        r = listen_to_terminal(screen);
        if (r < 0) {
                screen_free(screen);
                return cli_failed(cli, r, "Preparing the terminal");
        }
        silence(screen);
        cli->screen = screen;
        return 0;
}

Screen *screen_free(Screen *screen)
{
        if (!screen)
                return NULL;
        erase(screen);
        show_cursor(screen, true);
        fflush(screen->to);
        restore(screen);
        lines_deinit(&screen->shown);
        sd_event_source_disable_unref(screen->tick);
        sd_event_source_disable_unref(screen->resized);
        sd_event_source_disable_unref(screen->stopped);
        free(screen);
        return NULL;
}

int screen_begin(Cli *cli, Painter paint_body, void *userdata)
{
        int r;

        if (!cli->live)
                return 0;
        r = cli->screen ? 0 : screen_new(cli);
        if (r)
                return r;
        cli->screen->body = (Part){ paint_body, userdata };
        paint(cli->screen, false);
        return 0;
}

int screen_set_foot(Cli *cli, Painter foot, void *userdata)
{
        int r;

        if (!cli->live)
                return 0;
        r = cli->screen ? 0 : screen_new(cli);
        if (r)
                return r;
        cli->screen->foot = (Part){ foot, userdata };
        paint(cli->screen, false);
        return 0;
}

void screen_refresh(Cli *cli)
{
        if (cli->screen)
                paint(cli->screen, false);
}

void screen_clear(Cli *cli)
{
        if (!cli->screen)
                return;
        erase(cli->screen);
        fflush(cli->screen->to);
}

void screen_end(Cli *cli)
{
        Screen *screen = cli->screen;

        if (!screen)
                return;
        paint(screen, true);
        if (screen->shown.n)
                fputs("\r\n", screen->to);
        forget_shown(screen);
        cli->screen = screen_free(screen);
}

const char *screen_spinner(const Canvas *canvas)
{
        static const char *const dots[] = { "\u280b", "\u2819", "\u2839", "\u2838", "\u283c",
                                            "\u2834", "\u2826", "\u2827", "\u2807", "\u280f" };
        static const char *const strokes[] = { "|", "/", "-", "\\" };

        return canvas->cli->utf8 ? dots[canvas->phase % ELEMENTS(dots)]
                                 : strokes[canvas->phase / 2 % ELEMENTS(strokes)];
}
