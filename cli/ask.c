/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asking the person at the terminal. On a live screen the question is part of the block and what is typed is edited here, byte by
 * byte; elsewhere the terminal stays in its line mode. Input is read by the byte in both: what comes after the line is the next question's. */
#include "cli/ask.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <termios.h>

#include "cli/output.h"
#include "cli/screen.h"
#include "cli/text.h"

typedef enum Escape { ESCAPE_NONE, ESCAPE_BEGUN, ESCAPE_SEQUENCE } Escape;

typedef struct Question {
        Cli *cli;
        const Lines *above;
        const char *prompt;
        bool hidden;
        char bytes[SECRET_MAX + 2];
        size_t len;
        Escape escape; /* within a key that sends several bytes, the arrows for instance */
        bool done, ended;
} Question;

/* --- what is typed ----------------------------------------------------------------------------------------------- */

static void erase_character(Question *q)
{
        while (q->len && (q->bytes[--q->len] & 0xc0) == 0x80)
                ;
}

static void erase_word(Question *q)
{
        while (q->len && q->bytes[q->len - 1] == ' ')
                erase_character(q);
        while (q->len && q->bytes[q->len - 1] != ' ')
                erase_character(q);
}

static bool within_escape(Question *q, char c)
{
        switch (q->escape) {
        case ESCAPE_NONE:
                if (c == '\033')
                        q->escape = ESCAPE_BEGUN;
                return c == '\033';
        case ESCAPE_BEGUN:
                q->escape = c == '[' || c == 'O' ? ESCAPE_SEQUENCE : ESCAPE_NONE;
                return true;
        case ESCAPE_SEQUENCE:
                if (c >= '@' && c <= '~')
                        q->escape = ESCAPE_NONE;
                return true;
        }
        return false;
}

static void take(Question *q, char c)
{
        enum { CTRL_D = 4, CTRL_H = 8, CTRL_U = 21, CTRL_W = 23, DEL = 127 };

        if (c == '\n' || c == '\r')
                q->done = true;
        else if (within_escape(q, c))
                return;
        else if (c == DEL || c == CTRL_H)
                erase_character(q);
        else if (c == CTRL_U)
                q->len = 0;
        else if (c == CTRL_W)
                erase_word(q);
        else if (c == CTRL_D && q->len == 0)
                q->done = q->ended = true;
        else if ((unsigned char) c < ' ' && c != '\t')
                return;
        else if (q->len < sizeof(q->bytes) - 1)
                q->bytes[q->len++] = c;
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
        Question *q = userdata;
        ssize_t n;
        char c;

        if (q->done)
                return 0;
        n = read(fd, &c, 1);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        if (n <= 0)
                q->done = q->ended = true;
        else
                take(q, c);
        explicit_bzero(&c, 1);
        if (!q->hidden)
                screen_refresh(q->cli);
        return 0;
}

/* --- how it is shown --------------------------------------------------------------------------------------------- */

static void paint(void *userdata, Canvas *to)
{
        _cleanup_free_ char *printable = NULL;
        Question *q = userdata;
        const char *text = "";
        int room;

        if (to->lines.n && q->above && q->above->n && *q->above->list[0].text)
                lines_add(&to->lines, RANK_DECORATION, "%s", "");
        for (size_t i = 0; q->above && i < q->above->n; i++)
                lines_add(&to->lines, q->above->list[i].rank, "%s", q->above->list[i].text);
        if (!q->hidden) {
                q->bytes[q->len] = '\0';
                printable = text_printable(q->bytes);
                text = printable ?: "";
        }
        /* Of a long answer its end. */
        room = (int) to->columns - text_width(q->prompt) - 1;
        while (*text && text_width(text) > room) {
                unsigned columns;

                text += text_character(text, &columns);
        }
        lines_add(&to->lines, RANK_STAYS, "%s%s%s %s", output_colour(to->cli, COLOUR_BOLD),
                  q->prompt, output_colour(to->cli, COLOUR_NONE), text);
}

typedef struct Quiet {
        struct termios before;
        bool active;
} Quiet;

/* In line mode: without echo. A stopped program would leave the shell like that. */
static void quiet_begin(Quiet *quiet)
{
        struct termios silent;

        if (tcgetattr(STDIN_FILENO, &quiet->before) < 0)
                return;
        silent = quiet->before;
        silent.c_lflag &= ~(tcflag_t) ECHO;
        silent.c_cc[VSUSP] = _POSIX_VDISABLE;
        quiet->active = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
}

static void quiet_end(Quiet *quiet)
{
        if (quiet->active)
                (void) tcsetattr(STDIN_FILENO, TCSADRAIN, &quiet->before);
}

static int wait_for_line(Question *q, const bool *stop)
{
        _cleanup_(sd_event_source_disable_unrefp) sd_event_source *source = NULL;
        int r;

        r = sd_event_add_io(q->cli->event, &source, STDIN_FILENO, EPOLLIN, on_input, q);
        if (r < 0)
                return cli_failed(q->cli, r, "Listening to the terminal");
        while (!q->done && !(stop && *stop)) {
                r = cli_wait(q->cli, UINT64_MAX);
                if (r)
                        return r;
        }
        return 0;
}

static int put_live(Question *q, const bool *stop)
{
        int r, end;

        /* What was typed before it was asked is no answer. */
        (void) tcflush(STDIN_FILENO, TCIFLUSH);
        r = screen_set_foot(q->cli, paint, q);
        if (r)
                return r;
        r = wait_for_line(q, stop);
        end = screen_set_foot(q->cli, NULL, NULL);
        return r ?: end;
}

