/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the person at the terminal. The terminal stays in its line mode, so a readable descriptor means a whole line. */
#include "cli/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <termios.h>

#include "cli/output.h"
#include "cli/text.h"

typedef struct Line {
        char bytes[SECRET_MAX + 2];
        size_t len;
        bool done, ended;
} Line;

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Line *line = userdata;
        ssize_t n;

        n = read(fd, line->bytes + line->len, sizeof(line->bytes) - line->len);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        if (n <= 0) {
                line->done = line->ended = true;
                return 0;
        }
        line->len += (size_t) n;
        if (line->bytes[line->len - 1] == '\n') {
                line->len--;
                line->done = true;
        } else if (line->len == sizeof(line->bytes)) {
                line->done = line->ended = true;
        }
        return 0;
}

static int read_line(Cli *cli, const bool *stop, Line *line)
{
        _cleanup_(sd_event_source_unrefp) sd_event_source *source = NULL;
        int r;

        r = sd_event_add_io(cli->event, &source, STDIN_FILENO, EPOLLIN, on_input, line);
        if (r < 0)
                return cli_failed(cli, r, "Listening to the terminal");
        while (!line->done && !(stop && *stop)) {
                r = cli_wait(cli, UINT64_MAX);
                if (r)
                        return r;
        }
        if (line->done && !line->ended)
                cli->line = LINE_NONE;
        return 0;
}

int terminal_ask(Cli *cli, const char *prompt, const bool *stop, char **ret_answer)
{
        Line line = {};
        int r;

        if (prompt)
                output_prompt(cli, "%s ", prompt);
        r = read_line(cli, stop, &line);
        if (r)
                return r;
        *ret_answer = NULL;
        if (!line.done || line.ended)
                return 0;
        *ret_answer = strndup(line.bytes, line.len);
        return *ret_answer ? 0 : cli_failed(cli, -ENOMEM, "Reading the answer");
}

typedef struct Hidden {
        struct termios before;
        bool active;
} Hidden;

static void hidden_begin(Hidden *hidden)
{
        struct termios silent;

        if (tcgetattr(STDIN_FILENO, &hidden->before) < 0)
                return;
        silent = hidden->before;
        silent.c_lflag &= ~(tcflag_t) ECHO;
        /* A stopped program would leave the shell without echo. */
        silent.c_cc[VSUSP] = _POSIX_VDISABLE;
        hidden->active = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
}

static void hidden_end(Hidden *hidden)
{
        if (hidden->active)
                tcsetattr(STDIN_FILENO, TCSADRAIN, &hidden->before);
}

int terminal_ask_secret(Cli *cli, const char *prompt, Secret **ret)
{
        _cleanup_(hidden_end) Hidden hidden = {};
        Line line = {};
        int r;

        hidden_begin(&hidden);
        output_prompt(cli, "%s ", prompt);
        r = read_line(cli, NULL, &line);
        fputs("\n", stderr);
        cli->line = LINE_NONE;
        if (r == 0) {
                *ret = secret_new(line.bytes, line.ended ? 0 : line.len);
                if (!*ret)
                        r = cli_failed(cli, -ENOMEM, "Reading the password");
        }
        explicit_bzero(&line, sizeof(line));
        return r;
}

int terminal_confirm(Cli *cli, const char *question, bool *ret)
{
        _cleanup_free_ char *prompt = NULL, *answer = NULL;
        int r;

        if (asprintf(&prompt, "%s [y/N]", question) < 0)
                return cli_failed(cli, -ENOMEM, "Asking");
        r = terminal_ask(cli, prompt, NULL, &answer);
        if (r)
                return r;
        *ret = answer && (strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0);
        return 0;
}