static int put_plain(Question *q, const bool *stop)
{
        _cleanup_(quiet_end) Quiet quiet = {};
        int r;

        if (q->hidden)
                quiet_begin(&quiet);
        for (size_t i = 0; q->above && i < q->above->n; i++)
                output_note(q->cli, "%s\n", q->above->list[i].text);
        output_prompt(q->cli, "%s ", q->prompt);
        r = wait_for_line(q, stop);
        /* The newline was typed; not on the screen if it was hidden or never came. */
        if (r == 0 && q->done && !q->ended && !q->hidden)
                q->cli->line = LINE_NONE;
        output_end_line(q->cli);
        return r;
}

static int put(Question *q, const bool *stop)
{
        return q->cli->live ? put_live(q, stop) : put_plain(q, stop);
}

int ask_text(Cli *cli, const Lines *above, const char *prompt, const bool *stop, char **ret_answer)
{
        Question q = { .cli = cli, .above = above, .prompt = prompt };
        int r = put(&q, stop);

        if (r)
                return r;
        *ret_answer = NULL;
        if (!q.done || q.ended)
                return 0;
        *ret_answer = strndup(q.bytes, q.len);
        return *ret_answer ? 0 : cli_failed(cli, -ENOMEM, "Reading the answer");
}

int ask_secret(Cli *cli, const Lines *above, const char *prompt, const bool *stop, Secret **ret)
{
        Question q = { .cli = cli, .above = above, .prompt = prompt, .hidden = true };
        size_t len;
        int r = put(&q, stop);

        if (r == 0) {
                len = q.done && !q.ended ? q.len : 0;
                *ret = secret_new(q.bytes, len <= SECRET_MAX ? len : 0);
                if (!*ret)
                        r = cli_failed(cli, -ENOMEM, "Reading the password");
        }
        explicit_bzero(&q, sizeof(q));
        return r;
}

/* What is said once more above a prompt, and in one line that @answer was none of the @wanted. Where lines scroll, only that line. */
static void say_unknown(Cli *cli, const Lines *above, const char *answer, const char *wanted,
                        Lines *to)
{
        _cleanup_free_ char *printable = text_printable(answer), *text = NULL;

        lines_deinit(to);
        for (size_t i = 0; cli->live && above && i < above->n; i++)
                lines_add(to, above->list[i].rank, "%s", above->list[i].text);
        if (!*answer || !printable || text_width(printable) > 20)
                lines_add(to, RANK_STAYS, "Type %s.", wanted);
        else if (asprintf(&text, "\"%s\" is no answer here: type %s.", printable, wanted) >= 0)
                lines_wrap(to, output_columns(cli), "", text);
}

/* 1 yes, 0 no, -1 neither. */
static int read_yes(const char *answer)
{
        if (!answer || !*answer || strcasecmp(answer, "n") == 0 || strcasecmp(answer, "no") == 0)
                return 0;
        return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0 ? 1 : -1;
}

int ask_yes(Cli *cli, const Lines *above, const char *question, const bool *stop, bool *ret)
{
        _cleanup_free_ char *prompt = NULL;
        _cleanup_lines_ Lines again = {};
        int yes = -1;

        if (asprintf(&prompt, "%s [y/N]", question) < 0)
                return cli_failed(cli, -ENOMEM, "Asking");
        while (yes < 0) {
                _cleanup_free_ char *answer = NULL;
                int r = ask_text(cli, again.n ? &again : above, prompt, stop, &answer);

                if (r)
                        return r;
                yes = read_yes(answer);
                if (yes < 0)
                        say_unknown(cli, above, answer, "y or n", &again);
        }
        *ret = yes;
        return 0;
}

static const Choice *find_choice(const Choice *choices, const char *answer)
{
        for (const Choice *c = choices; answer && c->text; c++)
                if (answer[0] == c->key && !answer[1])
                        return c;
        return NULL;
}

static char *choice_prompt(const Choice *choices)
{
        char keys[32] = "";
        char *prompt;

        for (size_t n = 0; choices[n].text && 2 * n + 2 < sizeof(keys); n++)
                snprintf(keys + (n ? 2 * n - 1 : 0), 3, "%s%c", n ? "/" : "", choices[n].key);
        return asprintf(&prompt, "What now? [%s]", keys) < 0 ? NULL : prompt;
}

int ask_choice(Cli *cli, const Lines *above, const Choice *choices, char *ret_key)
{
        _cleanup_lines_ Lines lines = {}, again = {};
        _cleanup_free_ char *prompt = choice_prompt(choices);
        const Choice *chosen = NULL, *last = choices;

        if (!prompt)
                return cli_failed(cli, -ENOMEM, "Asking");
        for (size_t i = 0; above && i < above->n; i++)
                lines_add(&lines, above->list[i].rank, "%s", above->list[i].text);
        lines_add(&lines, RANK_DECORATION, "%s", "");
        for (const Choice *c = choices; c->text; last = c++)
                lines_add(&lines, RANK_STAYS, "  %c  %s", c->key, c->text);
        while (!chosen) {
                _cleanup_free_ char *answer = NULL;
                int r = ask_text(cli, again.n ? &again : &lines, prompt, NULL, &answer);

                if (r)
                        return r;
                chosen = answer ? find_choice(choices, answer) : last;
                if (!chosen)
                        say_unknown(cli, &lines, answer, "one of these letters", &again);
        }
        *ret_key = chosen->key;
        return 0;
}
